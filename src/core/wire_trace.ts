/**
 * Traces connections: the class behind `./trace`.
 *
 * @module
 */

import { describeError } from "../protocol/errors.ts";
import { byteLength } from "../util/utf8.ts";
import { mapChannel, textOf } from "./channel.ts";
import type { Channel, Receiver } from "./channel.ts";
import { wrapTransport } from "./transport.ts";
import type { Transport } from "./transport.ts";

/** One text on the wire. */
export interface TraceFrame {
  /** Whether this side has received or sent the text. */
  readonly direction: "in" | "out";
  /** The number of the connection: 1 for the first that this side opened. A POST has one of its own. */
  readonly connection: number;
  /** The text. Secrets are replaced by `"***"`, unless the option `secrets` is `true`. */
  readonly text: string;
  /** The length of the text in bytes of UTF-8, before secrets were replaced. */
  readonly bytes: number;
  /** When it was sent or received, in milliseconds since 1970. */
  readonly time: number;
}

/** A trace of the wire. Make it with `trace` of `@x/jsonrpc/trace`. */
export interface Trace {
  /** Gives a transport whose connections are traced. */
  transport(transport: Transport): Transport;
  /**
   * Opens a connection whose texts are traced.
   *
   * @param channel The outgoing direction.
   * @param opened Opens the session on a channel.
   * @returns The incoming direction.
   */
  open(channel: Channel, opened: (channel: Channel) => Receiver): Receiver;
  /** Gives the number of the next connection. */
  next(): number;
  /** Traces one text. Does not throw. */
  frame(direction: TraceFrame["direction"], connection: number, text: string): void;
}

/** The trace that `trace` of `@x/jsonrpc/trace` makes. */
export class WireTrace implements Trace {
  readonly #write: (frame: TraceFrame) => void;
  readonly #showsSecrets: boolean;
  #connections = 0;

  constructor(write: (frame: TraceFrame) => void, showsSecrets: boolean) {
    this.#write = write;
    this.#showsSecrets = showsSecrets;
  }

  /** How many numbers were given. */
  protected get connections(): number {
    return this.#connections;
  }

  transport(transport: Transport): Transport {
    return wrapTransport(transport, (channel, opened) => this.open(channel, opened));
  }

  open(channel: Channel, opened: (channel: Channel) => Receiver): Receiver {
    const number = this.next();
    const receiver = opened(mapChannel(channel, (message) => {
      this.frame("out", number, textOf(message));
      return message;
    }));
    const received = (text: string) => this.frame("in", number, text);
    return {
      receive(text) {
        received(text ?? "(a binary frame)");
        receiver.receive(text);
      },
      markAlive: () => receiver.markAlive(),
      inputEnded: () => receiver.inputEnded?.() === true,
      closed: (code, reason) => receiver.closed(code, reason),
      exchanged(ids, answer, status) {
        if (typeof answer === "string" && answer !== "") received(answer);
        receiver.exchanged?.(ids, answer, status);
      },
      listens: (ids) => receiver.listens?.(ids) === true,
      part(ids, message) {
        received(message);
        return receiver.part?.(ids, message) === true;
      },
    };
  }

  next(): number {
    return ++this.#connections;
  }

  frame(direction: TraceFrame["direction"], connection: number, text: string): void {
    try {
      this.#write({
        direction,
        connection,
        text: this.#showsSecrets ? text : maskSecrets(text),
        bytes: byteLength(text),
        time: Date.now(),
      });
    } catch (error) {
      console.error(`A trace failed: ${describeError(error)}`);
    }
  }
}

/**
 * Replaces the secrets in a JSON text: strings of members with names such as `password` and `token`, all
 * positional params of methods with such names, and everything that looks like a JSON Web Token or a token
 * of passwd. In the notification `rpc.login`, all that a client is to log in with.
 *
 * @param text The text.
 * @returns The text as it was if it holds no secret, or is not JSON.
 */
export function maskSecrets(text: string): string {
  if (!SECRET.test(text) && !TOKENS.some((start) => text.includes(start))) return text;
  try {
    return JSON.stringify(JSON.parse(text, mask));
  } catch {
    // The start of a JSON text may hold a secret as well.
    return "(not JSON, and may hold a secret)";
  }
}

function mask(name: string, value: unknown): unknown {
  if (typeof value === "string") {
    const isToken = TOKENS.some((start) => value.startsWith(start));
    return SECRET.test(name) || isToken ? MASK : value;
  }
  const { method, params } = (value ?? {}) as { method?: unknown; params?: unknown };
  if (method === "rpc.login") return { ...value as object, params: maskLogin(params) };
  const isSecret = typeof method === "string" && SECRET.test(method) && Array.isArray(params);
  return isSecret ? { ...value as object, params: params.map(() => MASK) } : value;
}

/** The params of `rpc.login`: what the client is to call, and with what. */
function maskLogin(login: unknown): unknown {
  const hasParams = typeof login === "object" && login !== null && "params" in login;
  return hasParams ? { ...login, params: MASK } : login;
}

const SECRET = /pass|secret|token|credential|cookie|authoriz|login|api_?key/i;
const MASK = "***";
// How the base64 of every header of a JSON Web Token begins, {", and that of every token of passwd, ["
const TOKENS = ["eyJ", "WyJ"] as const;
