/**
 * Streams over the shared connection. Tokens of results that stream are numbers that each tab chooses by itself, so
 * the server gets others; ids of subscriptions by id are the server's, and each belongs to one tab.
 *
 * @module
 */

import { SEND } from "../core/internal.ts";
import type { CallRequest } from "../core/pending_calls.ts";
import { requestText } from "../protocol/message.ts";
import type { Tab } from "./tab.ts";

/** The counterparts of a method that begins a subscription by id. */
export interface SharedStreamNames {
  /** The method that ends a subscription: it takes the id. */
  readonly unsubscribe: string;
  /** The notification that carries items: `{ subscription: id, result }`. */
  readonly notification: string;
}

/** What the streams need of the shared connection. */
export interface IdStreamsHost {
  /** The streams by id, by the method that begins them. */
  readonly streams: Readonly<Record<string, SharedStreamNames>>;
  /** Calls the server. */
  call(request: CallRequest): Promise<unknown>;
  /** Notifies the server. */
  notify(method: string, params: unknown): void;
}

interface ResultStream {
  readonly tab: Tab;
  /** The tab's own token. */
  readonly token: unknown;
}

interface IdStream {
  readonly tab: Tab;
  readonly names: SharedStreamNames;
}

/** The streams of one shared connection. */
export class IdStreams {
  readonly #host: IdStreamsHost;
  readonly #results = new Map<unknown, ResultStream>();
  readonly #ids = new Map<unknown, IdStream>();
  #lastToken = 0;

  /** @param host The shared connection. */
  constructor(host: IdStreamsHost) {
    this.#host = host;
  }

  /**
   * Gives the params of a tab's `rpc.stream` a token that no other tab has.
   *
   * @param tab The tab.
   * @param params The params.
   * @returns The params for the server, and what ends the stream.
   */
  begin(tab: Tab, params: unknown): { readonly params: unknown; readonly end: () => void } {
    const token = ++this.#lastToken;
    this.#results.set(token, { tab, token: memberOf(params, "token") });
    return { params: withToken(params, token), end: () => void this.#results.delete(token) };
  }

  /** Passes on how many items more a tab takes. */
  credit(tab: Tab, params: unknown): void {
    const own = memberOf(params, "token");
    for (const [token, stream] of this.#results) {
      if (stream.tab !== tab || stream.token !== own) continue;
      return this.#host.notify("rpc.credit", withToken(params, token));
    }
  }

  /** Passes an item on to the tab that reads the stream. */
  item(params: unknown): void {
    const stream = this.#results.get(memberOf(params, "token"));
    stream?.tab[SEND](requestText(undefined, "rpc.item", withToken(params, stream.token)));
  }

  /** The counterparts of a method, if it begins subscriptions by id. */
  namesOf(method: string): SharedStreamNames | undefined {
    const { streams } = this.#host;
    return Object.hasOwn(streams, method) ? streams[method] : undefined;
  }

  /** Notes to which tab a subscription belongs. */
  opened(id: unknown, tab: Tab, names: SharedStreamNames): void {
    if (tab.isOpen) this.#ids.set(id, { tab, names });
    else this.#unsubscribe(id, names);
  }

  /** Forgets the subscription that a tab ends. */
  closed(method: string, params: unknown): void {
    const id = Array.isArray(params) ? params[0] : memberOf(params, "subscription");
    if (this.#ids.get(id)?.names.unsubscribe === method) this.#ids.delete(id);
  }

  /** The tab that has the subscription whose item this is; `undefined` if it is not known. */
  ownerOf(notification: string, params: unknown): Tab | undefined {
    const stream = this.#ids.get(memberOf(params, "subscription"));
    return stream?.names.notification === notification ? stream.tab : undefined;
  }

  /** Ends the subscriptions of a tab that is gone. */
  leaveAll(tab: Tab): void {
    for (const [id, stream] of this.#ids) {
      if (stream.tab !== tab) continue;
      this.#ids.delete(id);
      this.#unsubscribe(id, stream.names);
    }
  }

  /** Forgets everything: the connection has ended. */
  clear(): void {
    this.#results.clear();
    this.#ids.clear();
  }

  #unsubscribe(id: unknown, { unsubscribe: method }: SharedStreamNames): void {
    this.#host.call({ method, params: [id], connectionOnly: true }).catch(() => {});
  }
}

function memberOf(params: unknown, name: string): unknown {
  return ((params ?? {}) as Record<string, unknown>)[name];
}

function withToken(params: unknown, token: unknown): unknown {
  return { ...params as object, token };
}
