import assert from "node:assert/strict";
import { test } from "node:test";
import { listenFailure, retryMs } from "../../../src/proxy/listen-failure.ts";

test("says which port, why, and what to do", () => {
  assert.equal(
    listenFailure(8443, "EADDRINUSE", "x").detail,
    "port 8443 cannot be opened: another program has it, `ss -ltnp` names it (EADDRINUSE)",
  );
  assert.equal(
    listenFailure(443, "EACCES", "x").detail,
    "port 443 cannot be opened: not permitted, a port below 1024 needs CAP_NET_BIND_SERVICE (EACCES)",
  );
  assert.equal(
    listenFailure(8443, "EADDRNOTAVAIL", "x").detail,
    "port 8443 cannot be opened: this machine has no address to listen on (EADDRNOTAVAIL)",
  );
  assert.equal(
    listenFailure(8443, "ENOBUFS", "listen ENOBUFS").detail,
    "port 8443 cannot be opened: listen ENOBUFS (ENOBUFS)",
  );
  assert.equal(listenFailure(8443, "EADDRINUSE", "x").error.code, "LH_LISTEN");
  assert.equal(listenFailure(8443, "EADDRNOTAVAIL", "x").error.code, "LH_LISTEN_ADDRESS");
  assert.doesNotMatch(listenFailure(8443, "EADDRNOTAVAIL", "x").error.hint, /taken|other program/);
});

test("is tried again later each time, for ever, and never later than 10 s", () => {
  assert.deepEqual([1, 2, 3, 4, 5, 6, 2_000].map(retryMs), [1000, 2000, 4000, 8000, 10_000, 10_000, 10_000]);
});
