/**
 * A trace of the wire: each text that a server or client sends or receives.
 *
 * @module
 */

import { describeError, escapeControls } from "../protocol/errors.ts";
import type { Logger } from "../util/logger.ts";
import { byteLength } from "../util/utf8.ts";
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

/** Where a trace goes: a function, or an object that writes lines, such as `console`. */
export type TraceTarget = ((frame: TraceFrame) => void) | Pick<Logger, "debug">;

/** Options of {@linkcode trace}. */
export interface TraceOptions {
  /** Whether passwords, tokens and the like are shown. @default {false} */
  readonly secrets?: boolean;
}

/**
 * Makes a value for the option `trace` of a server or a client. A server or client without it runs no code
 * for traces, and a page does not load any.
 *
 * @param target A function that gets each frame, or `console`, which gets a line for each.
 * @param options Whether secrets are shown.
 * @returns The trace. Give each server and client its own: it numbers their connections.
 *
 * @example
 * ```ts
 * import { JsonRpc } from "@x/jsonrpc";
 * import { testClient } from "@x/jsonrpc/testing";
 * import { trace } from "@x/jsonrpc/trace";
 *
 * const frames: string[] = [];
 * const rpc = new JsonRpc({ trace: trace(({ direction, text }) => frames.push(direction + text)) })
 *   .method("login", ({ password }: { password: string }) => password === "secret");
 *
 * const client = await testClient(rpc); // in a program: connect(url, { trace: trace(console) })
 * await client.call("login", { password: "secret" });
 * console.assert(frames[0]?.endsWith('"params":{"password":"***"},"id":1}'));
 * console.assert(frames[1] === 'out{"jsonrpc":"2.0","result":true,"id":1}');
 * await client.close();
 * ```
 */
export function trace(target: TraceTarget, { secrets = false }: TraceOptions = {}): Trace {
  const write = typeof target === "function"
    ? target
    : (frame: TraceFrame) => target.debug(formatFrame(frame));
  return new WireTrace(write, secrets);
}

/** A trace of the wire. Make it with {@linkcode trace}. */
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

class WireTrace implements Trace {
  readonly #write: (frame: TraceFrame) => void;
  readonly #showsSecrets: boolean;
  #connections = 0;

  constructor(write: (frame: TraceFrame) => void, showsSecrets: boolean) {
    this.#write = write;
    this.#showsSecrets = showsSecrets;
  }

  transport(transport: Transport): Transport {
    return wrapTransport(transport, (channel, opened) => this.open(channel, opened));
  }

  open(channel: Channel, opened: (channel: Channel) => Receiver): Receiver {
    const number = this.next();
    const receiver = opened(this.#channel(channel, number));
    const received = (text: string) => this.frame("in", number, text);
    return {
      receive(text) {
        received(text ?? "(a binary frame)");
        receiver.receive(text);
      },
      markAlive: () => receiver.markAlive(),
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

  /** The channel without `defer` and `sendAll`: each text is sent, and traced, by itself. */
  #channel(channel: Channel, number: number): Channel {
    const sent = (text: string) => this.frame("out", number, text);
    return {
      get bufferedAmount() {
        return channel.bufferedAmount;
      },
      oneWay: channel.oneWay ?? false,
      watchesPeer: channel.watchesPeer ?? false,
      send(message, ids) {
        sent(String(message));
        channel.send(message, ids);
      },
      ...channel.cancel && { cancel: (id: number) => channel.cancel?.(id) },
      close: (code, reason) => channel.close(code, reason),
      ...channel.terminate && { terminate: () => channel.terminate?.() },
      ...channel.ping && { ping: () => channel.ping?.() },
      ...channel.pause &&
        { pause: () => channel.pause?.(), resume: () => channel.resume?.() },
    };
  }
}

/** Formats a frame as one line: `→ #1 45 B {"jsonrpc":"2.0",…}`. The arrow points at the receiver. */
export function formatFrame({ direction, connection, text, bytes }: TraceFrame): string {
  return `${direction === "in" ? "←" : "→"} #${connection} ${bytes} B ${escapeControls(text)}`;
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
