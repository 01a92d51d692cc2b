/**
 * The client's HTTP transport: a POST for each text, its answer back to the calls that wait.
 *
 * @module
 */

import { readText } from "./body.ts";
import { describeError, RpcConnectionError } from "./errors.ts";
import type { Limits } from "./limits.ts";
import { closedError } from "./link.ts";
import type { Link, LinkState } from "./link.ts";
import type { Logger } from "./logger.ts";
import { toError } from "./pending.ts";
import type { Pending } from "./pending.ts";
import { isResponse, parseMessage } from "./protocol.ts";

/** Where and how to post. */
export interface PostLinkOptions {
  /** The server's URL. */
  readonly url: string;
  /** Gives the headers beside `content-type`. */
  readonly headers: () => Promise<Readonly<Record<string, string>>>;
  /** The standard function, or one that stands for it. */
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>;
  /** Which bounds hold for the answer. */
  readonly limits: Limits;
  /** Where a notification that was not taken is written. */
  readonly logger: Logger;
  /** Where calls wait. */
  readonly pending: Pending;
}

/** A link without a connection: each message is a POST of its own. */
export class PostLink implements Link {
  readonly #options: PostLinkOptions;
  readonly #underWay = new Map<number, AbortController>();
  #state: LinkState = "idle";

  /** @param options Where and how. */
  constructor(options: PostLinkOptions) {
    this.#options = options;
  }

  get state(): LinkState {
    return this.#state;
  }

  /** Nothing to open: whether the server is there shows with the first call. */
  connect(): Promise<void> {
    if (this.#state === "closed") return Promise.reject(closedError("connect"));
    this.#state = "open";
    return Promise.resolve();
  }

  send(text: string, ids: readonly number[]): void {
    if (this.#state === "closed") throw closedError("send");
    this.#state = "open";
    void this.#exchange(text, ids);
  }

  cancel(id: number): void {
    const controller = this.#underWay.get(id);
    this.#underWay.delete(id);
    // A batch is given up with the last of its calls.
    if (![...this.#underWay.values()].includes(controller as AbortController)) controller?.abort();
  }

  /** A POST that was answered is over: whoever asked is told. */
  refused(): boolean {
    return false;
  }

  close(): Promise<void> {
    this.#state = "closed";
    this.#options.pending.failAll((_id, { method }) =>
      new RpcConnectionError(`No answer to "${method}": the client was closed`, "unknown")
    );
    for (const controller of this.#underWay.values()) controller.abort();
    return Promise.resolve();
  }

  async #exchange(text: string, ids: readonly number[]): Promise<void> {
    const { pending, logger } = this.#options;
    const controller = new AbortController();
    for (const id of ids) this.#underWay.set(id, controller);
    try {
      const message = await post(this.#options, text, controller.signal);
      const failure = this.#settle(message);
      for (const id of ids) pending.fail(id, failure);
      if (ids.length === 0 && message !== undefined) throw failure;
    } catch (error) {
      for (const id of ids) pending.fail(id, error);
      if (ids.length === 0) logger.warn(`A notification was not taken: ${describeError(error)}`);
    }
    for (const id of ids) this.#underWay.delete(id);
  }

  /** Hands answers to their calls; gives the reason why those that got none have failed. */
  #settle(message: unknown): Error {
    let failure: Error = new RpcConnectionError(`${this.#options.url} gave no answer`, "unknown");
    for (const each of Array.isArray(message) ? message : [message]) {
      if (!isResponse(each)) continue;
      // An error without an id is about the whole message.
      if (each.id === null || each.id === undefined) failure = toError("a message", each.error);
      else this.#options.pending.settle(each);
    }
    return failure;
  }
}

/**
 * Posts one text.
 *
 * @returns The parsed answer; `undefined` where there was none.
 * @throws {RpcConnectionError} Where the server was not reached, or what came is no JSON-RPC.
 */
async function post(
  target: PostLinkOptions,
  text: string,
  signal: AbortSignal,
): Promise<unknown> {
  const { url, limits: { maxMessageBytes, maxDepth } } = target;
  const response = await reach(target, text, signal);
  const body = await readText(response, maxMessageBytes).catch((cause) => {
    throw new RpcConnectionError(`The answer of ${url} broke off`, "unknown", { cause });
  });
  if (body === undefined) {
    response.body?.cancel().catch(() => {});
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

async function reach(
  target: PostLinkOptions,
  body: string,
  signal: AbortSignal,
): Promise<Response> {
  try {
    const headers = { "content-type": "application/json", ...await target.headers() };
    return await target.fetch(target.url, { method: "POST", headers, body, signal });
  } catch (cause) {
    // fetch does not tell whether the request had been sent before the connection broke.
    throw new RpcConnectionError(`Cannot reach ${target.url}`, "unknown", { cause });
  }
}
