/**
 * One contender as a server: `server.ts raw | floor | loop | publish | ours | through-node`. It prints where it
 * listens, and ends with the process that started it.
 */
import process from "node:process";
import { JsonRpc } from "@x/jsonrpc";
import { exitWithParent } from "../helpers/exit_with_parent.ts";
import { add, echo, io, nextEvent, wait } from "./methods.ts";
import { servePlain, servePublish } from "./plain.ts";
import type { PlainApp, PlainSocket } from "./plain.ts";

interface Call {
  readonly method: string;
  readonly params: unknown;
  readonly id: number;
}

/** The parts of Deno and Bun that are used here: their type declarations clash. */
interface RuntimeGlobals {
  readonly Deno?: {
    serve(options: object, fetch: JsonRpc["fetch"]): { addr: { port: number } };
  };
  readonly Bun?: { serve(options: object): { port: number } };
}

const { Deno, Bun } = globalThis as RuntimeGlobals;
const LOOPBACK = { hostname: "127.0.0.1", port: 0 };

const contenders: Readonly<Record<string, () => Promise<number> | number>> = {
  raw: () => servePlain({ text: (socket, text) => socket.send(text), post: (text) => text }),
  floor: () => servePlain(floor()),
  loop,
  publish,
  ours,
  "through-node": throughNode,
};

exitWithParent();
const port = await contenders[process.argv[2] ?? ""]?.();
console.log(`LISTENING http://127.0.0.1:${port}`);

/** JSON-RPC by hand: parse, table, stringify; no checks, no limits. */
function floor(): PlainApp {
  const methods = new Map<string, (params: never) => unknown>([
    ["add", add],
    ["wait", wait],
    ["io", io],
    ["echo", echo],
  ]);
  function run({ method, params, id }: Call): unknown {
    const result = (methods.get(method) as (params: unknown) => unknown)(params);
    if (result instanceof Promise) return result.then((value) => toAnswer(value, id));
    return toAnswer(result, id);
  }
  function toAnswer(result: unknown, id: number): unknown {
    return { jsonrpc: "2.0", result, id };
  }
  return {
    text(socket, text) {
      const message = JSON.parse(text) as Call | Call[];
      const answer = Array.isArray(message) ? message.map(run) : run(message);
      if (!(answer instanceof Promise)) return socket.send(JSON.stringify(answer));
      answer.then((value) => socket.send(JSON.stringify(value)));
    },
    post: (text) => JSON.stringify(run(JSON.parse(text) as Call)),
  };
}

/** Sends events to all by a loop over the sockets. */
function loop(): Promise<number> {
  const subscribers = new Set<PlainSocket>();
  return servePlain({
    ...burstOn((text) => {
      for (const socket of subscribers) socket.send(text);
    }, (socket) => subscribers.add(socket)),
    close: (socket) => subscribers.delete(socket),
  });
}

/** Sends events to all by the runtime's own publish. */
function publish(): number {
  const server = servePublish(burstOn((text) => server?.publish(text), () => {}));
  return server?.port ?? 0;
}

function burstOn(
  send: (text: string) => void,
  subscribe: (socket: PlainSocket) => void,
): PlainApp {
  return {
    text(socket, text) {
      const { method, params, id } = JSON.parse(text) as Call;
      if (method === "subscribe") subscribe(socket);
      else {
        for (let left = (params as number[])[0] ?? 0; left > 0; left--) {
          send(JSON.stringify({ jsonrpc: "2.0", method: "news", params: nextEvent() }));
        }
      }
      socket.send(JSON.stringify({ jsonrpc: "2.0", result: ["news"], id }));
    },
  };
}

/** The module with all its defaults. */
function rpc(): JsonRpc {
  const server = new JsonRpc()
    .method("add", add)
    .method("wait", wait)
    .method("io", io)
    .method("echo", echo)
    .topic("news")
    .topic("room.*");
  server.method("burst", ([events]: [number]) => {
    for (let left = events; left > 0; left--) server.publish("news", nextEvent());
    return ["news"];
  });
  server.method(
    "publish",
    ([topic]: [`room.${string}`]) => server.publish(topic, nextEvent()).deliveries,
  );
  return server as unknown as JsonRpc;
}

/** On the runtime's own server; on Node, through `./node`. */
function ours(): Promise<number> | number {
  const { fetch, websocket } = rpc();
  if (Bun !== undefined) return Bun.serve({ ...LOOPBACK, fetch, websocket }).port;
  if (Deno !== undefined) return Deno.serve({ ...LOOPBACK, onListen() {} }, fetch).addr.port;
  return throughNode();
}

/** Through `./node`, on any runtime. */
async function throughNode(): Promise<number> {
  const { serve } = await import("@x/jsonrpc/node");
  return (await serve(rpc(), LOOPBACK)).port;
}
