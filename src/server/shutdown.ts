/**
 * How a server shuts down: running calls finish, new ones are refused, and each connection is closed
 * once it is idle.
 *
 * @module
 */

import type { CloseOptions } from "../core/close_options.ts";
import type { Connection } from "../core/connection.ts";
import type { Method } from "../core/dispatcher.ts";
import { ErrorCode } from "../protocol/error_code.ts";
import { quoted, RpcError } from "../protocol/errors.ts";
import { errorText } from "../protocol/message.ts";
import { checkMs } from "../util/check_option.ts";
import type { Timer } from "../util/timer.ts";
import type { Connections } from "./connections.ts";

/** What a shutdown waits for. */
export interface ShutdownTargets {
  /** The connections to close. */
  readonly connections: Connections;
  /** Gives how many HTTP requests have not been answered yet. */
  readonly requests: () => number;
}

/** The shutdown of one server. */
export class Shutdown {
  /**
   * Stands in for every method while the server shuts down. It refuses the call, so a caller may
   * safely send it again.
   */
  readonly method: Method = {
    scalarParams: true,
    invoke: (_params, { id, method, connection }) => {
      this.#idle.delete(connection);
      if (id === undefined) {
        connection.logger.debug(`Notification ${quoted(method)} dropped: the server is closing`);
      }
      throw CLOSING;
    },
  };
  readonly #over = Promise.withResolvers<void>();
  // Connections that were idle at the last sweep and have sent nothing since.
  readonly #idle = new Set<Connection>();
  #started = false;
  #endsAt = Infinity;
  #retryAfterMs = 1000;
  #targets: ShutdownTargets | undefined;
  #timer: Timer | undefined;

  /** Whether the server refuses everything new. */
  get started(): boolean {
    return this.#started;
  }

  /**
   * Starts the shutdown. Called again, it can only end sooner: the earliest end holds.
   *
   * @param options How long calls have, and when clients may come back.
   * @throws {RangeError} If an option is not a number from 0.
   */
  start(options: CloseOptions): void {
    const drainMs = checkMs("drainMs", options.drainMs ?? 0, 0);
    const retryAfterMs = checkMs("retryAfterMs", options.retryAfterMs ?? this.#retryAfterMs, 0);
    this.#started = true;
    this.#retryAfterMs = retryAfterMs;
    this.#endsAt = Math.min(this.#endsAt, performance.now() + drainMs);
    if (this.#targets !== undefined) this.#schedule(0);
  }

  /**
   * Closes each connection once it is idle.
   *
   * @param targets What to wait for.
   * @returns Resolves when nothing is left to wait for, at the latest after `drainMs`.
   */
  wait(targets: ShutdownTargets): Promise<void> {
    this.#targets = targets;
    // Not at once: if a call shuts the server down, it counts as running only after it has returned
    // its promise.
    this.#schedule(0);
    return this.#over.promise;
  }

  /** The response to a request that comes during the shutdown. Its body says that nothing has run. */
  refusal(): Response {
    const seconds = String(Math.ceil(this.retryAfter() / 1000));
    const headers = { "content-type": "application/json", "retry-after": seconds };
    return new Response(errorText(null, CLOSING), { status: 503, headers });
  }

  // Sweeps every few milliseconds, instead of being called by each call that ends: so calls do not pay
  // for a shutdown that may never come.
  #schedule(delayMs: number): void {
    clearTimeout(this.#timer);
    const leftMs = this.#endsAt - performance.now();
    if (leftMs <= 0) return this.#over.resolve();
    this.#timer = setTimeout(() => this.#sweep(), Math.min(leftMs, delayMs));
  }

  #sweep(): void {
    const { connections, requests } = this.#targets as ShutdownTargets;
    let busy = requests();
    for (const peer of connections) {
      // Close a peer only after a whole interval without a message. Some runtimes drop what a peer
      // sends after a close, and it would not learn what became of its last call.
      const wasIdle = this.#idle.delete(peer);
      if (!peer.isBusy && wasIdle) {
        peer.close(1012, `retry-after=${this.retryAfter()}`);
      } else {
        busy++;
        if (!peer.isBusy) this.#idle.add(peer);
      }
    }
    if (busy === 0) this.#over.resolve();
    else this.#schedule(SWEEP_MS);
  }

  /** Milliseconds after which a client may come back: each has a time of its own. */
  retryAfter(): number {
    return Math.round(this.#retryAfterMs * (1 + Math.random()));
  }
}

const CLOSING = new RpcError(ErrorCode.serverBusy, "Server busy: closing", {
  data: { retry: true },
});
const SWEEP_MS = 10;
