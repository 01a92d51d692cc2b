/**
 * Reading and discarding the rest of a request's body before the request is refused.
 *
 * @module
 */

import { startDeadline } from "../../util/deadline.ts";

/**
 * Gives a response once the body of its request has ended. Many servers close the connection right
 * after the response; what the client still sends is then answered by a TCP reset, and that destroys
 * the response before the client has read it (RFC 9112, section 9.6). Nothing of the body is kept.
 *
 * @param request The request to refuse. Its body may have been read in part.
 * @param response The response to give.
 * @returns The response: at once if there is no body, and at the latest after 64 MiB or 5
 * seconds: some clients send a body only after a first response, and others send it for ever.
 * @see {@link https://www.rfc-editor.org/rfc/rfc9112#section-9.6 | RFC 9112, section 9.6}
 */
export function afterBody(request: Request, response: Response): Response | Promise<Response> {
  const { body } = request;
  if (body === null || body.locked) return response;
  return discard(body.getReader()).then(() => response);
}

async function discard(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
  try {
    const endsAt = performance.now() + MAX_MS;
    for (let left = MAX_BYTES; left > 0;) {
      const read = await inTime(reader.read(), endsAt - performance.now());
      if (read === undefined || read.done) return;
      left -= read.value.byteLength;
    }
  } catch {
    // The client is gone, or a framework has read the body already: nothing is left to discard.
  }
}

/** What was read; `undefined` if nothing comes in time. */
function inTime(read: Promise<Read>, ms: number): Promise<Read | undefined> {
  const { promise: end, resolve } = Promise.withResolvers<undefined>();
  const stop = startDeadline(ms, () => resolve(undefined));
  return Promise.race([read, end]).finally(stop);
}

type Read = ReadableStreamReadResult<Uint8Array>;

const MAX_BYTES = 64 * 1024 * 1024;
const MAX_MS = 5000;
