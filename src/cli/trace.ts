/**
 * The command `trace`: a proxy in front of a server that prints each text on the wire.
 *
 * @module
 */

import process from "node:process";
import { readAnswer } from "../client/answer_reader.ts";
import type { Channel, Receiver } from "../core/channel.ts";
import type { TransportContext } from "../core/transport.ts";
import { formatFrame, trace as makeTrace } from "../core/trace.ts";
import type { Trace, TraceFrame } from "../core/trace.ts";
import { openSocket } from "../core/web_socket_channel.ts";
import { DEFAULT_LIMITS } from "../protocol/limits.ts";
import { bunWebSocketHandler } from "../runtimes/bun.ts";
import { detectRuntime } from "../runtimes/detect.ts";
import { isWebSocket } from "../runtimes/upgrade_request.ts";
import type { Arguments } from "./arguments.ts";
import { required } from "./calls.ts";
import { listen } from "./listen.ts";
import type { ServedApp } from "./listen.ts";
import { shownTarget, socketWith, toTarget, withoutUser } from "./target.ts";
import type { Terminal } from "./terminal.ts";

/** Passes WebSockets and POSTs on to a server, and prints each text, until Ctrl+C. */
export async function trace(args: Arguments, terminal: Terminal): Promise<void> {
  const [url] = required(args, "URL");
  const print = (frame: TraceFrame) => {
    const time = new Date(frame.time).toISOString();
    terminal.line(
      terminal.json
        ? JSON.stringify({ ...frame, time })
        : `${time.slice(11, 23)} ${formatFrame(frame)}`,
    );
  };
  const proxy = new TracingProxy(toTarget(url), makeTrace(print, args));
  const own = await listen(proxy, args);
  // Before the line is printed: a script that reads it may send Ctrl+C at once.
  const interrupted = new Promise<void>((ended) => process.once("SIGINT", () => ended()));
  terminal.note(`Listening on ${own}: point your client here in place of ${shownTarget(url)}`);
  await interrupted;
}

class TracingProxy implements ServedApp {
  readonly websocket: ServedApp["websocket"] = bunWebSocketHandler(UNLIMITED);
  readonly #target: string;
  readonly #basic: Record<string, string>;
  readonly #trace: Trace;

  constructor(target: string, trace: Trace) {
    [this.#target, this.#basic] = withoutUser(target);
    this.#trace = trace;
    this.fetch = this.fetch.bind(this);
  }

  fetch(request: Request, host: unknown): Response | Promise<Response> {
    const { pathname, search } = new URL(request.url);
    const target = new URL(this.#target);
    if (target.pathname === "/") target.pathname = pathname;
    target.search ||= search;
    if (isWebSocket(request.headers.get("upgrade"))) return this.#upgrade(request, host, target);
    target.protocol = target.protocol.replace("ws", "http");
    return this.#post(request, target);
  }

  #upgrade(request: Request, host: unknown, target: URL): Response {
    const runtime = detectRuntime(host);
    if (runtime === undefined) return new Response("No WebSockets here", { status: 501 });
    target.protocol = target.protocol.replace("http", "ws");
    const offered = request.headers.get("sec-websocket-protocol")?.split(",")
      .map((each) => each.trim()) ?? [];
    const protocol = offered.includes("jsonrpc") ? "jsonrpc" : undefined;
    const pipe = new Pipe();
    const Socket = socketWith({ ...this.#basic, ...forwarded(request) });
    const socket = new Socket(target.href, offered);
    openSocket(socket, pipe.server);
    return runtime.upgrade(request, host, {
      protocol,
      maxMessageBytes: UNLIMITED.maxMessageBytes,
      heartbeatMs: 0,
      opened: (channel) => this.#trace.open(channel, (traced) => pipe.client.opened(traced)),
      refused: () => socket.close(),
    });
  }

  async #post(request: Request, target: URL): Promise<Response> {
    const number = this.#trace.next();
    const body = request.method === "POST" ? await request.text() : null;
    if (body !== null) this.#trace.frame("in", number, body);
    const headers = { ...this.#basic, ...forwarded(request) };
    // The runtime's error quotes the URL, which may hold secrets.
    // Followed here, a redirection could hand headers and params to another origin.
    const init = { method: request.method, headers, body, redirect: "manual" } as const;
    const response = await fetch(target, init)
      .catch(() => new Response(`Cannot reach ${target.origin}`, { status: 502 }));
    const text = await textOf(response).catch(() => undefined);
    if (text === undefined) {
      return new Response(`The answer broke off, or is over ${MAX_ANSWER_BYTES} bytes`, {
        status: 502,
      });
    }
    if (text !== "") this.#trace.frame("out", number, text);
    const kept = [...response.headers].filter(([name]) => PASSED_ON.test(name));
    return new Response(text || null, { status: response.status, headers: kept });
  }
}

/** The text of an answer; `undefined` if it is too long. */
async function textOf({ body }: Response): Promise<string | undefined> {
  if (body === null) return "";
  const { signal } = new AbortController();
  return await readAnswer(body, { maxMessageBytes: MAX_ANSWER_BYTES, signal, take: false });
}

/** The headers of an answer that the proxy passes on. */
const PASSED_ON = /^(?:content-type|location)$/;

/** The headers that the proxy passes on: all that are not about its own connection. */
function forwarded({ headers }: Request): Record<string, string> {
  const own =
    /^(?:connection|content-length|host|keep-alive|te|transfer-encoding|upgrade|sec-websocket-.*)$/;
  return Object.fromEntries([...headers].filter(([name]) => !own.test(name)));
}

/** Passes the texts of two connections on to each other. */
class Pipe {
  /** The end of the client. */
  readonly client: Pick<TransportContext, "opened" | "refused">;
  /** The end of the server. */
  readonly server: Pick<TransportContext, "opened" | "refused">;

  constructor() {
    const [client, server] = [new PipeEnd(), new PipeEnd()];
    client.other = server;
    server.other = client;
    this.client = client;
    this.server = server;
  }
}

class PipeEnd implements Receiver {
  other!: PipeEnd;
  #channel: Channel | undefined;
  // What the other end sends before this one is open.
  readonly #waiting: string[] = [];
  #waitingLength = 0;
  #closing: readonly [code: number, reason: string] | undefined;

  readonly opened = (channel: Channel): Receiver => {
    this.#channel = channel;
    for (const text of this.#waiting) channel.send(text);
    if (this.#closing !== undefined) channel.close(...this.#closing);
    return this;
  };

  readonly refused = (code: number, reason: string): void => this.closed(code, reason);

  receive(text: string | undefined): void {
    this.other.#send(text ?? "");
  }

  markAlive(): void {}

  closed(code: number, reason: string): void {
    this.other.#close(code === 1005 || code === 1006 ? 1001 : code, reason);
  }

  #send(text: string): void {
    if (this.#channel === undefined) {
      this.#waiting.push(text);
      this.#waitingLength += text.length;
    } else this.#channel.send(text);
    const unread = this.#channel?.bufferedAmount ?? this.#waitingLength;
    if (unread > MAX_ANSWER_BYTES) {
      this.closed(1013, "The other side reads too slowly");
      this.#close(1013, "Reads too slowly");
    }
  }

  #close(code: number, reason: string): void {
    if (this.#channel === undefined) this.#closing = [code, reason];
    else this.#channel.close(code, reason);
  }
}

// As much as the other commands keep for a side that does not read.
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
const UNLIMITED = { ...DEFAULT_LIMITS, maxMessageBytes: 2 ** 30 };
