/**
 * From where a client is to connect to a socket that does.
 *
 * @module
 */

import { toUrl } from "./client_options.ts";
import type { ClientOptions, ClientTarget } from "./client_options.ts";
import type { StandardSocket } from "./socket.ts";

/** What makes a socket for each attempt to connect. */
export interface Dialing {
  /** What the target is called in messages: its URL, where it is one. */
  readonly name: string;
  /** Whether it can give another socket when one has ended. */
  readonly redials: boolean;
  /** Whether another attempt may be another person's, or go elsewhere. */
  readonly refreshes: boolean;
  /** Makes a socket, or gives that which was passed in; a promise only where it has to wait. */
  dial(): StandardSocket | Promise<StandardSocket>;
}

/** Makes WebSockets. */
export class Dialer implements Dialing {
  readonly name: string;
  readonly redials: boolean;
  readonly refreshes: boolean;
  readonly #target: ClientTarget;
  readonly #options: ClientOptions;

  /**
   * @param target Where to.
   * @param options What is offered there, and which class makes sockets.
   */
  constructor(target: ClientTarget, options: ClientOptions) {
    this.#target = target;
    this.#options = options;
    const isAsked = typeof target === "function";
    const isUrl = typeof target === "string" || target instanceof URL;
    this.name = isUrl ? String(target) : "the server";
    this.redials = isUrl || isAsked;
    this.refreshes = isAsked || typeof options.token === "function";
  }

  dial(): StandardSocket | Promise<StandardSocket> {
    const target = this.#target;
    if (!this.redials) return target as StandardSocket;
    if (this.refreshes) return this.#ask();
    return this.#open(target as string | URL, this.#options.token as string | undefined);
  }

  async #ask(): Promise<StandardSocket> {
    const target = this.#target as string | URL | (() => string | URL | Promise<string | URL>);
    const { token } = this.#options;
    const url = typeof target === "function" ? await target() : target;
    return this.#open(url, typeof token === "function" ? await token() : token);
  }

  #open(url: string | URL, token: string | undefined): StandardSocket {
    const { WebSocket = globalThis.WebSocket, protocols } = this.#options;
    const offered = [...protocols ?? (token === undefined ? [] : ["jsonrpc"])];
    if (token !== undefined) offered.push(`bearer.${token}`);
    return new WebSocket(toUrl(url).href, offered);
  }
}
