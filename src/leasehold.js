#!/usr/bin/env -S node --max-semi-space-size=1
/**
 * The bundle's entry (dist/leasehold.js): says which Node is needed where this one is too old, and otherwise
 * starts the file that an old Node cannot read. The first line has Node's flags, for the image's agent and for
 * the commands alike. Objects that live long leave a nursery of 1 MiB early, which costs little here and saves
 * memory. A flag there has to be one that an old Node knows.
 */
import { EX_UNAVAILABLE, nodeObstacle, startModule } from "./needed-node.js";

const obstacle = nodeObstacle(process.versions.node);
if (obstacle === undefined) {
  startModule(new URL("./main.js", import.meta.url).href);
} else {
  process.stderr.write(`leasehold: ${obstacle}.\n`);
  process.exitCode = EX_UNAVAILABLE;
}
