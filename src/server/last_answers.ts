/**
 * A peer that has ended its input, as `echo '…' | program` does, still gets the answers to its calls.
 *
 * @module
 */

import { OneShotTimer } from "../util/timer.ts";

/** The peer that has ended its input. */
export interface AnsweredPeer {
  /** Whether calls of the peer are under way. */
  readonly isBusy: boolean;
  /** Whether the connection is open. */
  readonly isOpen: boolean;
  /** Closes the connection. */
  close(code: number, reason: string): void;
}

/**
 * Closes a peer once its calls are answered, or have taken too long.
 *
 * @param peer The peer.
 * @returns `true`: the connection stays open until then.
 */
export function closeWhenAnswered(peer: AnsweredPeer): true {
  const endsAt = performance.now() + LAST_ANSWERS_MS;
  const timer = new OneShotTimer();
  // Looks every few milliseconds, instead of being called by each call that ends: few peers end like this.
  const look = (): void => {
    if (!peer.isOpen) return;
    if (!peer.isBusy) peer.close(1000, "The stream ended");
    else if (performance.now() >= endsAt) peer.close(4408, "Calls have no answer");
    else timer.set(LOOK_MS, look); // keeps the process alive, as the calls themselves may not
  };
  look();
  return true;
}

const LAST_ANSWERS_MS = 1000;
const LOOK_MS = 10;
