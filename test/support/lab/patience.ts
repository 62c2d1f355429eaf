/** Sends floods of frames: the queue of a packet socket takes only so many at once. */
import { SystemCallError } from "../../../src/linux/libc.ts";

const MOST_TRIES = 2_000;

/** Sends the frame as soon as there is room for it, and stands still for 1 ms between two tries. */
export function sendPatiently(
  socket: { send(index: number, frame: Uint8Array): void },
  index: number,
  frame: Uint8Array,
): void {
  for (let tries = 1; ; tries++) {
    try {
      socket.send(index, frame);
      return;
    } catch (error) {
      const isFull = error instanceof SystemCallError && ["EAGAIN", "ENOBUFS"].includes(error.errnoName);
      if (!isFull || tries >= MOST_TRIES) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}
