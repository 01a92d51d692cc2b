/**
 * What differs between runtimes: who the peer is, and how a request becomes a WebSocket.
 *
 * @module
 */

import type { Admission } from "../channel.ts";

/** One runtime's way. The file of each looks like the file of every other. */
export interface Runtime {
  /** What its answers are made of, where that is not best the platform's own class. */
  readonly Response?: typeof Response;
  /** The peer's address, where the runtime knows it. Asked before `upgrade`. */
  remoteAddress(request: Request, host: unknown): string | undefined;
  /**
   * Turns a request that asks for a WebSocket into one, and gives what `fetch` has to return.
   * Calls exactly one of the admission's two functions, now or later.
   */
  upgrade(request: Request, host: unknown, admission: Admission): Response;
}
