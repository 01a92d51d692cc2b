/**
 * The response that `@hono/node-server` sends fastest: its own class, whose body and headers it can read
 * directly. It has to read the body of a standard `Response` back as a stream.
 *
 * @module
 */

import { getRequestListener } from "@hono/node-server";

/** That class, or the standard one if it is not available. Instances of both are `instanceof Response`. */
export const NodeResponse: typeof Response = find();

/**
 * Finds the class. The package does not export it: it only puts it in place of the global one, which
 * this restores at once.
 */
function find(): typeof Response {
  const names = ["Request", "Response"] as const;
  const before = names.map((name) => Object.getOwnPropertyDescriptor(globalThis, name));
  try {
    getRequestListener(() => new Response(), { overrideGlobalObjects: true });
    return globalThis.Response;
  } catch {
    return Response; // this runtime's globals cannot be replaced
  } finally {
    names.forEach((name, index) => {
      const descriptor = before[index];
      if (descriptor?.configurable) Object.defineProperty(globalThis, name, descriptor);
    });
  }
}
