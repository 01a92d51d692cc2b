/**
 * The response that `@hono/node-server` sends fastest: its own class, of which it knows body and
 * headers. What the platform's class holds it has to read back as a stream.
 *
 * @module
 */

import { getRequestListener } from "@hono/node-server";

/** That class; the platform's where it cannot be had. Both are `instanceof Response`. */
export const NodeResponse: typeof Response = find();

/** It is handed out only in place of the global one, which is put back at once. */
function find(): typeof Response {
  const names = ["Request", "Response"] as const;
  const before = names.map((name) => Object.getOwnPropertyDescriptor(globalThis, name));
  try {
    getRequestListener(() => new Response(), { overrideGlobalObjects: true });
    return globalThis.Response;
  } catch {
    return Response; // the globals of this runtime cannot be replaced
  } finally {
    names.forEach((name, index) => {
      const descriptor = before[index];
      if (descriptor?.configurable) Object.defineProperty(globalThis, name, descriptor);
    });
  }
}
