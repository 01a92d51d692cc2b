/**
 * The methods of the server as functions.
 *
 * @module
 */

import type { CallOptions } from "../core/pending_calls.ts";

/** Calls a method by its whole name. */
export type RemoteCall = (
  name: string,
  params?: unknown,
  options?: CallOptions,
) => Promise<unknown>;

/**
 * Makes a proxy that is a function for each name that is read from it. The name below a name is joined
 * with the separator.
 *
 * @param call Makes the calls.
 * @param separator Stands between the parts of a name.
 * @param name The name so far.
 * @returns The proxy.
 */
export function remoteProxy(call: RemoteCall, separator: string, name = ""): unknown {
  const known = new Map<string, unknown>();
  const start = name === "" ? "" : name + separator;
  function invoke(params?: unknown, options?: CallOptions): Promise<unknown> {
    return call(name, params, options);
  }
  return new Proxy(invoke, {
    get(_target, property) {
      // With a `then` the proxy would look like a promise, and `await` would call it.
      if (typeof property !== "string" || property === "then") return undefined;
      let remote = known.get(property);
      if (remote === undefined) {
        remote = remoteProxy(call, separator, start + property);
        known.set(property, remote);
      }
      return remote;
    },
  });
}
