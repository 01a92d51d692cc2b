/**
 * Clients without a line of ours: a standard WebSocket, a POST, bare bytes.
 */
import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { call, checked, result } from "./messages.ts";
import type { Message } from "./messages.ts";

/** A connection or POST. It sends a message as the JSON of a value, or a text as it is. */
export interface RawClient {
  /** Sends a message, and gives the answer. */
  ask(message: unknown): Promise<Message>;
  /** Sends a message that gets no answer. */
  notify(message: unknown): Promise<void>;
  /** Asserts that nothing was answered twice and that the server still answers, then disconnects. */
  leave(): Promise<void>;
  /** Disconnects at once. */
  disconnect(): void;
}

/** How long a test waits for a server. */
export const PATIENCE_MS = 30_000;

/** Waits for a promise; rejects with what did not come if it takes too long. */
export function within<T>(promise: Promise<T>, what: string): Promise<T> {
  const { promise: never, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`${what} did not come`)), PATIENCE_MS);
  return Promise.race([promise, never]).finally(() => clearTimeout(timer));
}

function textOf(message: unknown): string {
  return typeof message === "string" ? message : JSON.stringify(message);
}

// -- WebSocket --

/** How a WebSocket ended. */
export interface Closing {
  readonly code: number;
  readonly reason: string;
}

/** What a {@linkcode RawSocket} uses of what carries its texts: the members of a standard WebSocket. */
export interface RawCarrier {
  /** Sends a message. */
  send(data: string | Uint8Array<ArrayBuffer>): void;
  /** Ends the connection. */
  close(): void;
  /** Calls back with each message. */
  addEventListener(type: "message", listener: (event: { data: string }) => void): void;
  /** Calls back once, at the end. */
  addEventListener(type: "close", listener: (event: Closing) => void): void;
  /** The subprotocol that the server chose. */
  readonly protocol?: string;
}

/** One WebSocket, or another connection, and the messages that it received. */
export class RawSocket implements RawClient {
  readonly #socket: RawCarrier;
  readonly #closed: Promise<Closing>;
  readonly #unread: Message[] = [];
  readonly #readers: PromiseWithResolvers<Message>[] = [];
  #pings = 0;

  /** @param socket What carries the texts. It is open. */
  constructor(socket: RawCarrier) {
    this.#socket = socket;
    socket.addEventListener("message", ({ data }) => this.#receive(JSON.parse(data)));
    this.#closed = new Promise((resolve) => {
      socket.addEventListener("close", ({ code, reason }) => {
        resolve({ code, reason });
        for (const { reject } of this.#readers) reject(new Error(`Closed: ${code} ${reason}`));
      });
    });
  }

  /** Opens one. */
  static async open(url: string, protocols: string[] = []): Promise<RawSocket> {
    const socket = new WebSocket(url.replace("http", "ws"), protocols);
    const line = new RawSocket(socket);
    const opened = new Promise<void>((resolve) => socket.addEventListener("open", () => resolve()));
    const failed = line.#closed.then(({ code }) => Promise.reject(new Error(`Refused: ${code}`)));
    await within(Promise.race([opened, failed]), "an open WebSocket");
    return line;
  }

  /** Waits until it is closed; gives code and reason. */
  closed(): Promise<Closing> {
    return within(this.#closed, "the close of a WebSocket");
  }

  /** The subprotocol that the server chose. */
  get protocol(): string {
    return this.#socket.protocol ?? "";
  }

  /** Sends messages. */
  send(...messages: unknown[]): void {
    for (const message of messages) this.#socket.send(textOf(message));
  }

  /** Sends a binary frame. */
  sendBytes(bytes: Uint8Array<ArrayBuffer>): void {
    this.#socket.send(bytes);
  }

  /** Waits for the next message that was not read. */
  next(): Promise<Message> {
    const message = this.#unread.shift();
    if (message !== undefined) return Promise.resolve(message);
    const reader = Promise.withResolvers<Message>();
    this.#readers.push(reader);
    return within(reader.promise, "a message");
  }

  /** Gives the next received message that was not read, if there is one. */
  unread(): Message | undefined {
    return this.#unread.shift();
  }

  /** Waits for the next few messages. */
  async some(count: number): Promise<Message[]> {
    const messages: Message[] = [];
    while (messages.length < count) messages.push(await this.next());
    return messages;
  }

  async ask(message: unknown): Promise<Message> {
    this.send(message);
    return checked(await this.next());
  }

  async notify(message: unknown): Promise<void> {
    this.send(message);
    await this.assertSilent();
  }

  /** Asserts that no message is unread: the next one is the answer to a ping. */
  async assertSilent(): Promise<void> {
    const id = `ping ${++this.#pings}`;
    assertEquals(await this.ask(call("ping", id)), result(id, "pong"));
  }

  async leave(): Promise<void> {
    await this.assertSilent();
    this.#socket.close();
    await this.closed();
    assertEquals(this.#unread, []);
  }

  disconnect(): void {
    this.#socket.close();
  }

  #receive(message: Message): void {
    const reader = this.#readers.shift();
    if (reader === undefined) this.#unread.push(message);
    else reader.resolve(message);
  }
}

// -- POST --

/** Sends each message by POST. */
export class Post implements RawClient {
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
  }

  async ask(message: unknown): Promise<Message> {
    const response = await this.#post(message);
    assertEquals(response.headers.get("content-type"), "application/json");
    return checked(await response.json());
  }

  async notify(message: unknown): Promise<void> {
    const response = await this.#post(message);
    assertEquals(await response.text(), "");
  }

  async leave(): Promise<void> {
    assertEquals(await this.ask(call("ping", "last")), result("last", "pong"));
  }

  disconnect(): void {}

