/** The cluster: what runs on a control-plane node, who has the VIP, and where the Lease is. */
import { arrow, box, line, svg, text } from "./svg.ts";

const NODES = [
  { name: "n1", x: 30, holds: true },
  { name: "n2", x: 320, holds: false },
  { name: "n3", x: 610, holds: false },
] as const;
const WIDTH = 240;
const TOP = 176;

export function cluster(): string {
  return svg({
    title: "A cluster with Leasehold",
    description:
      "Three control-plane nodes, n1 to n3, on one network. Each runs an agent, which writes nftables " +
      "rules, and a kube-apiserver. n1 is the holder: the VIP 192.0.2.10 is bound there, and clients " +
      "connect to it. n2 and n3 are BACKUP and ask the VIP 20 times a second whether its holder is " +
      "alive. The agents compete for one Lease, which the API servers store: n1 renews it every " +
      "second, n2 and n3 watch it.",
    width: 880,
    height: 500,
    body: [
      box("box", [30, 20], [240, 50], ["t b", "Clients"], ["s", "kubectl, kubelets of workers"]),
      text("a", [162, 96], "192.0.2.10:6443"),
      line("line", [30, 120], [850, 120]),
      text("s", [850, 112], "the network of the control-plane nodes (one layer-2 segment)", "end"),
      ...NODES.flatMap(node),
      arrow("way", [150, 70], [150, 212]),
      box(
        "vip",
        [300, 430],
        [280, 50],
        ["t b", "Lease kube-system/leasehold"],
        ["s", "holder: n1 (the API servers store it)"],
      ),
      arrow("way", [150, 404], [150, 455], [298, 455]),
      text("a", [160, 446], "renews it: 1/s"),
      arrow("line", [440, 428], [440, 406]),
      arrow("line", [582, 455], [730, 455], [730, 406]),
      text("s", [596, 446], "n2 and n3 watch it"),
    ],
  });
}

function node({ name, x, holds }: (typeof NODES)[number]): readonly string[] {
  const inner = [WIDTH - 24, 36] as const;
  const row = (index: number): readonly [number, number] => [x + 12, TOP + 38 + index * 46];
  return [
    ...(holds ? [] : [line("line", [x + WIDTH / 2, 120], [x + WIDTH / 2, TOP])]),
    box(holds ? "vip" : "box", [x, TOP], [WIDTH, 228]),
    text("t b", [x + 14, TOP + 25], `${name}, ${holds ? "MASTER" : "BACKUP"}`),
    holds
      ? box("vip", row(0), inner, ["a b", "VIP 192.0.2.10, bound"])
      : box("none", row(0), inner, ["s", "asks the VIP 20 times a second"]),
    box("box", row(1), inner, ["t", "kernel: nftables rules"]),
    box("box", row(2), inner, ["t", "agent (static pod)"]),
    box("box", row(3), inner, ["t", "kube-apiserver"]),
  ];
}
