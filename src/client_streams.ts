/**
 * The client's side of subscriptions by id: items to whoever waits for them.
 *
 * @module
 */

import type { Method } from "./dispatch.ts";
import { RpcConnectionError } from "./errors.ts";
import { toError } from "./pending.ts";

/** How a subscription by id is called on the server. */
export interface StreamOptions {
  /** The method that ends it. */
  readonly unsubscribe: string;
  /** The notification that carries items. */
  readonly notification: string;
  /** Items that may wait to be taken; with one more the stream fails. @default {1024} */
  readonly maxWaiting?: number;
}

/** Calls the server. */
export type StreamCall = (method: string, params: unknown) => Promise<unknown>;

/** The streams that a client reads. */
export class ClientStreams {
  readonly #call: StreamCall;
  // By the name of their notification, then by their id.
  readonly #inboxes = new Map<string, Inboxes>();

  /** @param call Calls the server. */
  constructor(call: StreamCall) {
    this.#call = call;
  }

  /** What to run for a notification; `undefined` where no stream has it. */
  find(name: string): Method | undefined {
    return this.#inboxes.get(name)?.method;
  }

  /** Ends all streams: the connection is gone. */
  fail(error: Error): void {
    for (const inboxes of this.#inboxes.values()) inboxes.fail(error);
    this.#inboxes.clear();
  }

  /** Subscribes with the first item that is asked for, and unsubscribes when reading ends. */
  async *open(method: string, params: unknown, options: StreamOptions): AsyncGenerator<unknown> {
    const { notification, unsubscribe, maxWaiting = 1024 } = options;
    const inboxes = this.#inboxes.get(notification) ?? new Inboxes();
    this.#inboxes.set(notification, inboxes);
    const inbox = await inboxes.open(this.#call(method, params), maxWaiting).catch((error) => {
      this.#tidy(notification, inboxes);
      throw error;
    });
    try {
      for (;;) {
        const item = await inbox.take();
        if (item === undefined) return;
        yield item.value;
      }
    } finally {
      inboxes.delete(inbox.id);
      this.#tidy(notification, inboxes);
      // Where the server ended it there is nothing left to end.
      if (!inbox.ended) await this.#call(unsubscribe, [inbox.id]);
    }
  }

  #tidy(notification: string, inboxes: Inboxes): void {
    if (inboxes.isIdle) this.#inboxes.delete(notification);
  }
}

interface Item {
  readonly subscription?: unknown;
  readonly result?: unknown;
  readonly error?: unknown;
  readonly done?: unknown;
}

/** All streams of one notification. */
class Inboxes {
  readonly method: Method = { invoke: (item) => this.#route(item as Item), scalarParams: true };
  readonly #byId = new Map<unknown, Inbox>();
  // Items may come before the answer with their id was looked at.
  readonly #early = new Map<unknown, Item[]>();
  #opening = 0;

  get isIdle(): boolean {
    return this.#opening === 0 && this.#byId.size === 0;
  }

  /** Waits for the id; items that come meanwhile are kept until it is known whose they are. */
  async open(call: Promise<unknown>, maxWaiting: number): Promise<Inbox> {
    this.#opening++;
    try {
      const inbox = new Inbox(await call, maxWaiting);
      this.#byId.set(inbox.id, inbox);
      for (const item of this.#early.get(inbox.id) ?? []) inbox.put(item);
      this.#early.delete(inbox.id);
      return inbox;
    } finally {
      this.#opening--;
    }
  }

  delete(id: unknown): void {
    this.#byId.delete(id);
  }

  fail(error: Error): void {
    for (const inbox of this.#byId.values()) inbox.fail(error);
  }

  #route(item: Item): void {
    const { subscription } = item ?? {};
    const inbox = this.#byId.get(subscription);
    if (inbox !== undefined) return inbox.put(item);
    if (this.#opening === 0) return this.#early.clear();
    const early = this.#early.get(subscription);
    if (early === undefined) this.#early.set(subscription, [item]);
    else early.push(item);
  }
}

/** Items of one stream that wait to be taken. */
class Inbox {
  /** What the server calls it. */
  readonly id: unknown;
  /** Whether nothing more will come. */
  ended = false;
  readonly #waiting: { readonly value: unknown }[] = [];
  readonly #maxWaiting: number;
  #failure: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(id: unknown, maxWaiting: number) {
    this.id = id;
    this.#maxWaiting = maxWaiting;
  }

  put(item: Item): void {
    if (this.ended || this.#failure !== undefined) return;
    if (item.error !== undefined) this.fail(toError("a stream", item.error));
    else if (item.done === true) this.ended = true;
    else if (this.#waiting.length < this.#maxWaiting) this.#waiting.push({ value: item.result });
    else {
      const message = `Cannot keep up with the stream: ${this.#maxWaiting} items wait (maxWaiting)`;
      this.#failure = new RpcConnectionError(message, "unknown");
    }
    this.#wake?.();
  }

  /** Ends it with an error, once what came before has been taken. */
  fail(error: Error): void {
    this.ended = true;
    this.#failure ??= error;
    this.#wake?.();
  }

  /** The next item; `undefined` at the end. */
  async take(): Promise<{ readonly value: unknown } | undefined> {
    while (this.#waiting.length === 0) {
      if (this.#failure !== undefined) throw this.#failure;
      if (this.ended) return undefined;
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    return this.#waiting.shift();
  }
}
