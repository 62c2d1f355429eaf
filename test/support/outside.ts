import { networkInterfaces } from "node:os";

/** Returns an IPv4 address of this machine that is not on loopback; undefined if there is none. */
export function outside(): string | undefined {
  return Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .find(({ family, internal }) => family === "IPv4" && !internal)?.address;
}
