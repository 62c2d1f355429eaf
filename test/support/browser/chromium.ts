/**
 * A real Chromium without a window, driven by the DevTools protocol over a pipe. So it may run inside a
 * network namespace, and opens no port.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { findProgram, installCommand } from "../sandbox/tools.ts";

export interface Screen {
  /** CSS pixels. */
  readonly width: number;
  readonly height: number;
  readonly dark: boolean;
}

interface Reply {
  readonly id?: number;
  readonly method?: string;
  readonly sessionId?: string;
  readonly params?: Readonly<Record<string, unknown>>;
  readonly result?: Readonly<Record<string, unknown>>;
  readonly error?: { readonly message: string };
}

/** Milliseconds that one call may take. */
const CALL_MS = 20_000;

export class Chromium implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #profile: string;
  readonly #to: Writable;
  readonly #pending = new Map<number, { resolve: (reply: Reply) => void; reject: (error: Error) => void }>();
  /** What pages complained of: errors of scripts, and what their policy refused. */
  readonly complaints: string[] = [];
  #calls = 0;

  private constructor(child: ChildProcess, profile: string) {
    this.#child = child;
    this.#profile = profile;
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- `stdio` says that these two are pipes
    const [, , , to, from] = child.stdio as readonly [null, null, null, Writable, Readable];
    this.#to = to;
    let rest = "";
    from.setEncoding("utf8").on("data", (chunk: string) => {
      const parts = (rest + chunk).split("\0");
      rest = parts.pop() ?? "";
      for (const part of parts) this.#hear(JSON.parse(part));
    });
    child.on("exit", (code, signal) => {
      for (const { reject } of this.#pending.values()) reject(new Error(`chromium ended: ${code ?? signal}`));
    });
    to.on("error", () => {});
  }

  /** @param inside wraps a command, so that it runs in a namespace */
  static async start(
    inside: (argv: readonly string[]) => readonly string[] = (argv) => argv,
  ): Promise<Chromium> {
    const program = findProgram("chromium");
    if (program === undefined) throw new Error(`chromium is missing: ${installCommand(["chromium"])}`);
    const profile = mkdtempSync(join(tmpdir(), "leasehold-chromium-"));
    const [file = "", ...args] = inside([
      program,
      "--headless=new",
      // The test runs as root, in which case Chromium's own sandbox cannot.
      "--no-sandbox",
      "--disable-gpu",
      "--disable-dev-shm-usage",
      "--disable-background-networking",
      "--no-first-run",
      "--hide-scrollbars",
      "--remote-debugging-pipe",
      `--user-data-dir=${profile}`,
      "about:blank",
    ]);
    const child = spawn(file, args, {
      stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
      detached: true,
    });
    const browser = new Chromium(child, profile);
    await browser.call("Browser.getVersion", {});
    return browser;
  }

  #hear(reply: Reply): void {
    if (reply.id !== undefined) {
      const { id, error } = reply;
      const waiting = this.#pending.get(id);
      this.#pending.delete(id);
      if (error === undefined) waiting?.resolve(reply);
      else waiting?.reject(new Error(error.message));
    } else if (reply.method === "Runtime.exceptionThrown") {
      this.complaints.push(`exception: ${JSON.stringify(reply.params?.["exceptionDetails"])}`);
    } else if (reply.method === "Log.entryAdded") {
      const entry = JSON.stringify(reply.params?.["entry"]);
      if (entry.includes('"level":"error"')) this.complaints.push(entry);
    }
  }

  async call(
    method: string,
    params: Readonly<Record<string, unknown>>,
    sessionId?: string,
  ): Promise<Readonly<Record<string, unknown>>> {
    const id = ++this.#calls;
    const answer = new Promise<Reply>((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`${method}: no answer in ${CALL_MS} ms`)), CALL_MS);
      const ended =
        <T>(settle: (value: T) => void) =>
        (value: T): void => {
          clearTimeout(late);
          settle(value);
        };
      this.#pending.set(id, { resolve: ended(resolve), reject: ended(reject) });
    });
    this.#to.write(`${JSON.stringify({ id, method, params, ...(sessionId && { sessionId }) })}\0`);
    return (await answer).result ?? {};
  }

  async open(url: string, { width, height, dark }: Screen): Promise<Tab> {
    const { targetId } = await this.call("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.call("Target.attachToTarget", { targetId, flatten: true });
    const tab = new Tab(this, String(sessionId), String(targetId));
    for (const domain of ["Page", "Runtime", "Log", "Accessibility"]) await tab.call(`${domain}.enable`);
    await tab.call("Emulation.setDeviceMetricsOverride", {
      width,
      height,
      deviceScaleFactor: 1,
      mobile: width < 600,
    });
    await tab.call("Emulation.setEmulatedMedia", {
      features: [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }],
    });
    await tab.call("Page.navigate", { url });
    return tab;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise<void>((resolve) => void this.#child.once("exit", () => resolve()));
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      await this.call("Browser.close", {}).catch(() => {});
      const kill = setTimeout(() => this.#child.kill("SIGKILL"), 5_000);
      await ended;
      clearTimeout(kill);
    }
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
}

export class Tab {
  readonly #browser: Chromium;
  readonly #session: string;
  readonly #target: string;

  constructor(browser: Chromium, session: string, target: string) {
    this.#browser = browser;
    this.#session = session;
    this.#target = target;
  }

  call(
    method: string,
    params: Readonly<Record<string, unknown>> = {},
  ): Promise<Readonly<Record<string, unknown>>> {
    return this.#browser.call(method, params, this.#session);
  }

  /** The value of an expression, which must be JSON. */
  async value(expression: string): Promise<unknown> {
    const { result, exceptionDetails } = await this.call("Runtime.evaluate", {
      expression,
      returnByValue: true,
      awaitPromise: true,
    });
    if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails));
    return typeof result === "object" && result !== null && "value" in result ? result.value : undefined;
  }

  /** The text that a person sees of the elements that `selector` names, joined by line breaks. */
  async text(selector: string): Promise<string> {
    const found = await this.value(
      `[...document.querySelectorAll(${JSON.stringify(selector)})].map((one) => one.innerText).join("\\n")`,
    );
    return String(found);
  }

  /** Presses and lets go of a key, such as Tab or Enter. */
  async press(key: string): Promise<void> {
    const codes: Readonly<Record<string, number>> = { Tab: 9, Enter: 13, " ": 32 };
    const text = key === "Enter" ? "\r" : key === " " ? " " : undefined;
    const event = { key, code: key === " " ? "Space" : key, windowsVirtualKeyCode: codes[key] };
    await this.call("Input.dispatchKeyEvent", {
      ...event,
      type: text === undefined ? "rawKeyDown" : "keyDown",
      ...(text === undefined ? {} : { text }),
    });
    await this.call("Input.dispatchKeyEvent", { ...event, type: "keyUp" });
  }

  /** The whole page as PNG. */
  async screenshot(): Promise<Buffer> {
    const { data } = await this.call("Page.captureScreenshot", {
      captureBeyondViewport: true,
      format: "png",
    });
    return Buffer.from(String(data), "base64");
  }

  /** Role and name of everything that a screen reader meets. */
  async accessible(): Promise<readonly { readonly role: string; readonly name: string }[]> {
    const { nodes } = await this.call("Accessibility.getFullAXTree");
    const list: readonly unknown[] = Array.isArray(nodes) ? nodes : [];
    return list.flatMap((node) => {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as the protocol describes an AXNode
      const { role, name, ignored } = node as {
        readonly role?: { readonly value: string };
        readonly name?: { readonly value: string };
        readonly ignored: boolean;
      };
      return ignored ? [] : [{ role: role?.value ?? "", name: name?.value ?? "" }];
    });
  }

  async close(): Promise<void> {
    await this.#browser.call("Target.closeTarget", { targetId: this.#target });
  }
}
