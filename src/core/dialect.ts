/**
 * Dialects: protocols on JSON-RPC that name cancelling and progress in their own way. Handlers and callers
 * use `request.signal`, `request.progress`, `signal` and `onProgress` as ever; what goes over the wire is
 * what the other side knows.
 *
 * ```ts ignore
 * import { JsonRpc } from "@x/jsonrpc";
 * import { connect } from "@x/jsonrpc/client";
 * import { acp, lsp, withDialect } from "@x/jsonrpc/dialect";
 * import { spawned } from "@x/jsonrpc/stdio";
 *
 * const rpc = new JsonRpc({ dialect: acp }); // a server
 * const server = spawned(["some-language-server", "--stdio"], { framing: "content-length" });
 * const client = await connect(withDialect(server, lsp)); // a client
 * ```
 *
 * @module
 */

import { mapChannel, textOf } from "./channel.ts";
import type { Channel, Receiver } from "./channel.ts";
import { Translator } from "./translator.ts";
import type { Dialect } from "./translator.ts";
import { wrapTransport } from "./transport.ts";
import type { Transport } from "./transport.ts";

export type { Dialect } from "./translator.ts";

/**
 * The Language Server Protocol: `$/cancelRequest`, and `$/progress` for calls with a `workDoneToken`.
 *
 * @see {@link https://microsoft.github.io/language-server-protocol/specifications/lsp/3.17/specification/}
 */
export const lsp: Dialect = {
  cancel: { method: "$/cancelRequest", id: "id" },
  progress: { method: "$/progress", token: "token", value: "value", request: ["workDoneToken"] },
};

/**
 * The Model Context Protocol: `notifications/cancelled`, and `notifications/progress` for calls with a
 * `progressToken` in `_meta`.
 *
 * @see {@link https://modelcontextprotocol.io/specification/2025-06-18/basic/utilities/progress}
 */
export const mcp: Dialect = {
  cancel: { method: "notifications/cancelled", id: "requestId", answered: false },
  progress: {
    method: "notifications/progress",
    token: "progressToken",
    request: ["_meta", "progressToken"],
  },
};

/**
 * The Agent Client Protocol: `$/cancel_request`.
 *
 * @see {@link https://agentclientprotocol.com/protocol/cancellation}
 */
export const acp: Dialect = { cancel: { method: "$/cancel_request", id: "requestId" } };

/**
 * Speaks a dialect over a transport. For the server's side there is also its option `dialect`.
 *
 * @param transport Carries the messages.
 * @param dialect What the other side speaks.
 * @returns A transport for `connect`, `new JsonRpcClient` or `rpc.attach`.
 *
 * @example
 * ```ts ignore
 * const client = await connect(withDialect(spawned(["some-mcp-server"]), mcp));
 * await client.call("tools/call", { name: "index" }, { onProgress: console.log });
 * ```
 */
export function withDialect(transport: Transport, dialect: Dialect): Transport {
  return wrapTransport(
    transport,
    (channel, opened, maxMessageBytes) =>
      openDialect(channel, { dialect, maxMessageBytes }, opened),
  );
}

/** What {@linkcode openDialect} needs. */
export interface DialectOptions {
  /** What the other side speaks. */
  readonly dialect: Dialect;
  /** Bytes that one message may have: a longer one is left as it is, and refused by the session. */
  readonly maxMessageBytes: number;
}

/**
 * Opens a session that speaks a dialect.
 *
 * @param channel The outgoing direction.
 * @param options What the other side speaks, and how long a message may be.
 * @param opened Opens the session.
 * @returns The incoming direction.
 */
export function openDialect(
  channel: Channel,
  { dialect, maxMessageBytes }: DialectOptions,
  opened: (channel: Channel) => Receiver,
): Receiver {
  const translator = new Translator(dialect);
  const receiver = opened(mapChannel(channel, (message) => translator.out(textOf(message))));
  return {
    receive: (text) => {
      const isRead = text !== undefined && text.length <= maxMessageBytes;
      receiver.receive(isRead ? translator.in(text) : text);
    },
    markAlive: () => receiver.markAlive(),
    inputEnded: () => receiver.inputEnded?.() === true,
    closed: (code, reason) => receiver.closed(code, reason),
    exchanged: (ids, answer, status) => receiver.exchanged?.(ids, answer, status),
    listens: (ids) => receiver.listens?.(ids) === true,
    part: (ids, message) => receiver.part?.(ids, translator.in(message)) === true,
  };
}
