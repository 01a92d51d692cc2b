/**
 * How a server ends: calls under way finish, new ones are refused, connections go one by one.
 *
 * @module
 */

import type { CloseOptions } from "../core/close_options.ts";
import type { Connections } from "./connections.ts";
import type { Method } from "../core/dispatcher.ts";
import { ErrorCode, quoted, RpcError } from "../protocol/errors.ts";
import { errorText } from "../protocol/message.ts";
import type { Connection } from "../core/connection.ts";
import type { Timer } from "../util/timer.ts";

/** What a drain waits for. */
export interface ShutdownTargets {
  /** The connections to end. */
  readonly connections: Connections;
  /** How many requests over HTTP wait for their answer. */
  readonly requests: () => number;
}

/** The end of one server, from the first word of it until nothing is left to wait for. */
export class Shutdown {
  /** What every name finds while the server closes. A call that is refused here has not run. */
  readonly method: Method = {
    scalarParams: true,
    invoke: (_params, { id, method, connection }) => {
      this.#graceOver.delete(connection);
      if (id === undefined) {
        connection.logger.debug(`Notification ${quoted(method)} dropped: the server is closing`);
      }
      throw CLOSING;
    },
  };
  readonly #over = Promise.withResolvers<void>();
  // Those on which nothing was to do at the last look, and from which nothing came since.
  readonly #graceOver = new Set<Connection>();
  #started = false;
  #endsAt = Infinity;
  #retryAfterMs = 1000;
  #draining: ShutdownTargets | undefined;
  #timer: Timer | undefined;

  /** Whether the server takes nothing new. */
  get started(): boolean {
    return this.#started;
  }

  /**
   * Begins the drain, or shortens one that has begun: the earliest end holds.
   *
   * @throws {RangeError} Where an option is no number from 0.
   */
  start(options: CloseOptions): void {
    const drainMs = checkMs("drainMs", options.drainMs ?? 0);
    const retryAfterMs = checkMs("retryAfterMs", options.retryAfterMs ?? this.#retryAfterMs);
    this.#started = true;
    this.#retryAfterMs = retryAfterMs;
    this.#endsAt = Math.min(this.#endsAt, performance.now() + drainMs);
    if (this.#draining !== undefined) this.#plan(0);
  }

  /** Ends connections as they fall idle; resolves when all have, or at the end of the drain. */
  wait(draining: ShutdownTargets): Promise<void> {
    this.#draining = draining;
    // Not at once: the call that ends the server, if it was one, is not counted before it waits.
    this.#plan(0);
    return this.#over.promise;
  }

  /** The answer to a request that comes now. Its body tells callers that nothing has run. */
  refusal(): Response {
    const seconds = String(Math.ceil(this.#retryAfter() / 1000));
    const headers = { "content-type": "application/json", "retry-after": seconds };
    return new Response(errorText(null, CLOSING), { status: 503, headers });
  }

  // Looked at every few milliseconds, not told: so calls pay nothing for a drain that may never come.
  #plan(delayMs: number): void {
    clearTimeout(this.#timer);
    const leftMs = this.#endsAt - performance.now();
    if (leftMs <= 0) return this.#over.resolve();
    this.#timer = setTimeout(() => this.#sweep(), Math.min(leftMs, delayMs));
  }

  #sweep(): void {
    const { connections, requests } = this.#draining as ShutdownTargets;
    let busy = requests();
    for (const peer of connections) {
      // One that still talks is refused first, not cut short: some runtimes drop a peer that talks
      // after a close, and it would not know what became of its last call.
      const wasQuiet = this.#graceOver.delete(peer);
      if (!peer.isBusy && wasQuiet) {
        peer.close(1012, `retry-after=${this.#retryAfter()}`);
      } else {
        busy++;
        if (!peer.isBusy) this.#graceOver.add(peer);
      }
    }
    if (busy === 0) this.#over.resolve();
    else this.#plan(SWEEP_MS);
  }

  #retryAfter(): number {
    return Math.round(this.#retryAfterMs * (1 + Math.random()));
  }
}

const CLOSING = new RpcError(ErrorCode.serverBusy, "Server busy: closing", {
  data: { retry: true },
});
const SWEEP_MS = 10;

function checkMs(name: string, value: number): number {
  if (value >= 0) return value;
  throw new RangeError(
    `Expected \`${name}\` to be a number from 0, got \`${value}\` (${typeof value})`,
  );
}
