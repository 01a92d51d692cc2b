/**
 * The carriers other than a server's own WebSockets that the conformance suite runs through. The clients are
 * written for the tests: no line of the package is at their end.
 */
import { spawn } from "node:child_process";
import { createServer } from "node:http";
import { connect, createServer as createTcpServer } from "node:net";
import type { AddressInfo, Server } from "node:net";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { WebSocketServer } from "ws";
import type { JsonRpc } from "@x/jsonrpc";
import { byteStream } from "@x/jsonrpc/byte_stream";
import { requestHandler } from "@x/jsonrpc/node";
import { messagePort } from "@x/jsonrpc/port";
import type { Port } from "@x/jsonrpc/port";
import { conformanceRpc } from "../programs/conformance_rpc.ts";
import { ByteCarrier } from "./byte_carrier.ts";
import type { TestFraming } from "./byte_carrier.ts";
import { silentLog } from "./log.ts";
import { call } from "./messages.ts";
import { RawSocket, within } from "./raw_client.ts";
import type { Closing, RawCarrier } from "./raw_client.ts";
import { runtime, runtimeHere } from "./runtimes.ts";
import { serveHere } from "./server.ts";

/** A running server that is reached through one carrier. */
export interface Carrier {
  /** Where the same server takes POSTs and WebSockets. */
  readonly url: string;
  /** Opens a connection through the carrier. */
  open(): Promise<RawSocket>;
  /** Ends the server. */
  stop(): Promise<void>;
}

/** A carrier, by its name in the titles of tests. */
export interface CarrierKind {
  readonly label: string;
  /** Whether all cases share one connection: there is one for the whole life of a program or worker. */
  readonly isShared: boolean;
  /** How messages are separated, in a stream of bytes. */
  readonly framing?: TestFraming;
  /** Starts a server. */
  start(): Promise<Carrier>;
}

const framings = ["newline", "content-length"] as const;

/** All carriers. */
export const carriers: readonly CarrierKind[] = [
  ...framings.map((framing) => ({
    label: `web streams, ${framing}`,
    isShared: false,
    framing,
    start: () => beside((rpc) => Promise.resolve({ open: () => overStreams(rpc, framing) })),
  })),
  ...framings.map((framing) => ({
    label: `TCP, ${framing}`,
    isShared: false,
    framing,
    start: () => beside((rpc) => overTcp(rpc, framing)),
  })),
  ...framings.map((framing) => ({
    label: `stdio, ${framing}`,
    isShared: true,
    framing,
    start: () => overStdio(framing),
  })),
  ...(["text", "object"] as const).map((post) => ({
    label: `MessagePort, posting ${post}`,
    isShared: false,
    start: () => beside((rpc) => Promise.resolve({ open: () => overPort(rpc, post) })),
  })),
  { label: "Worker", isShared: true, start: overWorker },
  { label: "attach() of a WebSocket of ws", isShared: false, start: overAttach },
];

interface Opening {
  open(): Promise<RawSocket>;
  stop?(): Promise<void>;
}

/** A server in this process: the carrier, and beside it POST and WebSocket. */
async function beside(openFor: (rpc: JsonRpc) => Promise<Opening>): Promise<Carrier> {
  const rpc = conformanceRpc({ logger: silentLog() }) as unknown as JsonRpc;
  const server = await serveHere(rpc);
  const { open, stop } = await openFor(rpc);
  return {
    url: server.url,
    open,
    async stop() {
      await server.stop();
      await stop?.();
    },
  };
}

type Bytes = Uint8Array<ArrayBuffer>;

function overStreams(rpc: JsonRpc, framing: TestFraming): Promise<RawSocket> {
  const [there, back] = [new TransformStream<Bytes, Bytes>(), new TransformStream<Bytes, Bytes>()];
  rpc.attach(byteStream({ readable: there.readable, writable: back.writable }, {
    framing: "detect",
    logger: silentLog(),
  }));
  const writer = there.writable.getWriter();
  const carrier = new ByteCarrier({
    write: (bytes) => void writer.write(bytes).catch(() => {}),
    end: () => void writer.close().catch(() => {}),
  }, framing);
  void (async () => {
    for await (const chunk of back.readable) carrier.take(chunk);
    carrier.ended();
  })();
  return Promise.resolve(new RawSocket(carrier));
}

