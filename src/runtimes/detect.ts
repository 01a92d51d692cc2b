/**
 * Which runtime a request came from: told by what `fetch` was given beside it, then by the process.
 *
 * @module
 */

import { bunRuntime, isBunHost } from "./bun.ts";
import { denoRuntime, isDeno } from "./deno.ts";
import type { Runtime } from "./runtime.ts";

/** A runtime that brings itself along as the second argument of `fetch`: `./node` does. */
export interface RuntimeHost {
  /** The runtime's way. */
  readonly runtime: Runtime;
}

/** Finds the runtime; `undefined` where nothing here can make a WebSocket. */
export function detectRuntime(host: unknown): Runtime | undefined {
  const { runtime } = (host ?? {}) as Partial<RuntimeHost>;
  if (runtime !== undefined) return runtime;
  if (isBunHost(host)) return bunRuntime;
  return isDeno() ? denoRuntime : undefined;
}
