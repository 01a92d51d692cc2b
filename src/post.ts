/**
 * One POST of a client. Loaded with the first: a page that talks over a WebSocket never needs it, and
 * so it imports nothing of what such a page has loaded.
 *
 * @module
 */

import { readChunks } from "./chunks.ts";

/** Where and how to post. */
export interface PostOptions {
  /** The server's URL. */
  readonly url: string;
  /** Gives the headers beside `content-type`. */
  readonly headers: () => Promise<Readonly<Record<string, string>>>;
  /** The standard function, or one that stands for it. */
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>;
  /** Which bounds hold for the answer. */
  readonly limits: { readonly maxMessageBytes: number };
}

/**
 * Posts one text.
 *
 * @returns The parsed answer; `undefined` where there was none.
 * @throws {Error} Where the server was not reached, or what came is no JSON.
 */
export async function post(
  options: PostOptions,
  text: string,
  signal: AbortSignal,
): Promise<unknown> {
  const { url, limits: { maxMessageBytes } } = options;
  const response = await reach(options, text, signal);
  const body = await read(response, maxMessageBytes).catch((cause) => {
    throw new Error(`The answer of ${url} broke off`, { cause });
  });
  if (body === undefined) {
    response.body?.cancel().catch(() => {});
    throw new Error(`The answer of ${url} is over ${maxMessageBytes} bytes (maxMessageBytes)`);
  }
  if (body === "" && response.ok) return undefined;
  try {
    return JSON.parse(body);
  } catch (cause) {
    const what = `${response.status} ${response.statusText} ${body.slice(0, 200)}`.trim();
    throw new Error(`${url} answered no JSON-RPC: ${what}`, { cause });
  }
}

async function reach(
  { url, headers: ask, fetch }: PostOptions,
  body: string,
  signal: AbortSignal,
): Promise<Response> {
  try {
    const headers = { "content-type": "application/json", ...await ask() };
    return await fetch(url, { method: "POST", headers, body, signal });
  } catch (cause) {
    throw new Error(`Cannot reach ${url}`, { cause });
  }
}

async function read({ headers, body }: Response, maxBytes: number): Promise<string | undefined> {
  // Known ahead, where the server tells.
  if (Number(headers.get("content-length")) > maxBytes) return undefined;
  return await readChunks(body, maxBytes);
}
