/**
 * A client's way over HTTP: a socket whose every text is a POST. Loaded with the first: a page that talks
 * over a WebSocket never needs it, and so it imports nothing of what such a page has loaded.
 *
 * @module
 */

import { readChunks } from "../util/read_body.ts";
import type { ClientOptions } from "./options.ts";
import type { Message } from "../protocol/message.ts";
import type { SocketEvent, StandardSocket } from "../core/web_socket_channel.ts";

/** Where and how to post, and for whom. */
export interface PostOptions extends Pick<ClientOptions, "token" | "headers" | "fetch"> {
  /** The server's URL. */
  readonly url: string;
  /** Bytes that an answer may have. */
  readonly maxMessageBytes: number;
  /** The value of an answer's text. Throws where it is not JSON, or nested too deep. */
  readonly parse: (text: string) => unknown;
  /** Takes the answer to one call. */
  readonly settle: (message: Message) => void;
  /** Says that nothing more comes of a POST; those of its calls that still wait have failed. */
  readonly failed: (ids: ReadonlySet<unknown>, message: string, cause: unknown) => void;
}

/** One POST that was not answered yet. */
interface PostRequest {
  /** The calls in it that still wait; none of a notification. */
  readonly ids: Set<unknown>;
  readonly controller: AbortController;
}

/** A socket without a connection: open until it is closed. */
export class PostSocket implements StandardSocket {
  readonly bufferedAmount = 0;
  /** 1 open, 3 closed. */
  readyState = 1;
  readonly #options: PostOptions;
  readonly #underWay = new Set<PostRequest>();
  #closed: ((event: SocketEvent) => void) | undefined;

  /** @param options Where and how. */
  constructor(options: PostOptions) {
    this.#options = options;
  }

  /** Of all events only `close` happens: answers go where calls wait. */
  addEventListener(type: string, listener: (event: SocketEvent) => void): void {
    if (type === "close") this.#closed = listener;
  }

  send(text: string): void {
    const messages = [JSON.parse(text)].flat() as Message[];
    const [{ method, params } = {}] = messages;
    if (method === "$/cancelRequest") return this.#cancel((params as Message).id);
    const ids = messages.map(({ id }) => id).filter((id) => id !== undefined);
    void this.#exchange(text, new Set(ids));
  }

  close(code = 1000, reason = ""): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    for (const { controller } of this.#underWay) controller.abort();
    queueMicrotask(() => this.#closed?.({ type: "close", code, reason }));
  }

  #cancel(id: unknown): void {
    for (const { ids, controller } of this.#underWay) {
      // A batch is given up with the last of its calls.
      if (ids.delete(id) && ids.size === 0) controller.abort();
    }
  }

  async #exchange(text: string, ids: Set<unknown>): Promise<void> {
    const exchange: PostRequest = { ids, controller: new AbortController() };
    const isCall = ids.size > 0;
    this.#underWay.add(exchange);
    try {
      const answer = await post(this.#options, text, exchange.controller.signal);
      if (isCall) this.#settle(answer, ids);
      if (isCall ? ids.size > 0 : answer !== "") {
        const what = JSON.stringify(answer).slice(0, 200);
        throw new Error(`${this.#options.url} answered ${what}`);
      }
    } catch (error) {
      const { message, cause } = error as Error;
      // Of calls that were all given up nobody has to know.
      if (!isCall || ids.size > 0) this.#options.failed(ids, message, cause);
    }
    this.#underWay.delete(exchange);
  }

  /** Hands answers to their calls, and takes these from those that wait. */
  #settle(answer: unknown, ids: Set<unknown>): void {
    const answers = [answer].flat().filter((each) => each) as Message[];
    for (const each of answers) if (ids.delete(each.id)) this.#options.settle(each);
    // An error without an id is about the whole message.
    const { error } = answers.find(({ id, error }) => error && (id ?? null) === null) ?? {};
    if (error === undefined) return;
    for (const id of ids) this.#options.settle({ error, id });
    ids.clear();
  }
}

/**
 * Posts one text.
 *
 * @returns The parsed answer; an empty text where there was none.
 * @throws {Error} Where the server was not reached, or what came is no JSON.
 */
async function post(options: PostOptions, text: string, signal: AbortSignal): Promise<unknown> {
  const { url, maxMessageBytes } = options;
  const response = await reach(options, text, signal);
  const body = await read(response, maxMessageBytes).catch((cause) => {
    throw new Error(`The answer of ${url} broke off`, { cause });
  });
  if (body === undefined) {
    response.body?.cancel().catch(() => {});
    throw new Error(`The answer of ${url} is over ${maxMessageBytes} bytes (maxMessageBytes)`);
  }
  if (body === "" && response.ok) return body;
  try {
    return options.parse(body);
  } catch (cause) {
    const what = `${response.status} ${response.statusText} ${body.slice(0, 200)}`.trim();
    throw new Error(`${url} answered no JSON-RPC: ${what}`, { cause });
  }
}

async function reach(
  { url, token, headers, fetch = globalThis.fetch }: PostOptions,
  body: string,
  signal: AbortSignal,
): Promise<Response> {
  try {
    const bearer = typeof token === "function" ? await token() : token;
    const proof = bearer === undefined ? {} : { authorization: `Bearer ${bearer}` };
    const all = { "content-type": "application/json", ...proof, ...headers };
    return await fetch(url, { method: "POST", headers: all, body, signal });
  } catch (cause) {
    throw new Error(`Cannot reach ${url}`, { cause });
  }
}

async function read({ headers, body }: Response, maxBytes: number): Promise<string | undefined> {
  // Known ahead, where the server tells.
  if (Number(headers.get("content-length")) > maxBytes) return undefined;
  return await readChunks(body, maxBytes);
}
