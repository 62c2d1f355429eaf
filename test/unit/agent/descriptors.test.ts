import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, test } from "node:test";
import fc from "fast-check";
import { divideDescriptors } from "../../../src/agent/descriptors.ts";
import { mostOpenFiles, openFilesIn } from "../../../src/linux/open-files.ts";

const MANY = 1_048_576;

describe("the descriptors that a process may open", () => {
  test("are enough for the default: everybody gets what is asked for", () => {
    for (const limit of [MANY, 65_536, Number.POSITIVE_INFINITY, undefined])
      assert.deepEqual(divideDescriptors(limit, 20_000), {
        balancer: 20_000,
        ops: { port: 512, peerPort: 128 },
      });
  });

  test("are fewer than two for each client: the balancer gets what the agent leaves", () => {
    assert.equal(divideDescriptors(20_000, 20_000).balancer, 8_912);
    assert.deepEqual(divideDescriptors(4_096, 20_000), {
      balancer: 1_344,
      ops: { port: 256, peerPort: 128 },
    });
    assert.deepEqual(divideDescriptors(1_024, 20_000), { balancer: 256, ops: { port: 64, peerPort: 64 } });
    assert.equal(divideDescriptors(4_096, 100).balancer, 100);
  });

  test("are never all given away, whatever the limit and the setting are", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 256, max: MANY }),
        fc.integer({ min: 1, max: 1_000_000 }),
        (limit, wanted) => {
          const { balancer, ops } = divideDescriptors(limit, wanted);
          assert.ok(balancer >= 1 && balancer <= wanted && ops.port >= 16);
          const taken = 2 * balancer + 3 * ops.port + ops.peerPort;
          assert.ok(limit - taken >= Math.min(512, limit / 4 - 1), `${limit - taken} of ${limit}`);
        },
      ),
    );
  });

  test("are read from /proc", () => {
    const line = (soft: string): string =>
      `Limit                     Soft Limit           Hard Limit           Units     \n` +
      `Max processes             7777                 7777                 processes \n` +
      `Max open files            ${soft.padEnd(20)} 524288               files     \n`;
    assert.equal(openFilesIn(line("1024")), 1_024);
    assert.equal(openFilesIn(line("unlimited")), Number.POSITIVE_INFINITY);
    for (const text of ["", "Max open files", line("many")]) assert.equal(openFilesIn(text), undefined);
    assert.ok((mostOpenFiles() ?? 0) >= 256);
    const module = new URL("../../../src/linux/open-files.ts", import.meta.url).href;
    const { stdout } = spawnSync(
      "sh",
      [
        "-c",
        'ulimit -n 777 && exec "$0" --input-type=module -e "$1"',
        process.execPath,
        `import { mostOpenFiles } from ${JSON.stringify(module)}; console.log(mostOpenFiles());`,
      ],
      { encoding: "utf8" },
    );
    assert.equal(stdout, "777\n");
  });
});
