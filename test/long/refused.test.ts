/**
 * The API is there and does not carry out what the agents write: no credentials, no right, flow control, an
 * admission webhook, a full etcd, certificates that are not trusted. The VIP is served all the same, by the
 * agents that run and by agents that were started since, and the log says why.
 */
import { describe } from "node:test";
import { all, refuse, refusedEverywhere, writes } from "../lab/refused-rig.ts";
import type { Case } from "../lab/refused-rig.ts";

const CASES: readonly Case[] = [
  {
    name: "nobody is known any more (401)",
    begin: () => refuse(all, 401, "Unauthorized", "Unauthorized"),
    status: 401,
    says: /Unauthorized/u,
  },
  {
    name: "writes are invalid for good (422)",
    begin: () => refuse(writes, 422, "the policy wants an owner label", "Invalid"),
    status: 422,
    says: /owner label/u,
  },
  {
    name: "writes conflict for good (409)",
    begin: () => refuse(writes, 409, "Operation cannot be fulfilled", "Conflict"),
    status: 409,
    says: /cannot be fulfilled/u,
  },
  {
    name: "RBAC lets the agents get and not patch or update (403)",
    begin: () =>
      refuse(({ method }) => method === "PATCH" || method === "PUT", 403, "leases is forbidden", "Forbidden"),
    status: 403,
    says: /leases is forbidden/u,
  },
  {
    name: "too many requests (429)",
    begin: () => refuse(all, 429, "too many requests", "TooManyRequests"),
    status: 429,
    says: /too many requests/u,
  },
  {
    name: "etcd is full, and the API reads only (500)",
    begin: () => refuse(writes, 500, "etcdserver: mvcc: database space exceeded"),
    status: 500,
    says: /space exceeded/u,
  },
];

describe("on every node", () => refusedEverywhere(CASES));
