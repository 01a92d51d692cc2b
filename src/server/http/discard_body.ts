/**
 * Throwing the rest of a request's body away before it is refused.
 *
 * @module
 */

/**
 * Gives a response once the body of its request has come to an end. Many a server closes the
 * connection behind its answer; what the client still sends then comes back as a reset, which
 * destroys the answer before the client has read it. Nothing of the body is kept.
 *
 * @param request One that is refused. Its body may have been read in part.
 * @param response What to answer.
 * @returns The response: at once where there is no body, and at the latest after 64 MiB or where
 * nothing comes for 5 seconds, since a client may send all of it only once it has been let in.
 */
export function afterBody(request: Request, response: Response): Response | Promise<Response> {
  const { body } = request;
  if (body === null || body.locked) return response;
  return discard(body.getReader()).then(() => response);
}

async function discard(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
  try {
    for (let left = MAX_BYTES; left > 0;) {
      const read = await inTime(reader.read());
      if (read === undefined || read.done) return;
      left -= read.value.byteLength;
    }
  } catch {
    // The client is gone, or the request is from a framework that has read it: there is no more.
  }
}

/** What was read; `undefined` where nothing comes. */
function inTime(read: Promise<Read>): Promise<Read | undefined> {
  const { promise: silence, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(resolve, SILENCE_MS, undefined);
  return Promise.race([read, silence]).finally(() => clearTimeout(timer));
}

type Read = ReadableStreamReadResult<Uint8Array>;

const MAX_BYTES = 64 * 1024 * 1024;
const SILENCE_MS = 5000;
