/**
 * From where a client is to connect to a socket that does.
 *
 * @module
 */

import { toUrl } from "./options.ts";
import type { ClientOptions, ClientTarget } from "./options.ts";
import type { StandardSocket } from "../core/web_socket_channel.ts";

/** What makes a socket for each attempt to connect. */
export interface Connector {
  /** What the target is called in messages: its URL, where it is one. */
  readonly name: string;
  /** Whether it can give another socket when one has ended. */
  readonly canReconnect: boolean;
  /** Whether another attempt may be another person's, or go elsewhere. */
  readonly hasFreshCredentials: boolean;
  /** Makes a socket, or gives that which was passed in; a promise only where it has to wait. */
  connect(): StandardSocket | Promise<StandardSocket>;
}

/**
 * Makes WebSockets.
 *
 * @param target Where to.
 * @param options What is offered there, and which class makes sockets.
 */
export function webSocketConnector(target: ClientTarget, options: ClientOptions): Connector {
  const { token, protocols } = options;
  const isAsked = typeof target === "function";
  const isUrl = typeof target === "string" || target instanceof URL;
  const hasFreshCredentials = isAsked || (isUrl && typeof token === "function");
  function open(url: string | URL, token: string | undefined): StandardSocket {
    const { WebSocket = globalThis.WebSocket } = options;
    const offered = [...protocols ?? (token === undefined ? [] : ["jsonrpc"])];
    if (token !== undefined) offered.push(`bearer.${token}`);
    return new WebSocket(toUrl(url).href, offered);
  }
  async function ask(): Promise<StandardSocket> {
    const url = isAsked ? await target() : target as string | URL;
    return open(url, typeof token === "function" ? await token() : token);
  }
  return {
    name: isUrl ? String(target) : "the server",
    canReconnect: isUrl || isAsked,
    hasFreshCredentials,
    connect() {
      if (hasFreshCredentials) return ask();
      return isUrl ? open(target, token as string | undefined) : target as StandardSocket;
    },
  };
}
