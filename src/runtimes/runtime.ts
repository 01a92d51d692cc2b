/**
 * What differs between runtimes: the peer's address, and how a request becomes a WebSocket.
 *
 * @module
 */

import type { UpgradeContext } from "../core/channel.ts";

/** A connection that HTTP requests come over, one after the other. */
export interface HttpConnection {
  /** Whether answers can still be sent. */
  readonly isOpen: boolean;
  /** Whether it can be paused. */
  readonly canPause: boolean;
  /** Reads no further requests. What was read already may still be handed over. Does not throw. */
  pause(): void;
  /** Reads on. Does not throw. */
  resume(): void;
}

/** What a runtime has to provide. All files of runtimes are built alike. */
export interface Runtime {
  /** The class that makes the fastest responses. @default {the global `Response`} */
  readonly Response?: typeof Response;
  /**
   * Whether its WebSockets keep a reference to their request, so that keeping the headers costs
   * nothing.
   *
   * @default {false}
   */
  readonly keepsRequest?: boolean;
  /** What an operator should know of its WebSockets: logged once, when a server first opens one. */
  readonly warning?: string;
  /** The peer's address, if the runtime knows it. Called before `upgrade`. */
  remoteAddress(request: Request, host: unknown): string | undefined;
  /**
   * Calls `left` once if the caller closes its connection before `fetch` has answered, and never before
   * this has returned. Called only if a handler reads its request's signal.
   *
   * @returns A function that stops it.
   */
  onLeave(request: Request, host: unknown, left: () => void): () => void;
  /**
   * The connection of a request, the same object for all requests of it; `undefined` if the runtime does
   * not tell, and hands over no request of a connection before the one before it is answered.
   */
  connection?(request: Request, host: unknown): HttpConnection | undefined;
  /** Takes the runtime's own timeout off a response that may be quiet for long. */
  keepOpen?(request: Request, host: unknown): void;
  /**
   * Turns a request into a WebSocket. Calls exactly one of `opened` and `refused` of the context, now
   * or later.
   *
   * @returns What `fetch` has to return.
   */
  upgrade(request: Request, host: unknown, context: UpgradeContext): Response;
}

/** {@linkcode Runtime.onLeave} of runtimes whose requests have a signal. */
export function onAbort({ signal }: Request, left: () => void): () => void {
  if (signal.aborted) queueMicrotask(left);
  else signal.addEventListener("abort", left, { once: true });
  return () => signal.removeEventListener("abort", left);
}
