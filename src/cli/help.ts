/** Writes the text of `leasehold --help` from the table of settings. */
import { PREFIX, SECTIONS, SETTING_NAMES, SETTINGS } from "../config/settings.ts";

const WIDTH = 100;
const INDENT = "      ";

const USAGE = `Usage: leasehold [COMMAND]

One highly available address for a kubeadm control plane: VRRP's rules over a Kubernetes Lease,
and a health-checked TCP balancer on every node.

Commands:
  run                      run the agent until SIGTERM or SIGINT (default)
  cleanup [--rules-only]   take this node out of the Lease and remove the kernel's rules, which
                           a stopped agent leaves in place. With --rules-only, remove the rules
                           alone. It changes nothing while an agent runs on this machine, or when
                           the name belongs to another node
  forget NODE              take a node that is gone for good out of the Lease. It watches that
                           node for half a minute first, and changes nothing while the node is
                           alive. Run it on any control-plane node that stays
  manifest pod|rbac|worker|worker-rbac|monitoring [--SETTING VALUE]...
                           print the YAML that Kubernetes needs (leasehold manifest --help)
  version [-o json|text]   print the version
  help                     print this text

Exit status: 0 clean stop, 1 failure, 2 wrong usage or configuration, 69 Node is too old.

Settings are environment variables. Durations look like 250ms, 1s or 1m30s.
`;

function wrap(text: string): string {
  const lines: string[] = [];
  let line = INDENT;
  for (const word of text.split(" ")) {
    if (line !== INDENT && line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = INDENT;
    }
    line += line === INDENT ? word : ` ${word}`;
  }
  return [...lines, line].join("\n");
}

export function helpText(): string {
  const sections = SECTIONS.map((section) => {
    const settings = SETTING_NAMES.filter((name) => SETTINGS[name].section === section).map((name) => {
      const { shown, doc } = SETTINGS[name];
      return `  ${PREFIX}${name}  (${shown === "required" ? shown : `default: ${shown}`})\n${wrap(doc)}`;
    });
    return `\n${section}:\n${settings.join("\n")}\n`;
  });
  return USAGE + sections.join("");
}