async function overTcp(rpc: JsonRpc, framing: TestFraming): Promise<Opening> {
  const server = createTcpServer((socket) => {
    rpc.attach(byteStream({ readable: socket, writable: socket }, {
      framing: "detect",
      logger: silentLog(),
    }));
  });
  const port = await listening(server);
  return {
    async open() {
      const socket = connect(port, "127.0.0.1");
      const carrier = new ByteCarrier({
        write: (bytes) => void socket.write(bytes),
        end: () => void socket.end(),
      }, framing);
      socket.on("data", (chunk: Bytes) => carrier.take(chunk));
      socket.on("error", () => {}).on("close", () => carrier.ended());
      await within(new Promise<void>((resolve) => socket.once("connect", resolve)), "a connection");
      return new RawSocket(carrier);
    },
    stop: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

const root = fileURLToPath(new URL("../..", import.meta.url));

/** A program with one connection. It also takes POSTs and WebSockets, and says where on standard error. */
async function overStdio(framing: TestFraming): Promise<Carrier> {
  const [program, ...flags] = (await runtime(runtimeHere)).command;
  const args = [...flags, "tests/programs/conformance_server.ts", "--stdio"];
  const child = spawn(program, args, { cwd: root, env: { ...process.env, PORT: "0" } });
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const carrier = new ByteCarrier({
    write: (bytes) => void child.stdin.write(bytes),
    end: () => {},
  }, framing);
  child.stdout.on("data", (chunk: Bytes) => carrier.take(chunk));
  ended.then(() => carrier.ended());
  const announced = new Promise<string>((resolve) => {
    createInterface(child.stderr).on("line", (line) => {
      const [, url] = /^LISTENING (\S+)$/.exec(line) ?? [];
      if (url !== undefined) resolve(url);
    });
  });
  return {
    url: await within(announced, "LISTENING"),
    ...shared(carrier),
    async stop() {
      child.stdin.end();
      await within(ended, "the end of the program");
    },
  };
}

function overPort(rpc: JsonRpc, post: "text" | "object"): Promise<RawSocket> {
  const { port1, port2 } = new MessageChannel();
  rpc.attach(messagePort(port2 as unknown as Port, { post }));
  const carrier = new PortCarrier((message) => port1.postMessage(message), () => port1.close());
  port1.onmessage = ({ data }) => carrier.take(data);
  return Promise.resolve(new RawSocket(carrier));
}

async function overWorker(): Promise<Carrier> {
  const file = new URL("../programs/conformance_port_worker.ts", import.meta.url);
  // Bun teaches its workers no names of imports.
  const preload = fileURLToPath(new URL("../../tools/bun.ts", import.meta.url));
  const worker = new Worker(file, { preload } as object);
  const carrier = new PortCarrier((message) => worker.postMessage(message), () => {});
  const announced = new Promise<string>((resolve, reject) => {
    worker.once("error", reject);
    worker.on("message", (data) => {
      const { listening } = data as { listening?: string };
      if (listening === undefined) carrier.take(data);
      else resolve(listening);
    });
  });
  return {
    url: await within(announced, "the worker"),
    ...shared(carrier),
    stop: async () => void await worker.terminate(),
  };
}

/** WebSockets that the library `ws` has opened, with the request: POST and all checks too. */
async function overAttach(): Promise<Carrier> {
  const rpc = conformanceRpc({ logger: silentLog() });
  const http = createServer(requestHandler(rpc));
  new WebSocketServer({ server: http }).on("connection", (socket, request) => {
    rpc.attach(socket, { request });
  });
  const url = `http://127.0.0.1:${await listening(http)}`;
  return {
    url,
    open: () => RawSocket.open(url),
    async stop() {
      await rpc.close();
      http.closeAllConnections();
      http.close();
    },
  };
}

/** Messages over a port. */
class PortCarrier implements RawCarrier {
  readonly #post: (message: unknown) => void;
  readonly #end: () => void;
  readonly #message: ((event: { data: string }) => void)[] = [];
  readonly #close: ((event: Closing) => void)[] = [];

  constructor(post: (message: unknown) => void, end: () => void) {
    this.#post = post;
    this.#end = end;
  }

  send(data: string | Bytes): void {
    this.#post(data);
  }

  close(): void {
    // What the package posts when it closes: a port has no close of its own that the other end sees.
    this.#post({ "@x/jsonrpc close": 1000, reason: "" });
    this.#end();
    queueMicrotask(() => this.#close.forEach((each) => each({ code: 1000, reason: "" })));
  }

  addEventListener(type: "message", listener: (event: { data: string }) => void): void;
  addEventListener(type: "close", listener: (event: Closing) => void): void;
  addEventListener(type: "message" | "close", listener: (event: never) => void): void {
    const listeners: unknown[] = type === "message" ? this.#message : this.#close;
    listeners.push(listener);
  }

  take(message: unknown): void {
    const data = typeof message === "string" ? message : JSON.stringify(message);
    this.#message.forEach((listener) => listener({ data }));
  }
}

/** One connection for all cases, which leaves no subscription behind. */
function shared(carrier: RawCarrier): Pick<Carrier, "open"> {
  let reader: ((event: { data: string }) => void) | undefined;
  carrier.addEventListener("message", (event) => reader?.(event));
  return {
    async open() {
      const closing: ((event: Closing) => void)[] = [];
      const socket = new RawSocket({
        send: (data) => carrier.send(data),
        close: () => closing.forEach((each) => each({ code: 1000, reason: "" })),
        addEventListener(type: "message" | "close", listener: (event: never) => void) {
          if (type === "message") reader = listener as typeof reader;
          else closing.push(listener as (event: Closing) => void);
        },
      });
      const id = crypto.randomUUID();
      socket.send(call("get_subscriptions", id));
      let answer = await socket.next();
      // A case that has failed may have left messages unread.
      while (answer.id !== id) answer = await socket.next();
      await socket.ask(call("unsubscribe", id, answer.result));
      return socket;
    },
  };
}

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}
