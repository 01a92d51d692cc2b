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
 * Programs, consoles and test tools look at values by calling members of them. So the members that
 * functions have, such as `toString` and `bind`, are the proxy's own, and a few are missing; a method
 * of such a name can be called with `client.call`.
 *
 * @param call Makes the calls.
 * @param separator Stands between the parts of a name.
 * @param name The name so far.
 * @returns The proxy.
 */
export function remoteProxy(call: RemoteCall, separator: string, name = ""): unknown {
  const known = new Map<string, unknown>();
  const start = name && name + separator;
  // An arrow function, so that the proxy has no `prototype` and cannot be constructed.
  const invoke = (params?: unknown, options?: CallOptions) => call(name, params, options);
  return new Proxy(invoke, {
    get(target, property) {
      if (typeof property !== "string" || MISSING.test(property)) return undefined;
      if (property in target && !PLAIN.test(property)) return Reflect.get(target, property);
      if (!known.has(property)) {
        known.set(property, remoteProxy(call, separator, start + property));
      }
      return known.get(property);
    },
  });
}

// With `then` the proxy would look like a promise. `JSON.stringify` and Jest call the others.
const MISSING = /^(?:then|toJSON|asymmetricMatch|hasAttribute)$/;
// Members of functions that are not called, and are likely names of methods.
const PLAIN = /^(?:name|length|caller|arguments)$/;
