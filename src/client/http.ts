/**
 * The transport of a client that connects to an `http:` or `https:` URL: each message is one POST. It
 * is loaded with the first call, so it imports nothing that a client has loaded before.
 *
 * @module
 */

import type { TransportContext } from "../core/transport.ts";
import { readChunks } from "../util/read_body.ts";
import type { ClientOptions } from "./options.ts";

/**
 * Opens a channel that posts what it is given. It stays open until it is closed.
 *
 * @param url Where to post.
 * @param options The client's options.
 * @param context Called at once.
 */
export function openHttp(url: string, options: ClientOptions, context: TransportContext): void {
  const { maxMessageBytes } = context;
  // The calls in each POST that still need an answer.
  const underWay = new Map<AbortController, Set<number>>();
  let isOpen = true;
  const receiver = context.opened({
    bufferedAmount: 0,
    send(message, ids = []) {
      const controller = new AbortController();
      underWay.set(controller, new Set(ids));
      void post({ ...options, url, signal: controller.signal }, `${message}`, maxMessageBytes)
        .then(
          ({ text, status }) => receiver.exchanged?.(ids, text, status),
          (error) => receiver.exchanged?.(ids, error),
        )
        .then(() => underWay.delete(controller));
    },
    cancel(id) {
      for (const [controller, ids] of underWay) {
        // A batch is aborted with the last of its calls.
        if (ids.delete(id) && ids.size === 0) controller.abort();
      }
    },
    close(code, reason) {
      if (!isOpen) return;
      isOpen = false;
      for (const controller of underWay.keys()) controller.abort();
      queueMicrotask(() => receiver.closed(code, reason));
    },
  });
}

interface PostOptions extends Pick<ClientOptions, "token" | "headers" | "fetch"> {
  readonly url: string;
  readonly signal: AbortSignal;
}

interface Answer {
  readonly text: string;
  readonly status: string;
}

/** Posts one text. Throws `Error` if there is no answer that can be read. */
async function post(options: PostOptions, text: string, maxBytes: number): Promise<Answer> {
  const { url } = options;
  const response = await request(options, text).catch((cause) => {
    throw new Error(`Cannot reach ${url}`, { cause });
  });
  const body = await read(response, maxBytes).catch((cause) => {
    throw new Error(`The answer of ${url} broke off`, { cause });
  });
  if (body === undefined) {
    response.body?.cancel().catch(() => {});
    throw new Error(`The answer of ${url} is over ${maxBytes} bytes (maxMessageBytes)`);
  }
  const status = `${response.status} ${response.statusText}`.trim();
  if (body === "" && !response.ok) throw new Error(`${url} answered ${status}`);
  return { text: body, status };
}

async function request(
  { url, token, headers, fetch = globalThis.fetch, signal }: PostOptions,
  body: string,
): Promise<Response> {
  const bearer = typeof token === "function" ? await token() : token;
  return fetch(url, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      ...bearer !== undefined && { authorization: `Bearer ${bearer}` },
      ...headers,
    },
    // A redirection could hand params and token to another origin.
    redirect: "manual",
    body,
    signal,
  });
}

async function read({ headers, body }: Response, maxBytes: number): Promise<string | undefined> {
  if (Number(headers.get("content-length")) > maxBytes) return undefined;
  return await readChunks(body, maxBytes);
}
