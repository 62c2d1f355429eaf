/**
 * A packet's way on the fast path: from a client to the holder, on to a backend's node, and straight back.
 */
import { arrow, box, svg, text } from "./svg.ts";

export function packet(): string {
  return svg({
    title: "A packet's way",
    description:
      "1: A client sends a packet to VIP:6443, and the network delivers it to the holder, n1. 2: At " +
      "its ingress hook n1 picks a node by a hash of the client's address and port, here n3, and sends " +
      "the same packet on to n3's MAC address. n1 keeps no state. 3: n3's kernel translates VIP:6443 " +
      "to its own API server. 4: n3 answers the client directly, with VIP:6443 as the source. The " +
      "answer does not pass n1.",
    width: 880,
    height: 330,
    body: [
      box("box", [24, 40], [150, 250], ["t b", "Client"], ["s", "203.0.113.7:40001"]),
      box("vip", [330, 40], [210, 150]),
      text("t b", [344, 65], "n1, holder of the VIP"),
      box(
        "box",
        [344, 80],
        [182, 92],
        ["t", "ingress (nftables)"],
        ["s", "hash of client address"],
        ["s", "and port: n3"],
        ["s", "keeps no state"],
      ),
      box("box", [660, 40], [200, 250]),
      text("t b", [674, 65], "n3"),
      box(
        "box",
        [674, 80],
        [172, 92],
        ["t", "prerouting (nftables)"],
        ["s", "VIP:6443 becomes"],
        ["s", "192.0.2.13:6443"],
      ),
      arrow("line", [760, 172], [760, 210]),
      box("box", [674, 212], [172, 60], ["t", "kube-apiserver"]),
      arrow("way", [174, 120], [342, 120]),
      text("a b", [184, 88], "1"),
      text("t", [200, 88], "to VIP:6443"),
      text("s", [200, 108], "by the holder's MAC"),
      arrow("way", [526, 120], [672, 120]),
      text("a b", [550, 88], "2"),
      text("t", [566, 88], "same packet"),
      text("s", [566, 108], "to n3's MAC"),
      text("a b", [770, 196], "3"),
      arrow("way", [674, 250], [176, 250]),
      text("a b", [240, 238], "4"),
      text("t", [256, 238], "the answer comes from VIP:6443 and does not pass n1"),
    ],
  });
}
