/**
 * What carries messages, as seen by the session at either end. WebSocket and HTTP POST come with this
 * module; for another carrier implement {@linkcode Transport}.
 *
 * @module
 */

import type { Channel, Receiver } from "./channel.ts";

/** What a transport is given for one connection. Its functions need no `this`. */
export interface TransportContext {
  /** Bytes that one message may have: a carrier may refuse a longer one while it arrives. */
  readonly maxMessageBytes: number;
  /**
   * Aborts if the connection is no longer wanted before `opened` was called: the client was closed,
   * or its `connectMs` have passed. Free what was opened; nothing has to be reported.
   */
  readonly signal: AbortSignal;
  /**
   * Call this once, when messages can pass.
   *
   * @param channel Where this side sends. Its `send` may be called before `opened` returns.
   * @returns Where to put what the other side sends.
   */
  readonly opened: (channel: Channel) => Receiver;
  /**
   * Call this once instead of `opened`, if the connection was closed before it was open.
   *
   * @param code A close code of RFC 6455, section 7.4; 1006 if there is none.
   * @param reason Why, for people.
   */
  readonly refused: (code: number, reason: string) => void;
}

/**
 * A carrier of messages. Pass one to `connect()` or `new JsonRpcClient()` on one side, and to
 * `rpc.attach()` on the other.
 *
 * A connection is two small records. The transport makes the {@linkcode Channel}, hands it to
 * `context.opened`, and gets the {@linkcode Receiver} in return. It must deliver whole messages, in
 * order, each once, and report the end of the connection once, with `receiver.closed`.
 *
 * @example Both ends of a MessageChannel
 * ```ts
 * import { connect, JsonRpc } from "@x/jsonrpc";
 * import type { Transport } from "@x/jsonrpc";
 *
 * function portTransport(port: MessagePort): Transport {
 *   return {
 *     name: "the other end of the port",
 *     open({ opened }) {
 *       const receiver = opened({
 *         bufferedAmount: 0,
 *         send: (message) => port.postMessage({ text: String(message) }),
 *         close(code, reason) {
 *           port.postMessage({ code, reason });
 *           queueMicrotask(() => end(code, reason));
 *         },
 *       });
 *       let isOpen = true;
 *       function end(code: number, reason: string) {
 *         if (!isOpen) return;
 *         isOpen = false;
 *         port.close();
 *         receiver.closed(code, reason);
 *       }
 *       port.onmessage = ({ data }) => {
 *         if (data.text === undefined) end(data.code, data.reason);
 *         else receiver.receive(data.text);
 *       };
 *     },
 *   };
 * }
 *
 * const rpc = new JsonRpc().method("ping", () => "pong");
 * const { port1, port2 } = new MessageChannel();
 * rpc.attach(portTransport(port1));
 * const client = await connect<typeof rpc>(portTransport(port2));
 * console.assert(await client.call("ping") === "pong");
 * await client.close();
 * ```
 */
export interface Transport {
  /** What the other end is called in errors and logs. @default {"the server"} */
  readonly name?: string;
  /**
   * Whether `open` may be called again after a connection has ended. A client then reconnects, as its
   * option `reconnect` says.
   *
   * @default {false}
   */
  readonly canReconnect?: boolean;
  /**
   * Whether each call of `open` may present other credentials, or go elsewhere. A client that was
   * closed with 1008 or 4401 tries once more only if this is `true`.
   *
   * @default {false}
   */
  readonly hasFreshCredentials?: boolean;
  /**
   * Whether each message is answered by itself, as with HTTP POST, so that there is no connection
   * that can be lost. The channel is then told which calls a message holds, and reports the answer
   * with `receiver.exchanged`. A client neither sends heartbeats nor runs `prepare`. Progress and
   * notifications of a call reach the client only if the transport asks `receiver.listens` before it
   * sends, reads an answer of several messages, and hands each of them to `receiver.part`. A transport
   * that does not do so answers calls, and `onProgress` gets nothing.
   *
   * @default {false}
   */
  readonly isConnectionless?: boolean;
  /**
   * Opens one connection. If this throws or rejects before `context.opened` was called, the attempt
   * has failed.
   *
   * @param context What to call, and when to stop.
   */
  open(context: TransportContext): void | Promise<void>;
}

/**
 * Puts something between a transport and its sessions: what is sent and received passes through it.
 *
 * @param transport The transport.
 * @param wrap Opens the session of one connection, with a channel of its own in place of the given one;
 * returns the receiver that the transport gets.
 * @returns The transport with it.
 */
export function wrapTransport(
  transport: Transport,
  wrap: (
    channel: Channel,
    opened: TransportContext["opened"],
    maxMessageBytes: number,
  ) => Receiver,
): Transport {
  const { name, canReconnect = false, hasFreshCredentials = false, isConnectionless = false } =
    transport;
  return {
    ...name !== undefined && { name },
    canReconnect,
    hasFreshCredentials,
    isConnectionless,
    open: (context) =>
      transport.open({
        ...context,
        opened: (channel) => wrap(channel, context.opened, context.maxMessageBytes),
      }),
  };
}
