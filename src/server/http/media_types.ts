/**
 * What the headers of a request say of the texts that its caller sends and reads.
 *
 * @module
 */

/** Whether a `Content-Type` header names JSON-RPC. */
export function isJson(contentType: string | null): boolean {
  if (contentType === null) return false;
  const end = contentType.indexOf(";");
  const type = (end === -1 ? contentType : contentType.slice(0, end)).trim().toLowerCase();
  return type === "application/json" || type === "application/json-rpc" ||
    type === "application/jsonrequest";
}

/** Whether an `Accept` header names event streams. Its wildcards do not count: most callers send them. */
export function acceptsEvents(accept: string | null): boolean {
  return (accept ?? "").split(",").some((range) =>
    /^\s*text\/event-stream\s*(?:;|$)/i.test(range) && !/;\s*q=0(?:\.0*)?\s*(?:;|$)/i.test(range)
  );
}
