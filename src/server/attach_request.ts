/**
 * Attaching a socket together with the request that has opened it, so that the checks run that
 * `rpc.fetch` runs. They may take time; what the client sends meanwhile waits.
 *
 * @module
 */

import type { Channel, Receiver } from "../core/channel.ts";
import type { Handshake } from "../core/connection.ts";
import type { Transport } from "../core/transport.ts";
import type { WebSocketAcceptor } from "./acceptor.ts";
import type { AddressCounts } from "./address_counts.ts";
import type { AttachOptions, AttachRequest } from "./options.ts";

/** Makes the handshake of a request that the program was given, by a framework or by `node:http`. */
function handshakeOf({ request, options, addresses }: RequestAttachment): Handshake {
  let headers: Headers;
  try {
    headers = options.headers ?? headersOf(request.headers);
  } catch (cause) {
    // Deno closes the request with the upgrade.
    throw new TypeError(
      "Cannot attach: the request cannot be read after the upgrade. Copy its url and headers before it",
      { cause },
    );
  }
  return {
    id: options.id,
    url: options.url ?? urlOf(request.url, headers),
    headers,
    remoteAddress: addresses.clientOf(
      options.remoteAddress ?? request.socket?.remoteAddress,
      headers,
    ),
    user: options.user ?? null,
    isUpgrade: true,
  };
}

/** The URL; empty if there is none, as the client chooses both its path and the Host header. */
function urlOf(url = "", headers: Headers): string {
  if (URL.canParse(url)) return url;
  // In Node the URL of a request is only its path.
  const path = url.replace(/^\/+/, "/");
  const base = `http://${headers.get("host") ?? "localhost"}`;
  return URL.canParse(path, base) ? new URL(path, base).href : "";
}

function headersOf(given: AttachRequest["headers"]): Headers {
  if (given instanceof Headers) return new Headers(given);
  const headers = new Headers();
  for (const [name, value] of Object.entries(given)) {
    for (const each of [value].flat()) if (each !== undefined) headers.append(name, each);
  }
  return headers;
}

/** What is attached, and to what. */
export interface RequestAttachment {
  /** Opened once. */
  readonly transport: Transport;
  /** What the program tells of the peer. */
  readonly options: AttachOptions;
  /** The request that has opened it. */
  readonly request: AttachRequest;
  /** Runs the checks, and opens the connection. */
  readonly acceptor: WebSocketAcceptor;
  /** Tells the addresses of clients behind proxies. */
  readonly addresses: AddressCounts;
  /** Bytes that one message may have; so many may also wait. */
  readonly maxMessageBytes: number;
}

/**
 * Attaches a transport if the checks accept its peer; else closes it.
 *
 * @param attachment The transport, its peer and the server.
 * @returns Whether it was attached. Rejects with what `transport.open` throws, and if the
 * request cannot be read.
 */
export async function attachRequest(attachment: RequestAttachment): Promise<boolean> {
  const { transport, acceptor, maxMessageBytes } = attachment;
  const handshake = handshakeOf(attachment);
  const { promise, resolve } = Promise.withResolvers<WaitingReceiver | undefined>();
  await transport.open({
    maxMessageBytes,
    signal: new AbortController().signal,
    opened(channel) {
      const waiting = new WaitingReceiver(channel, maxMessageBytes);
      resolve(waiting);
      return waiting;
    },
    refused: () => resolve(undefined),
  });
  const waiting = await promise;
  if (waiting === undefined) return false;
  let attached = false;
  const response = await acceptor.accept(handshake, (context) => {
    if (waiting.ended) context.refused(1006, "The socket is closed");
    else waiting.passTo(context.opened(waiting.channel));
    attached = !waiting.ended;
    return new Response(null);
  });
  if (!attached) {
    waiting.channel.close(response.status === 503 ? 1013 : 1008, await response.text());
  }
  return attached;
}

/** Keeps what arrives until the checks have ended. */
class WaitingReceiver implements Receiver {
  readonly channel: Channel;
  readonly #maxLength: number;
  #texts: (string | undefined)[] = [];
  #length = 0;
  #receiver: Receiver | undefined;
  #ended = false;

  constructor(channel: Channel, maxLength: number) {
    this.channel = channel;
    this.#maxLength = maxLength;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Hands on what has arrived, and all that will. */
  passTo(receiver: Receiver): void {
    this.#receiver = receiver;
    for (const text of this.#texts) receiver.receive(text);
    this.#texts = [];
  }

  receive(text: string | undefined): void {
    if (this.#receiver !== undefined) return this.#receiver.receive(text);
    if (this.#ended) return;
    this.#length += text?.length ?? 0;
    this.#texts.push(text);
    if (this.#length <= this.#maxLength && this.#texts.length <= MAX_WAITING) return;
    this.#ended = true;
    this.#texts = [];
    this.channel.close(1009, "Too much was sent before the connection was accepted");
  }

  markAlive(): void {
    this.#receiver?.markAlive();
  }

  inputEnded(): boolean {
    return this.#receiver?.inputEnded?.() === true;
  }

  closed(code: number, reason: string): void {
    this.#ended = true;
    this.#receiver?.closed(code, reason);
  }
}

const MAX_WAITING = 1000;
