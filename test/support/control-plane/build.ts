/**
 * `node test/support/control-plane/build.ts`: fetches or builds the control plane's programs ahead of the
 * tests.
 */
import { dirname } from "node:path";
import { findBinaries } from "./binaries.ts";

const found = await findBinaries((line) => process.stderr.write(`control plane: ${line}\n`));
switch (found.kind) {
  case "found":
    process.stdout.write(`${dirname(found.binaries.kubeApiserver)}\n`);
    break;
  case "unavailable":
    process.stderr.write(`${found.reason}\n`);
    process.exitCode = 1;
    break;
}
