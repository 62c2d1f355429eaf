/**
 * Finds addresses of the VIP that another program bound on this machine: a keepalived that still runs, or a
 * DHCP client that was given the VIP. No other part of the agent reports them.
 */
import type { LeaseholdError } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { BoundAddress } from "./kernel.ts";
import { obstacle } from "./owner.ts";

export interface Foreign {
  /**
   * Logs what has changed since the last call.
   * @param present the VIP's addresses on this machine, ours and foreign ones
   */
  note(present: readonly BoundAddress[]): void;
  /**
   * Says why this node should not serve the VIP (LH_VIP_FOREIGN, LH_ADDRESS_OWNER), as of the last `note`.
   */
  current(): LeaseholdError | undefined;
  /** True when the answer has changed since the last call. */
  isNews(): boolean;
}

/**
 * @param addresses text of the VIPs, for the log
 * @param takeOver this node is to take the VIP over from that program
 */
export function createForeign(log: Logger, addresses: readonly string[], takeOver: boolean): Foreign {
  let current: LeaseholdError | undefined;
  let news = false;

  function say(): void {
    const fields = { err: current, addresses };
    if (current === undefined)
      log.info({ addresses }, "Another program no longer has the VIP bound on this machine");
    else if (current.code === "LH_ADDRESS_OWNER") {
      log.warn(
        fields,
        "The VIP has become this machine's own address, which is left alone: choose another VIP, or take it out of the DHCP server's pool",
      );
    } else if (takeOver) {
      log.info(
        fields,
        "Another program has the VIP bound on this machine, and this node waits until it lets go",
      );
    } else
      log.warn(
        fields,
        "Another program has the VIP bound on this machine: end it (keepalived, kube-vip) or remove the address from its configuration",
      );
  }

  return {
    note(present) {
      const found = obstacle(present, takeOver);
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
