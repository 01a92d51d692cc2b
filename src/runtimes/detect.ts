/**
 * Which runtime a request came from: by the second argument of `fetch`, else by the process.
 *
 * @module
 */

import { bunRuntime, isBunHost } from "./bun.ts";
import { denoRuntime, isDeno } from "./deno.ts";
import type { Runtime } from "./runtime.ts";
import { isWorkers, workersRuntime } from "./workers.ts";

/** The second argument of `fetch` if it names its runtime, as that of `./node` does. */
export interface RuntimeHost {
  /** The runtime. */
  readonly runtime: Runtime;
}

/**
 * Finds the runtime of a request.
 *
 * @param host What the runtime passes beside the request.
 * @returns The runtime; `undefined` if none is known, so that no request can become a WebSocket.
 */
export function detectRuntime(host: unknown): Runtime | undefined {
  const { runtime } = (host ?? {}) as Partial<RuntimeHost>;
  // A Worker gets its bindings as second argument, and one may be a text with this name.
  if (typeof runtime?.upgrade === "function") return runtime;
  if (isWorkers()) return workersRuntime;
  if (isBunHost(host)) return bunRuntime;
  return isDeno() ? denoRuntime : undefined;
}
