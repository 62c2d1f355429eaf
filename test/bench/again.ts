/**
 * Hours of rounds are not to be lost because this machine was too slow once: what a measurement that failed
 * has seen counts for nothing.
 */
export async function twice<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    process.stderr.write(
      `once more, as it failed: ${error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error)}\n`,
    );
    return act();
  }
}
