/**
 * The client's way over HTTP: a POST for each message, its answer back to the calls that wait.
 *
 * @module
 */

import { describeError, RpcConnectionError } from "./errors.ts";
import { closedError } from "./link.ts";
import type { Link, LinkState } from "./link.ts";
import type { Logger } from "./logger.ts";
import { toError } from "./pending.ts";
import type { Pending } from "./pending.ts";
import type { PostOptions } from "./post.ts";
import { isResponse } from "./protocol.ts";

/** What a link over HTTP is made of. */
export interface PostLinkOptions extends PostOptions {
  /** Where a notification that was not taken is written. */
  readonly logger: Logger;
  /** Where calls wait. */
  readonly pending: Pending;
}

/** One POST that was not answered yet. */
interface Exchange {
  readonly ids: readonly number[];
  readonly controller: AbortController;
}

/** A link without a connection: each message is a POST of its own. */
export class PostLink implements Link {
  readonly #options: PostLinkOptions;
  readonly #underWay = new Set<Exchange>();
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
    const { pending } = this.#options;
    for (const { ids, controller } of this.#underWay) {
      // A batch is given up with the last of its calls.
      if (ids.includes(id) && !ids.some((each) => pending.awaits(each))) controller.abort();
    }
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
    for (const { controller } of this.#underWay) controller.abort();
    return Promise.resolve();
  }

  async #exchange(text: string, ids: readonly number[]): Promise<void> {
    const { pending, logger } = this.#options;
    const exchange: Exchange = { ids, controller: new AbortController() };
    this.#underWay.add(exchange);
    let failure: Error | undefined;
    try {
      const { post } = await import("./post.ts");
      const answer = await post(this.#options, text, exchange.controller.signal);
      if (answer !== undefined || ids.length > 0) failure = this.#settle(answer);
    } catch (error) {
      const { message, cause } = error as Error;
      // fetch does not tell whether the request had been sent before the connection broke.
      failure = new RpcConnectionError(message, "unknown", { cause });
    }
    this.#underWay.delete(exchange);
    for (const id of ids) pending.fail(id, failure);
    if (failure && ids.length === 0) {
      logger.warn(`A notification was not taken: ${describeError(failure)}`);
    }
  }

  /** Hands answers to their calls; gives the reason why those that got none have failed. */
  #settle(answer: unknown): Error {
    let failure: Error = new RpcConnectionError(`${this.#options.url} gave no answer`, "unknown");
    for (const each of Array.isArray(answer) ? answer : [answer]) {
      if (!isResponse(each)) continue;
      // An error without an id is about the whole message.
      if (each.id === null || each.id === undefined) failure = toError("a message", each.error);
      else this.#options.pending.settle(each);
    }
    return failure;
  }
}
