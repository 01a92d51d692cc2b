/**
 * From the target of a client to the transport that leads there.
 *
 * @module
 */

import type { Transport } from "../core/transport.ts";
import { socketTransport } from "../core/web_socket_channel.ts";
import type { ClientOptions, ClientTarget } from "./options.ts";
import { toUrl, webSocketTransport } from "./web_socket.ts";

/**
 * Chooses between WebSocket and HTTP.
 *
 * @param target Where to connect.
 * @param options The client's options.
 * @returns The transport. It has not connected yet.
 * @throws {TypeError} If the target is a URL of another kind.
 */
export function toTransport(target: ClientTarget, options: ClientOptions): Transport {
  const transport = chooseTransport(target, options);
  return options.trace?.transport(transport) ?? transport;
}

function chooseTransport(target: ClientTarget, options: ClientOptions): Transport {
  if (typeof target === "function") return webSocketTransport(target, options);
  if (typeof target === "object" && !(target instanceof URL)) {
    return "open" in target ? target : socketTransport(target);
  }
  // Errors and logs name the origin alone: user, password and query of a URL may be secrets. The URL is
  // that of now: neither a page that moves nor a `URL` that is changed may lead a login elsewhere.
  const { href, origin: name, protocol } = toUrl(target);
  if (!protocol.startsWith("http")) return { ...webSocketTransport(href, options), name };
  return {
    name,
    canReconnect: true,
    isConnectionless: true,
    // Loaded with the first call: a page that uses a WebSocket never needs it.
    open: async (context) => (await import("./http.ts")).httpTransport(href, options).open(context),
  };
}
