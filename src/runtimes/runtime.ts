/**
 * What differs between runtimes: who the peer is, and how a request becomes a WebSocket.
 *
 * @module
 */

import type { UpgradeContext } from "../core/channel.ts";

/** One runtime's way. The file of each looks like the file of every other. */
export interface Runtime {
  /** What its answers are made of, where that is not best the platform's own class. */
  readonly Response?: typeof Response;
  /**
   * Whether its WebSockets keep the request they came from, so that headers which were read once
   * last as long as they do, at no cost.
   */
  readonly keepsRequest?: boolean;
  /** The peer's address, where the runtime knows it. Asked before `upgrade`. */
  remoteAddress(request: Request, host: unknown): string | undefined;
  /**
   * Calls `left` once if the caller closes its connection before `fetch` has answered; never before
   * this has returned. Gives a function that stops it. Asked only where a handler wants to know.
   */
  onLeave(request: Request, host: unknown, left: () => void): () => void;
  /** Lets an answer stay open for as long as it likes, where quiet ones would be cut. */
  keepOpen?(request: Request, host: unknown): void;
  /**
   * Turns a request that asks for a WebSocket into one, and gives what `fetch` has to return.
   * Calls exactly one of the admission's two functions, now or later.
   */
  upgrade(request: Request, host: unknown, admission: UpgradeContext): Response;
}

/** The way of runtimes whose requests have a signal. */
export function onAbort({ signal }: Request, left: () => void): () => void {
  if (signal.aborted) queueMicrotask(left);
  else signal.addEventListener("abort", left, { once: true });
  return () => signal.removeEventListener("abort", left);
}