  async #post(message: unknown): Promise<Response> {
    const headers = { "content-type": "application/json" };
    const init = { method: "POST", headers, body: textOf(message) };
    const response = await within(fetch(this.#url, init), "an answer to a POST");
    assertEquals(response.status, 200);
    return response;
  }
}

/** Asserts that a new client is answered over WebSocket and POST. */
export async function assertAlive(url: string): Promise<void> {
  await (await RawSocket.open(url)).leave();
  await new Post(url).leave();
}

// -- bare bytes --

/** An HTTP response as it was received. */
export interface RawResponse {
  readonly status: number;
  readonly headers: Headers;
  readonly body: string;
}

/** An HTTP request as it is sent. */
export interface RawRequest {
  readonly method?: string;
  readonly path?: string;
  /** They replace the usual headers; `undefined` removes one. */
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly body?: string;
  /** With `latin1`, each character is one byte. */
  readonly encoding?: "utf8" | "latin1";
}

/** Sends a request that may hold what `fetch` would refuse, on a connection of its own. */
export async function rawRequest(url: string, request: RawRequest): Promise<RawResponse> {
  const socket = await dial(url);
  try {
    socket.write(requestText(url, { connection: "close" }, request), request.encoding ?? "utf8");
    return await within(rawResponse(socket), "a response");
  } finally {
    socket.destroy();
  }
}

/** Sends a POST of JSON with any headers. */
export function rawPost(
  url: string,
  body: string,
  headers: RawRequest["headers"] = {},
  encoding: RawRequest["encoding"] = "utf8",
): Promise<RawResponse> {
  const length = `${Buffer.byteLength(body, encoding)}`;
  const usual = { "content-type": "application/json", "content-length": length };
  return rawRequest(url, { method: "POST", body, headers: { ...usual, ...headers }, encoding });
}

/** Requests a WebSocket with any headers; disconnects at once if it gets one. */
export async function rawUpgrade(
  url: string,
  headers: RawRequest["headers"] = {},
): Promise<RawResponse> {
  return await rawRequest(url, { headers: { ...UPGRADE, ...headers } });
}

/** Opens a WebSocket to which the test writes bare frames; the server has answered one ping. */
export async function frameSocket(url: string): Promise<Socket> {
  const socket = await dial(url);
  socket.write(requestText(url, UPGRADE, {}));
  assertStatus(await within(rawResponse(socket), "a response"), 101);
  const answered = new Promise((resolve) => socket.once("data", resolve));
  socket.write(frame(TEXT, JSON.stringify(call("ping", 1))));
  await within(answered, "an answer");
  return socket;
}

/** The opcode of a text frame. */
export const TEXT = 1;

/** Makes a client's frame. Its mask is all zeros, which leaves the payload as it is. */
export function frame(opcode: number, payload: Uint8Array | string, final = true): Uint8Array {
  const bytes = typeof payload === "string" ? new TextEncoder().encode(payload) : payload;
  assert(bytes.length < 126);
  return new Uint8Array([opcode | (final ? 0x80 : 0), 0x80 | bytes.length, 0, 0, 0, 0, ...bytes]);
}

/** Headers that ask for a WebSocket. */
export const UPGRADE = {
  connection: "Upgrade",
  upgrade: "websocket",
  "sec-websocket-version": "13",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
};

/** Opens a TCP connection to a server. */
export async function dial(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  // Once connected, tests check the answers, not how the connection ended.
  socket.on("error", reject).once("connect", () => resolve(socket));
  return await within(promise, "a connection");
}

/** Gives the text of a request. */
export function requestText(
  url: string,
  usual: RawRequest["headers"],
  { method = "GET", path = "/", headers, body = "" }: RawRequest,
): string {
  const lines = Object.entries({ host: new URL(url).host, ...usual, ...headers })
    .flatMap(([name, value]) => value === undefined ? [] : [`${name}: ${value}`]);
  return [`${method} ${path} HTTP/1.1`, ...lines, "", body].join("\r\n");
}

/** Reads one response. */
export function rawResponse(socket: Socket): Promise<RawResponse> {
  let bytes = Buffer.alloc(0);
  return new Promise((resolve, reject) => {
    socket.on("data", (chunk: Uint8Array) => {
      bytes = Buffer.concat([bytes, chunk]);
      const response = parseResponse(bytes);
      if (response?.complete) resolve(response);
    });
    socket.once("close", () => {
      const response = parseResponse(bytes);
      if (response === undefined) reject(new Error(`Expected a response, got: ${bytes}`));
      else resolve(response);
    });
  });
}

function parseResponse(bytes: Buffer): RawResponse & { complete: boolean } | undefined {
  const end = bytes.indexOf("\r\n\r\n");
  const [first = "", ...lines] = bytes.toString("latin1", 0, end).split("\r\n");
  const [, status] = /^HTTP\/1\.1 (\d{3})/.exec(first) ?? [];
  if (end === -1 || status === undefined) return undefined;
  const headers = new Headers();
  for (const line of lines) headers.append(line.replace(/:.*/, ""), line.replace(/^[^:]*:/, ""));
  const body = bytes.subarray(end + 4);
  // Without a declared length the end of the connection is the end of the body.
  const length = status === "101" ? 0 : Number(headers.get("content-length") ?? Infinity);
  return {
    status: Number(status),
    headers,
    body: body.toString(),
    complete: body.length >= length,
  };
}

/** Asserts the status of a response, and returns the response. */
export function assertStatus(response: RawResponse, status: number): RawResponse {
  assert(response.status === status, `Expected ${status}, got ${response.status} ${response.body}`);
  return response;
}

/** Asserts that a response holds the answer of `ping`. */
export function assertPong(response: RawResponse): void {
  const { body } = assertStatus(response, 200);
  assert(body.includes('"pong"'), body);
}
