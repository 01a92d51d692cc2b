/**
 * The transport of a client that connects to an `http:` or `https:` URL: each message is one POST. `connect(url)`
 * loads it with the first call, by `import()`. Service workers forbid `import()`: if yours is not bundled into one
 * file, pass the transport itself.
 *
 * @example
 * ```ts ignore
 * import { connect } from "@x/jsonrpc/client";
 * import { httpTransport } from "@x/jsonrpc/http";
 *
 * const client = await connect(httpTransport("https://example.com/rpc"));
 * ```
 *
 * @module
 */

import type { Receiver } from "../core/channel.ts";
import type { Transport, TransportContext } from "../core/transport.ts";
import { readAnswer } from "./answer_reader.ts";
import type { ReadOptions } from "./answer_reader.ts";
import type { ClientOptions } from "./options.ts";

/** Options of {@linkcode httpTransport}; see {@linkcode ClientOptions}. */
export type HttpOptions = Pick<ClientOptions, "token" | "headers" | "fetch">;

/**
 * Posts each message.
 *
 * @param url Where to post.
 * @param options How to post.
 * @returns The transport. Its channel stays open until it is closed.
 */
export function httpTransport(url: string | URL, options: HttpOptions = {}): Transport {
  return {
    canReconnect: true,
    isConnectionless: true,
    open: (context) => openHttp(String(url), options, context),
  };
}

function openHttp(
  url: string,
  options: HttpOptions,
  { opened, maxMessageBytes }: TransportContext,
): void {
  // The calls in each POST that still need an answer.
  const underWay = new Map<AbortController, Set<number>>();
  let isOpen = true;
  const receiver: Receiver = opened({
    bufferedAmount: 0,
    send(message, ids = []) {
      const controller = new AbortController();
      underWay.set(controller, new Set(ids));
      const exchange = {
        message: `${message}`,
        maxMessageBytes,
        signal: controller.signal,
        take: receiver.listens?.(ids) && ((each: string) => receiver.part?.(ids, each) === true),
      };
      void post(url, options, exchange)
        .then(
          (answer) => receiver.exchanged?.(ids, ...answer),
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

/** One text to post, and how its answer is read. */
interface Exchange extends ReadOptions {
  readonly message: string;
}

/** Posts one text; gives that of the answer, and its status. Throws `Error` if it cannot be read. */
async function post(
  url: string,
  { token, headers, fetch = globalThis.fetch }: HttpOptions,
  { message, signal, maxMessageBytes, take }: Exchange,
): Promise<[text: string, status: string]> {
  const failed = (what: string) => (error: Error) => {
    // Runtimes quote the URL, or the header that is wrong: either may hold secrets.
    throw new Error(what, { cause: `${error.cause ?? error}`.replace(/["'].*["']|:\/\S+/s, "") });
  };
  const request = async () => {
    const bearer = typeof token === "function" ? await token() : token;
    return await fetch(url, {
      method: "POST",
      body: message,
      // A redirection could hand params and token to another origin.
      redirect: "manual",
      signal,
      // Without exactOptionalPropertyTypes a member may seem to be undefined.
      headers: {
        "content-type": "application/json",
        ...bearer !== undefined && { authorization: `Bearer ${bearer}` },
        ...headers,
        ...take && { accept: "application/json, text/event-stream" },
      } as Record<string, string>,
    });
  };
  const brokeOff = "it broke off";
  const response = await request().catch(failed("cannot reach it"));
  const { body } = response;
  const isStream = /^text\/event-stream/i.test(`${response.headers.get("content-type")}`);
  const takes = isStream && take;
  const reads = { maxMessageBytes, signal, take: takes };
  const text = body && await readAnswer(body, reads).catch(failed(brokeOff));
  if (text === undefined) throw new Error(`it is over ${maxMessageBytes} bytes (maxMessageBytes)`);
  const status = `${response.status} ${response.statusText}`.trim();
  if (!text && !response.ok) throw new Error(`it answered ${status}`);
  return [text ?? "", takes ? brokeOff : status];
}
