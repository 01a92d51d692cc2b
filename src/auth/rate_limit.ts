/**
 * Rate limits: how many calls a client may make per second.
 *
 * @module
 */

import { TOPICS } from "../core/internal.ts";
import type { Connection } from "../core/connection.ts";
import type { CallMiddleware, RpcRequest } from "../core/request.ts";
import { ErrorCode } from "../protocol/error_code.ts";
import { describeError, RpcServerError } from "../protocol/errors.ts";
import { LogLimit } from "../util/log_limit.ts";
import { isThenable } from "../util/maybe_promise.ts";
import type { MaybePromise } from "../util/maybe_promise.ts";
import { networkOf } from "../util/network.ts";
import { memoryRates } from "./rate_store.ts";
import type { Rate, RateStore } from "./rate_store.ts";

export { memoryRates, redisRates } from "./rate_store.ts";
export type { MemoryRatesOptions, Rate, RateStore, RedisEval } from "./rate_store.ts";

/** How calls are limited. */
export interface RateLimitOptions {
  /** Calls per second that a client may make for long. */
  readonly perSecond: number;
  /** Calls that it may make at once, after a pause. @default {perSecond, at least 1} */
  readonly burst?: number;
  /**
   * Which calls are counted together: those of one connection, of one user, of one address (an IPv4
   * address, or an IPv6 network of 64 bits), or of the key that a function gives; `undefined` counts a
   * call not at all. A POST is a connection of its own, so there `"connection"` counts by address, and
   * `"user"` counts those without a user by address.
   *
   * @default {"address"}
   */
  readonly by?: "connection" | "user" | "address" | ((request: RpcRequest) => string | undefined);
  /** Keeps the counts. Several servers can share one. @default {memoryRates()} */
  readonly store?: RateStore;
}

/**
 * Makes a middleware that refuses calls beyond a rate, for `rpc.use` or the `use` of methods. Each entry
 * of a batch is a call. A refused call is answered with -32005 and `data: { retryAfterMs }`, a POST also
 * with status 429 and `Retry-After`; a refused notification is dropped.
 *
 * If the store fails, or does not answer within a second, calls pass, and the log says so: a rate limit
 * is no guard.
 *
 * @param options How calls are limited.
 * @returns The middleware.
 * @throws {RangeError} If `perSecond` or `burst` is not a number above 0.
 *
 * @example
 * ```ts
 * import { JsonRpc } from "@x/jsonrpc";
 * import { rateLimit } from "@x/jsonrpc/rate_limit";
 *
 * const rpc = new JsonRpc()
 *   .use(rateLimit({ perSecond: 50, burst: 100 }))
 *   .method("search", { use: [rateLimit({ perSecond: 1, by: "user" })] }, () => []);
 * ```
 */
export function rateLimit(options: RateLimitOptions): CallMiddleware {
  const { perSecond, by = "address", store = memoryRates() } = options;
  const burst = options.burst ?? Math.max(1, perSecond);
  for (const [name, value] of Object.entries({ perSecond, burst })) {
    if (typeof value === "number" && value > 0 && value < Infinity) continue;
    throw new RangeError(`Expected \`${name}\` to be a number above 0, got \`${value}\``);
  }
  const rate: Rate = { perSecond, burst };
  const log = new LogLimit();
  return function limitRate(request, next) {
    const key = typeof by === "function" ? by(request) : keyOf(by, request);
    if (key === undefined) return next();
    const failed = (error: unknown): number => {
      log.write(store, (suffix) =>
        request.connection.logger.error(
          `A rate limit does not work: ${describeError(error)}${suffix}`,
        ));
      return 0;
    };
    const pass = (answer: unknown): unknown => {
      const waitMs = typeof answer === "number" && !Number.isNaN(answer)
        ? answer
        : failed(new TypeError(`Expected the store to give a number, got ${String(answer)}`));
      if (waitMs <= 0) return next();
      throw new RpcServerError(ErrorCode.limitExceeded, "Too many calls", {
        data: { retryAfterMs: Math.ceil(waitMs) },
      });
    };
    let wait: MaybePromise<unknown>;
    try {
      wait = store.take(key, rate);
    } catch (error) {
      return pass(failed(error));
    }
    return isThenable(wait) ? inTime(wait).catch(failed).then(pass) : pass(wait);
  };
}

/**
 * Waits for a store, but not for long: a client of Redis that is not connected keeps commands until it
 * is, and all calls would wait with them.
 */
function inTime(wait: PromiseLike<unknown>): Promise<unknown> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(reject, PATIENCE_MS, new Error(`no answer within ${PATIENCE_MS} ms`));
  return Promise.race([wait, promise]).finally(() => clearTimeout(timer));
}

const PATIENCE_MS = 1000;

function keyOf(by: "connection" | "user" | "address", { connection, user }: RpcRequest): string {
  if (by === "connection" && TOPICS in connection) return `connection ${connection.id}`;
  if (by === "user" && user !== null && user !== undefined) return `user ${nameOf(user)}`;
  return `address ${addressOf(connection)}`;
}

function addressOf({ handshake }: Connection): string {
  return networkOf(handshake.remoteAddress);
}

/** What tells users apart: their id or name, else all that they are. */
function nameOf(user: unknown): string {
  const { id, sub, name, username } = Object(user) as Record<string, unknown>;
  // JSON has no BigInt, as drivers of databases give ids.
  const text = (_key: string, value: unknown) => typeof value === "bigint" ? `${value}n` : value;
  return JSON.stringify(id ?? sub ?? username ?? name ?? user, text) ?? String(user);
}
