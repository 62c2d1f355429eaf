/** What somebody else has bound of the VIP on this machine: keepalived that was not ended, DHCP that gave the VIP to it. Nobody else here would say it. */
import type { LeaseholdError } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { BoundAddress } from "./kernel.ts";
import { obstacle } from "./owner.ts";

export interface Foreign {
  /** @param present the VIP's addresses on this machine, whoever bound them. What is new in it is logged. */
  note(present: readonly BoundAddress[]): void;
  /** As of the last note: why this node should not serve the VIP. LH_VIP_FOREIGN, LH_ADDRESS_OWNER */
  current(): LeaseholdError | undefined;
  /** It has changed since this was last asked. */
  isNews(): boolean;
}

/** @param addresses text of the VIPs, for the log */
export function createForeign(log: Logger, addresses: readonly string[]): Foreign {
  let current: LeaseholdError | undefined;
  let news = false;

  function say(): void {
    const fields = { err: current, addresses };
    if (current === undefined) log.info({ addresses }, "the VIP that another program had bound on this machine is gone");
    else if (current.code === "LH_ADDRESS_OWNER") {
      log.warn(fields, "the VIP has become this machine's own address, which is left alone: choose another VIP, or take it out of the DHCP server's pool");
    } else log.warn(fields, "another program has the VIP bound on this machine: end it (keepalived, kube-vip) or remove the address from its configuration");
  }

  return {
    note(present) {
      const found = obstacle(present);
      if (found?.message === current?.message) return;
      current = found;
      news = true;
      say();
    },
    current: () => current,
    isNews() {
      const answer = news;
      news = false;
      return answer;
    },
  };
}
