/**
 * The client's HTTP transport: one text out, one message back.
 *
 * @module
 */

import { readText } from "./body.ts";
import { RpcConnectionError } from "./errors.ts";
import type { Limits } from "./limits.ts";
import { parseMessage } from "./protocol.ts";

/** Where and how to post. */
export interface PostTarget {
  /** The server's URL. */
  readonly url: string;
  /** Headers beside `content-type`. */
  readonly headers: Readonly<Record<string, string>>;
  /** The standard function, or one that stands for it. */
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>;
  /** Which bounds hold for the answer. */
  readonly limits: Limits;
}

/**
 * Posts one text.
 *
 * @returns The parsed answer; `undefined` where there was none.
 * @throws {RpcConnectionError} Where the server was not reached, or what came is no JSON-RPC.
 */
export async function post(
  target: PostTarget,
  text: string,
  signal: AbortSignal,
): Promise<unknown> {
  const { url, limits: { maxMessageBytes, maxDepth } } = target;
  const response = await reach(target, text, signal);
  const body = await readText(response, maxMessageBytes).catch((cause) => {
    throw new RpcConnectionError(`The answer of ${url} broke off`, "unknown", { cause });
  });
  if (body === undefined) {
    const message = `The answer of ${url} is over ${maxMessageBytes} bytes (maxMessageBytes)`;
    throw new RpcConnectionError(message, "unknown");
  }
  if (body === "" && response.ok) return undefined;
  try {
    return parseMessage(body, maxDepth);
  } catch (cause) {
    const what = `${response.status} ${response.statusText} ${body.slice(0, 200)}`.trim();
    throw new RpcConnectionError(`${url} answered no JSON-RPC: ${what}`, "unknown", { cause });
  }
}

async function reach(target: PostTarget, body: string, signal: AbortSignal): Promise<Response> {
  const headers = { "content-type": "application/json", ...target.headers };
  try {
    return await target.fetch(target.url, { method: "POST", headers, body, signal });
  } catch (cause) {
    // fetch does not tell whether the request had been sent before the connection broke.
    throw new RpcConnectionError(`Cannot reach ${target.url}`, "unknown", { cause });
  }
}
