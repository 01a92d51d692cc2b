/**
 * Where rate limits keep their counts: in this process, or in Redis for several servers.
 *
 * Both follow the generic cell rate algorithm: one number for each key, the time at which its bucket is
 * full again.
 *
 * @see {@link https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm}
 *
 * @module
 */

import type { MaybePromise } from "../util/maybe_promise.ts";

/** How fast a key may be used. */
export interface Rate {
  /** Uses per second. */
  readonly perSecond: number;
  /** Uses at once, after a pause. */
  readonly burst: number;
}

/** Keeps counts by key. */
export interface RateStore {
  /**
   * Uses a key once.
   *
   * @param key What is counted.
   * @param rate How fast it may be used.
   * @returns 0 if it may be used; else the milliseconds until it may, and the use does not count.
   */
  take(key: string, rate: Rate): MaybePromise<number>;
}

/** How {@linkcode memoryRates} behaves. */
export interface MemoryRatesOptions {
  /**
   * Keys that are kept. Beyond it, those that were not used for longest are forgotten.
   *
   * @default {10000}
   */
  readonly maxKeys?: number;
}

/**
 * Keeps counts in this process.
 *
 * @param options How many keys are kept.
 * @returns The store.
 */
export function memoryRates({ maxKeys = 10_000 }: MemoryRatesOptions = {}): RateStore {
  // The key that was not used for longest comes first.
  const fullAt = new Map<string, number>();
  return {
    take(key, { perSecond, burst }) {
      const now = performance.now();
      const next = Math.max(now, fullAt.get(key) ?? 0) + 1000 / perSecond;
      const waitMs = next - now - burst * 1000 / perSecond;
      // Numbers of this size have a rounding error.
      if (waitMs > 1e-6) return waitMs;
      fullAt.delete(key);
      fullAt.set(key, next);
      if (fullAt.size > maxKeys) fullAt.delete(fullAt.keys().next().value as string);
      return 0;
    },
  };
}

/** The part of a client of the package `redis` that {@linkcode redisRates} uses. */
export interface RedisEval {
  /** Runs a Lua script. */
  eval(script: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>;
}

/**
 * Keeps counts in Redis, so that several servers share them. Each use is one atomic script, by the clock
 * of Redis; a key expires once its bucket is full.
 *
 * @param client A connected client of the package `redis`.
 * @param prefix Goes before each key. @default {"rpc:rate:"}
 * @returns The store.
 */
export function redisRates(client: RedisEval, prefix = "rpc:rate:"): RateStore {
  return {
    async take(key, { perSecond, burst }) {
      const settings = [String(1000 / perSecond), String(burst)];
      return Number(await client.eval(SCRIPT, { keys: [prefix + key], arguments: settings }));
    },
  };
}

// Answers whole milliseconds, since Redis cuts numbers of Lua.
const SCRIPT = `
local time = redis.call("TIME")
local now = time[1] * 1000 + time[2] / 1000
local each, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local next = math.max(now, tonumber(redis.call("GET", KEYS[1]) or "0")) + each
local wait = next - now - burst * each
if wait > 0.001 then return math.ceil(wait) end
redis.call("SET", KEYS[1], string.format("%.3f", next), "PX", math.ceil(next - now))
return 0
`;
