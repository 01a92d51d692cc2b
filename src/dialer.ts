/**
 * From where a client is to connect to a socket that does.
 *
 * @module
 */

import { toUrl } from "./client_options.ts";
import type { ClientOptions, ClientTarget } from "./client_options.ts";
import type { StandardSocket } from "./socket.ts";

/** Makes a socket for each attempt to connect. */
export class Dialer {
  readonly #target: ClientTarget;
  readonly #options: ClientOptions;

  /**
   * @param target Where to.
   * @param options What is offered there, and which class makes sockets.
   */
  constructor(target: ClientTarget, options: ClientOptions) {
    this.#target = target;
    this.#options = options;
  }

  /** What the target is called in messages: its URL, where it is one. */
  get name(): string {
    return this.redials && !this.#isAsked ? String(this.#target) : "the server";
  }

  /** Whether it can give another socket when one has ended. */
  get redials(): boolean {
    return typeof this.#target !== "object" || this.#target instanceof URL;
  }

  /** Whether another attempt may be another person's, or go elsewhere. */
  get refreshes(): boolean {
    return this.#isAsked || typeof this.#options.token === "function";
  }

  /** Makes a socket; a promise only where a function has to be asked. */
  dial(): StandardSocket | Promise<StandardSocket> {
    const target = this.#target;
    if (!this.redials) return target as StandardSocket;
    if (this.refreshes) return this.#ask();
    return this.#open(target as string | URL, this.#options.token as string | undefined);
  }

  get #isAsked(): boolean {
    return typeof this.#target === "function";
  }

  async #ask(): Promise<StandardSocket> {
    const { token } = this.#options;
    const target = this.#target as string | URL | (() => string | URL | Promise<string | URL>);
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
