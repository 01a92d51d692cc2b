/**
 * Another library as a server: `peer_server.ts NAME FOLDER`, where FOLDER has its node_modules.
 */
import { createServer } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo, Server } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { exitWithParent } from "../helpers/exit_with_parent.ts";
import { add, wait } from "./methods.ts";
import type { Pair } from "./methods.ts";
import { servePlain } from "./plain.ts";

/** The part of a socket of `ws` that is used here. */
interface Socket {
  on(event: "message", listener: (data: { toString(): string }) => void): void;
  on(event: "close", listener: () => void): void;
  send(text: string): void;
}

const [, , name = "", folder = ""] = process.argv;
const require = createRequire(join(folder, "package.json"));
const LOOPBACK = { host: "127.0.0.1", port: 0 };
const starters: Readonly<Record<string, () => Promise<number>>> = {
  "json-rpc-2.0": jsonRpc2,
  "rpc-websockets": rpcWebsockets,
  jayson,
  "vscode-jsonrpc": vscodeJsonRpc,
  tRPC,
  "socket.io": socketIo,
};

exitWithParent();
console.log(`LISTENING http://127.0.0.1:${await starters[name]?.()}`);

/** Serves on the runtime's own sockets. */
function jsonRpc2(): Promise<number> {
  const { JSONRPCServer } = require("json-rpc-2.0");
  const server = new JSONRPCServer();
  server.addMethod("add", add);
  server.addMethod("wait", wait);
  return servePlain({
    async text(socket, text) {
      const answer = await server.receiveJSON(text);
      if (answer !== null) socket.send(JSON.stringify(answer));
    },
  });
}

async function rpcWebsockets(): Promise<number> {
  const { Server } = require("rpc-websockets");
  const server = new Server(LOOPBACK);
  await new Promise((resolve) => server.once("listening", resolve));
  server.register("add", add);
  server.register("wait", wait);
  return server.wss.address().port;
}

function jayson(): Promise<number> {
  const { Server } = require("jayson");
  const server = new Server({
    add: (pair: Pair, done: (error: null, result: number) => void) => done(null, add(pair)),
    wait: (pair: Pair, done: (error: null, result: number) => void) =>
      void wait(pair).then((result) => done(null, result)),
  });
  return withWs((wss) => server.websocket({ wss }));
}

function vscodeJsonRpc(): Promise<number> {
  const { createMessageConnection, AbstractMessageReader, AbstractMessageWriter } = require(
    "vscode-jsonrpc",
  );
  const { ParameterStructures, RequestType1 } = require("vscode-jsonrpc");
  class Reader extends AbstractMessageReader {
    readonly #socket: Socket;
    constructor(socket: Socket) {
      super();
      this.#socket = socket;
    }
    listen(callback: (message: unknown) => void): { dispose(): void } {
      this.#socket.on("message", (data) => callback(JSON.parse(data.toString())));
      return { dispose() {} };
    }
  }
  class Writer extends AbstractMessageWriter {
    readonly #socket: Socket;
    constructor(socket: Socket) {
      super();
      this.#socket = socket;
    }
    write(message: unknown): Promise<void> {
      this.#socket.send(JSON.stringify(message));
      return Promise.resolve();
    }
    end(): void {}
  }
  const byName = (method: string) => new RequestType1(method, ParameterStructures.byName);
  return withWs((wss) =>
    wss.on("connection", (socket: Socket) => {
      const connection = createMessageConnection(new Reader(socket), new Writer(socket));
      connection.onRequest(byName("add"), add);
      connection.onRequest(byName("wait"), wait);
      connection.listen();
      socket.on("close", () => connection.dispose());
    })
  );
}

function tRPC(): Promise<number> {
  const { initTRPC } = require("@trpc/server");
  const { applyWSSHandler } = require("@trpc/server/adapters/ws");
  const { procedure, router } = initTRPC.create();
  const input = procedure.input((value: unknown) => value as Pair);
  return withWs((wss) =>
    applyWSSHandler({
      wss,
      router: router({
        add: input.query(({ input }: { input: Pair }) => add(input)),
        wait: input.query(({ input }: { input: Pair }) => wait(input)),
      }),
    })
  );
}

function socketIo(): Promise<number> {
  const { Server } = require("socket.io");
  const http = createServer();
  // No pings of the library between the answers.
  const options = { transports: ["websocket"], pingInterval: 600_000 };
  new Server(http, options).on("connection", (socket: {
    on(event: string, listener: (pair: Pair, done: (result: number) => void) => void): void;
  }) => {
    socket.on("add", (pair, done) => done(add(pair)));
    socket.on("wait", (pair, done) => void wait(pair).then(done));
  });
  return listen(http);
}

/** Gives the port of a server of `ws` when it listens. */
function withWs(setUp: (wss: WebSocketServer) => void): Promise<number> {
  const { WebSocketServer } = require("ws");
  const http = createServer();
  setUp(new WebSocketServer({ server: http, perMessageDeflate: false }));
  return listen(http);
}

interface WebSocketServer {
  on(event: "connection", listener: (socket: Socket) => void): void;
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(LOOPBACK.port, LOOPBACK.host, resolve));
  return (server.address() as AddressInfo).port;
}
