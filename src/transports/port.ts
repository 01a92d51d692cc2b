/**
 * JSON-RPC over message ports: `MessagePort`, workers of every runtime, shared workers, windows and
 * frames, Electron's ports, browser extensions.
 *
 * @module
 */

import { textOf } from "../core/channel.ts";
import type { Channel, Outgoing, Receiver } from "../core/channel.ts";
import type { Transport, TransportContext } from "../core/transport.ts";
import { listen } from "./port_events.ts";
import type { NodePort, Port, StandardPort } from "./port_events.ts";
import { postedJson } from "./posted_json.ts";

export type { ExtensionPort, NodePort, Port, StandardPort } from "./port_events.ts";
export type { Channel, Outgoing, Receiver } from "../core/channel.ts";
export type { Transport, TransportContext } from "../core/transport.ts";

/** How messages travel over a port. */
export interface PortOptions {
  /**
   * What is posted: JSON text, or the message as an object, as `vscode-jsonrpc/browser` expects it.
   * Both are read.
   *
   * @default {"text"}
   */
  readonly post?: "text" | "object";
  /** What the other end is called in errors and logs. @default {"the other end of the port"} */
  readonly name?: string;
}

/**
 * Carries messages over a port. Pass it to `connect()` on one side and to `rpc.attach()` on the other.
 *
 * The two ends tell each other when they close. A port whose other side is gone without a word tells
 * nothing on many runtimes: give the client `heartbeatMs` if that can happen. A worker must attach
 * before its first `await`: what is posted to it earlier than it listens is lost.
 *
 * @param port A `MessagePort`, a `Worker`, the `self` of a worker, `parentPort` or `Worker` of
 * `node:worker_threads`, a `MessagePortMain` of Electron, or a `runtime.Port` of a browser extension.
 * For a window use {@linkcode windowPort}.
 * @param options What is posted, and a name.
 * @returns The transport, for one connection.
 *
 * @example Both ends of a channel
 * ```ts
 * import { connect, JsonRpc } from "@x/jsonrpc";
 * import { messagePort } from "@x/jsonrpc/port";
 *
 * const { port1, port2 } = new MessageChannel(); // pass one of them to a worker, or to a frame
 * const rpc = new JsonRpc().method("add", ([a, b]: [number, number]) => a + b);
 * rpc.attach(messagePort(port1));
 *
 * const client = await connect<typeof rpc>(messagePort(port2));
 * console.assert(await client.call("add", [1, 2]) === 3);
 * await client.close();
 * ```
 */
export function messagePort(port: Port, options: PortOptions = {}): Transport {
  return portTransport(port, options);
}

/** How messages travel between windows. */
export interface WindowPortOptions extends PortOptions {
  /**
   * The origin of the other window, such as `https://app.example`. Messages go to that origin alone
   * and are read from that origin alone.
   */
  readonly origin: string;
  /** This side's own window. @default {globalThis} */
  readonly self?: StandardPort;
}

/** What is used of another window. */
export interface OtherWindow {
  /** Posts a message to the window if it has the origin. */
  postMessage(message: unknown, targetOrigin: string): void;
}

/**
 * Carries messages between this window and another: a frame, a parent, a pop-up.
 *
 * @param other The other window, such as `frame.contentWindow` or `window.parent`.
 * @param options The other window's origin, which cannot be left out.
 * @returns The transport, for one connection.
 * @throws {TypeError} If `origin` is not the origin of a URL: `"*"` would talk to every page.
 *
 * @example A page that serves a frame
 * ```ts ignore
 * import { windowPort } from "@x/jsonrpc/port";
 *
 * rpc.attach(windowPort(frame.contentWindow, { origin: "https://widget.example" }));
 * ```
 */
export function windowPort(other: OtherWindow, options: WindowPortOptions): Transport {
  const { origin, self = globalThis as unknown as StandardPort } = options;
  if (!URL.canParse(origin) || new URL(origin).origin !== origin) {
    throw new TypeError(`Expected \`origin\` to be like "https://app.example", got "${origin}"`);
  }
  const port: StandardPort = {
    postMessage: (message) => other.postMessage(message, origin),
    addEventListener: (type, listener) =>
      self.addEventListener(type, (event) => {
        if (event.source === other && event.origin === origin) listener(event);
      }),
  };
  return portTransport(port, options);
}

function portTransport(port: Port, options: PortOptions): Transport {
  const { name = "the other end of the port" } = options;
  let used = false;
  return {
    name,
    open(context) {
      if (used) throw new TypeError("Cannot open the port twice: pass a new one");
      used = true;
      new PortConnection(port, options, context);
    },
  };
}

/** One connection over a port. */
class PortConnection implements Channel {
  readonly bufferedAmount = 0;
  readonly #port: Port;
  readonly #postsObjects: boolean;
  readonly #maxMessageBytes: number;
  readonly #receiver: Receiver;
  #ended = false;

  constructor(port: Port, { post = "text" }: PortOptions, context: TransportContext) {
    this.#port = port;
    this.#postsObjects = post === "object";
    this.#maxMessageBytes = context.maxMessageBytes;
    this.#receiver = context.opened(this);
    listen(port, {
      message: (data) => this.#take(data),
      closed: (why) => this.#end(1006, why),
    });
  }

  send(message: Outgoing): void {
    if (this.#ended) return;
    const text = textOf(message);
    this.#post(this.#postsObjects ? JSON.parse(text) : text);
  }

  close(code: number, reason: string): void {
    if (this.#ended) return;
    this.#post({ [CLOSE]: code, reason });
    // Later, as a closing handshake would take: the session has to note its own end first.
    queueMicrotask(() => this.#end(code, reason));
  }

  terminate(): void {
    this.#end(1006, "Terminated");
  }

  #take(data: unknown): void {
    if (this.#ended) return;
    if (typeof data === "string") return this.#receiver.receive(data);
    const { [CLOSE]: code, reason } = (data ?? {}) as Record<string, unknown>;
    if (typeof code === "number") {
      return this.#end(code, typeof reason === "string" ? reason.slice(0, MAX_REASON) : "");
    }
    // Other programs that use the port may post anything: only what can be JSON-RPC is read.
    if (isMessage(data)) this.#takeObject(data);
  }

  #takeObject(data: unknown): void {
    const max = this.#maxMessageBytes;
    const json = postedJson(data, max);
    if ("text" in json) this.#receiver.receive(json.text);
    else if (json.failed === "not JSON") this.#receiver.receive(undefined);
    else this.close(1009, `Message over ${max} bytes (maxMessageBytes)`);
  }

  #post(message: unknown): void {
    try {
      this.#port.postMessage(message);
    } catch (error) {
      this.#end(1006, `Cannot post: ${error}`);
    }
  }

  #end(code: number, reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#receiver.closed(code, reason);
    // A worker goes on: it is not ours to end.
    if ("onMessage" in this.#port) this.#port.disconnect();
    else if (isMessagePort(this.#port)) this.#port.close?.();
  }
}

/** A `MessagePort` serves this connection alone. The `close` of a worker's `self` ends the worker. */
function isMessagePort(port: Port): port is StandardPort | NodePort {
  return "start" in port && "close" in port;
}

function isMessage(data: unknown): boolean {
  if (!Array.isArray(data)) return isSingle(data);
  // One is enough to tell: the array may be long.
  return isSingle(data[0]);
}

function isSingle(data: unknown): boolean {
  return typeof data === "object" && data !== null &&
    (data as { jsonrpc?: unknown }).jsonrpc === "2.0";
}

const CLOSE = "@x/jsonrpc close";
// As long as one of a WebSocket may be.
const MAX_REASON = 123;
