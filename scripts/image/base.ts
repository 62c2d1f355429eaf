/**
 * The base of the image where no registry brings one: Debian packages and npm's `node`, as
 * `localhost/leasehold-node`. It has what the Dockerfile expects of NODE_IMAGE: Debian's libraries, nft,
 * node, and npm for the stages that build.
 */
import { existsSync, globSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { capture, call } from "./commands.ts";
import type { Buildah } from "./commands.ts";

/** The Debian release of NODE_IMAGE in the Dockerfile. */
const SUITE = "bookworm";
const NAME = "localhost/leasehold-node";

/**
 * Besides what is essential: nft, and what Node is linked with. usr-is-merged stands in for usrmerge, which
 * brings 46 MB of Perl.
 */
const PACKAGES = ["usr-is-merged", "nftables", "libstdc++6"];
/** As in the images of Debian that are called slim. */
const LEFT_OUT = [
  "path-exclude=/usr/share/doc/*",
  "path-include=/usr/share/doc/*/copyright",
  "path-exclude=/usr/share/man/*",
  "path-exclude=/usr/share/locale/*",
];
/** What apt and mmdebstrap leave of this machine: its mirror and proxy, its name and its name servers. */
const TRACES = [
  "etc/apt/sources.list",
  "etc/apt/sources.list.d/*",
  "etc/apt/apt.conf.d/99mmdebstrap",
  "etc/hostname",
  "etc/resolv.conf",
  "etc/hosts",
];
/** A day: base images want the fixes of Debian's security team. */
const MAX_AGE_MS = 24 * 60 * 60_000;

/**
 * Lines of a sources.list from `apt-get indextargets` with the format of {@link debianSources}: those of
 * this release that a program in another root can use.
 */
export function sourceLines(targets: string): readonly string[] {
  const lines = targets.split("\n").flatMap((line) => {
    const [uri = "", release = "", component = ""] = line.trim().split(/\s+/);
    const isSuite = release === SUITE || release.startsWith(`${SUITE}-`);
    return isSuite && /^https?:/.test(uri) && component !== "" ? [`deb ${uri} ${release} ${component}`] : [];
  });
  const unique = [...new Set(lines)];
  // Without the release itself the updates alone are no system.
  return unique.some((line) => line.includes(` ${SUITE} `)) ? unique : [];
}

/**
 * This machine's own mirrors of Debian; none where it is no Debian of that release, and then mmdebstrap
 * takes the official ones.
 */
function debianSources(): readonly string[] {
  const targets = capture([
    "apt-get",
    "indextargets",
    "--format",
    "$(REPO_URI) $(RELEASE) $(COMPONENT)",
    "Created-By: Packages",
    "Origin: Debian",
  ]);
  return sourceLines(targets ?? "");
}

/**
 * How this machine's apt reaches its mirrors, as lines of an apt.conf: proxies and the certificates that it
 * trusts.
 */
export function aptOptions(dump: string): readonly string[] {
  return dump
    .split("\n")
    .filter((line) => /^Acquire::https?(?:::[\w.-]+)?::(?:Proxy|CaInfo) "[^"]+";$/i.test(line.trim()))
    .map((line) => line.trim());
}

/** A tar of Debian, made once a day. */
function debian(arch: string): string {
  const cache = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "leasehold");
  const file = join(cache, `debian-${SUITE}-${arch}-${Math.floor(Date.now() / MAX_AGE_MS)}.tar`);
  if (existsSync(file)) return file;
  mkdirSync(cache, { recursive: true });
  const made = `${file}.${process.pid}`;
  try {
    call(
      [
        "mmdebstrap",
        "--quiet",
        "--variant=essential",
        "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
        `--architectures=${arch}`,
        `--include=${PACKAGES.join(",")}`,
        ...LEFT_OUT.map((line) => `--dpkgopt=${line}`),
        ...aptOptions(capture(["apt-config", "dump"]) ?? "").map((line) => `--aptopt=${line}`),
        `--customize-hook=cd "$1" && rm -f ${TRACES.join(" ")}`,
        "--format=tar",
        SUITE,
        made,
        ...debianSources(),
      ],
      15 * 60_000,
    );
    for (const old of globSync(`${cache}/debian-*-${arch}-*.tar`)) rmSync(old);
    renameSync(made, file);
  } finally {
    rmSync(made, { force: true });
  }
  return file;
}

/**
 * Makes the base and answers its name.
 * @param node the `node` program that the image gets
 * @param scratch an empty folder for what is made on the way
 */
export function makeBase(buildah: Buildah, arch: string, node: string, scratch: string): string {
  const version = capture(["npm", "--version"])?.trim() ?? "latest";
  // npm as a package, because a distribution's own has its parts elsewhere.
  call(
    [
      "npm",
      "install",
      "--global",
      "--ignore-scripts",
      "--no-audit",
      "--no-fund",
      "--no-update-notifier",
      "--silent",
      "--prefix",
      scratch,
      `npm@${version}`,
    ],
    5 * 60_000,
  );
  const container = buildah.capture(["from", "scratch"]);
  try {
    buildah.call(["add", "--quiet", container, debian(arch), "/"]);
    buildah.call(["add", "--quiet", container, node, "/usr/local/bin/node"]);
    buildah.call(["add", "--quiet", container, scratch, "/usr/local"]);
    buildah.call([
      "config",
      "--env",
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      container,
    ]);
    buildah.call(["commit", "--quiet", container, NAME]);
  } finally {
    buildah.call(["rm", container]);
  }
  return NAME;
}
