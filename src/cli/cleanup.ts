/** `leasehold cleanup`: takes the data plane's rules out of the kernel. They outlive the agent on purpose; this is for when it will not come back. */
import { createNft } from "../balancer/fastpath/nft.ts";
import { LeaseholdError } from "../errors.ts";

export interface CleanupDeps {
  readonly print: (text: string) => void;
  readonly printError: (text: string) => void;
}

/** Resolves with the exit status. */
export async function cleanup(deps: CleanupDeps): Promise<number> {
  try {
    await createNft().remove();
  } catch (error) {
    const hint = error instanceof LeaseholdError ? `\n${error.hint}` : "";
    deps.printError(`leasehold: ${error instanceof Error ? error.message : String(error)}${hint}\n`);
    return 1;
  }
  deps.print("The tables netdev, ip and ip6 leasehold are gone. Connections that they carried to other nodes end.\n");
  return 0;
}
