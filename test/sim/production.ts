/**
 * The code under test: the product's own modules, or those modules with one deliberate fault in them (see
 * mutants.ts).
 */
import type { createElector } from "../../src/election/elector.ts";
import type { createApiClient } from "../../src/kube/api.ts";
import type { createLeaseStore } from "../../src/kube/lease-store.ts";
import type { createSentinel } from "../../src/sentinel/sentinel.ts";
import type { createVip } from "../../src/vip/vip.ts";

export interface Production {
  readonly createElector: typeof createElector;
  readonly createApiClient: typeof createApiClient;
  readonly createLeaseStore: typeof createLeaseStore;
  readonly createVip: typeof createVip;
  readonly createSentinel: typeof createSentinel;
}

/** @param mark query for the module loader that names the mutant; "" for the product as it is */
export async function loadProduction(mark = ""): Promise<Production> {
  const load = async <K extends keyof Production>(path: string): Promise<Pick<Production, K>> => {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the module's type is the product's own
    return (await import(new URL(`../../src/${path}${mark}`, import.meta.url).href)) as Pick<Production, K>;
  };
  const { createElector } = await load<"createElector">("election/elector.ts");
  const { createApiClient } = await load<"createApiClient">("kube/api.ts");
  const { createLeaseStore } = await load<"createLeaseStore">("kube/lease-store.ts");
  const { createVip } = await load<"createVip">("vip/vip.ts");
  const { createSentinel } = await load<"createSentinel">("sentinel/sentinel.ts");
  return { createElector, createApiClient, createLeaseStore, createVip, createSentinel };
}
