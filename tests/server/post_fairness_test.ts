/**
 * Turns of the event loop are shared with HTTP: a flood of POSTs keeps nobody else waiting until all of them are
 * handled, and none of them is lost.
 */
import { assert, assertEquals } from "@std/assert";
import type { Buffer } from "node:buffer";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { test } from "node:test";
import { JsonRpc } from "@x/jsonrpc";
import type { HttpConnection, Runtime } from "../../src/runtimes/runtime.ts";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { call, result } from "../helpers/messages.ts";
import { RawSocket } from "../helpers/raw_client.ts";
import { runtimeHere } from "../helpers/runtimes.ts";
import { serveHere, serveOnNode } from "../helpers/server.ts";
import { block } from "../helpers/sleep.ts";
import { bareClient } from "../helpers/wire.ts";

const MANY = 1000;
const IDS = Array.from({ length: MANY }, (_, id) => id);

/** A server whose method `work` takes so long that a thousand calls fill many turns. */
function workServer(options: ConstructorParameters<typeof JsonRpc>[0] = {}) {
  const ran: unknown[] = [];
  const rpc = new JsonRpc({ logger: silentLog(), ...options })
    .method("work", ([name]: [unknown]) => {
      block(0.1);
      ran.push(name);
      return name;
    })
    .method("ran", () => ran.length);
  return { rpc: rpc as unknown as JsonRpc, ran };
}

/** A connection that a runtime could pause, and what the server did with it. */
class FakeConnection implements HttpConnection {
  isOpen = true;
  readonly canPause: boolean;
  readonly seen: string[] = [];

  constructor(canPause = true) {
    this.canPause = canPause;
  }

  pause(): void {
    this.seen.push("pause");
  }

  resume(): void {
    this.seen.push("resume");
  }

  /** The second argument of `fetch`. */
  get host(): { readonly runtime: Runtime } {
    return {
      runtime: {
        remoteAddress: () => "192.0.2.1",
        onLeave: () => () => {},
        upgrade: () => new Response(null, { status: 426 }),
        connection: () => this,
      },
    };
  }
}

function post(name: unknown, method = "work"): Request {
  return new Request("http://127.0.0.1/", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(call(method, 1, [name])),
  });
}

/** Sends calls of `work`; gives their responses. */
function flood(rpc: JsonRpc, names: readonly unknown[], host?: object): Promise<Response[]> {
  return Promise.all(names.map((name) => rpc.fetch(post(name), host)));
}

async function resultsOf(responses: readonly Response[]): Promise<unknown[]> {
  return await Promise.all(responses.map(async (each) => (await each.json()).result));
}

test("a client with a WebSocket is answered before the last of a thousand POSTs", async () => {
  const { rpc, ran } = workServer();
  const modest = bareClient(rpc);
  const responses = flood(rpc, IDS);
  await until(() => ran.length > 0);
  modest.call("m", "ran");
  const { result } = await modest.next();
  assert((result as number) < MANY, `all ${result} calls ran before`);
  assertEquals(await resultsOf(await responses), IDS);
  assertEquals(ran, IDS);
  assertEquals(rpc.stats().requests, 0);
  await rpc.close();
});

test("a POST is answered soon although a thousand of another connection wait", async () => {
  const { rpc, ran } = workServer();
  const responses = flood(rpc, IDS, new FakeConnection().host);
  await until(() => ran.length > 0);
  const response = await rpc.fetch(post("", "ran"), new FakeConnection().host);
  const { result } = await response.json();
  assert(result < MANY / 2, `${result} calls ran before`);
  assertEquals(await resultsOf(await responses), IDS);
  await rpc.close();
});

test("a long POST waits only where its runtime does not read it meanwhile", async () => {
  for (const canPause of [true, false]) {
    const { rpc, ran } = workServer();
    const host = canPause ? new FakeConnection().host : undefined;
    const responses = flood(rpc, IDS, host);
    await until(() => ran.length > 0);
    const long = post("", "ran");
    long.headers.set("content-length", "100000");
    const { result } = await (await rpc.fetch(long, host)).json();
    assertEquals(result === MANY, canPause, `${result} calls ran before`);
    await responses;
    await rpc.close();
  }
});

test("connections whose POSTs wait take it by turns, each in its order", async () => {
  const { rpc, ran } = workServer();
  const floods = ["a", "b", "c"].map((connection) =>
    flood(rpc, IDS.slice(0, 300).map((id) => connection + id), new FakeConnection().host)
  );
  await Promise.all(floods);
  const first = ran.findIndex((name) => String(name).startsWith("c"));
  const last = ran.findLastIndex((name) => String(name).startsWith("b"));
  assert(first < last - 100, `${first}, ${last}`);
  for (const connection of ["a", "b", "c"]) {
    const own = ran.filter((name) => String(name).startsWith(connection));
    assertEquals(own, IDS.slice(0, 300).map((id) => connection + id));
  }
  await rpc.close();
});

test("a connection whose POSTs wait is not read until they are handled", async () => {
  const { rpc, ran } = workServer();
  const connection = new FakeConnection();
  const ranAt: number[] = [];
  connection.resume = () => {
    connection.seen.push("resume");
    ranAt.push(ran.length);
  };
  const responses = await flood(rpc, IDS, connection.host);
  assertEquals(responses.length, MANY);
  await until(() => connection.seen.length === 2);
  assertEquals(connection.seen, ["pause", "resume"]);
  // All were let go; the bodies of the last may just be read.
  assert((ranAt[0] ?? 0) > MANY - 100, `${ranAt} calls ran before`);
  await rpc.close();
});

test("no more than a few POSTs of a connection wait that cannot be paused", async () => {
  const { rpc } = workServer();
  const responses = flood(rpc, IDS, new FakeConnection(false).host);
  const { memoryBytes } = rpc.stats();
  assert(memoryBytes < 100_000, `${memoryBytes} bytes`);
  assertEquals(await resultsOf(await responses), IDS);
  await rpc.close();
});

test("POSTs that wait count as memory, and do not run once their connection is closed", async () => {
  const { rpc, ran } = workServer();
  const connection = new FakeConnection();
  const responses = flood(rpc, IDS, connection.host);
  const { memoryBytes, requests } = rpc.stats();
  assert(memoryBytes > 1_000_000, `${memoryBytes} bytes`);
  assertEquals(requests, MANY);
  await until(() => ran.length > 0);
  connection.isOpen = false;
  await responses;
  assert(ran.length < MANY, `all ${ran.length} calls ran`);
  assertEquals(rpc.stats().memoryBytes, 0);
  assertEquals(rpc.stats().requests, 0);
  await rpc.close();
});

test("POSTs are refused with 503 and Retry-After if there is no memory in which they could wait", async () => {
  const { rpc, ran } = workServer({ maxTotalBytes: 1_000_000 });
  const responses = await flood(rpc, IDS, new FakeConnection().host);
  const refused = responses.filter(({ status }) => status === 503);
  assert(refused.length > 0);
  assertEquals(ran.length + refused.length, MANY);
  assertEquals(new Set(refused.map(({ headers }) => headers.get("retry-after"))), new Set(["1"]));
  assertEquals(rpc.stats().memoryBytes, 0);
  await rpc.close();
});

test("POSTs that wait do not use up maxConnections", async () => {
  const { rpc, ran } = workServer({ maxConnections: 2 * MANY });
  const names = [...IDS, ...IDS, ...IDS, ...IDS];
  const responses = flood(rpc, names, new FakeConnection().host);
  await until(() => ran.length > 0);
  const { status } = await rpc.fetch(post("", "ran"), new FakeConnection().host);
  assertEquals(status, 200);
  assertEquals(await resultsOf(await responses), names);
  await rpc.close();
});

test("close() refuses POSTs that wait with 503, and reads their connection on", async () => {
  const { rpc, ran } = workServer();
  const connection = new FakeConnection();
  const responses = flood(rpc, IDS, connection.host);
  await until(() => ran.length > 0);
  await rpc.close();
  const statuses = (await responses).map(({ status }) => status);
  assertEquals(statuses.length, MANY);
  assert(statuses.filter((status) => status === 503).length > 0);
  assertEquals(connection.seen, ["pause", "resume"]);
  assertEquals(rpc.stats().memoryBytes, 0);
});

test("a server that nobody floods answers in the turn in which it is asked", () => {
  const { rpc } = workServer();
  const headers = { origin: "http://127.0.0.1", "access-control-request-method": "POST" };
  const preflight = new Request("http://127.0.0.1/", { method: "OPTIONS", headers });
  assert(rpc.fetch(preflight) instanceof Response);
});

// -- over sockets --

function postText(message: unknown): string {
  const text = JSON.stringify(message);
  return `POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n` +
    `Content-Length: ${text.length}\r\n\r\n${text}`;
}

/** Sends a text over a new connection, and collects what comes back. */
class Poster {
  received = "";
  isClosed = false;
  readonly socket: Socket;

  constructor(url: string, text: string) {
    this.socket = connect({ port: Number(new URL(url).port), host: "127.0.0.1" });
    this.socket.on("error", () => {}).on("close", () => void (this.isClosed = true));
    this.socket.on("data", (bytes: Buffer) => void (this.received += bytes.toString("latin1")));
    this.socket.write(text);
  }

  /** The results of all answers that have come as a whole. */
  get results(): unknown[] {
    const answers = this.received.matchAll(/\{"jsonrpc":"2.0","result":(\d+),"id":1\}/g);
    return Array.from(answers, ([, result]) => Number(result));
  }
}

for (
  const [what, start] of Object.entries({
    "the runtime's own server": serveHere,
    "./node": serveOnNode,
  })
) {
  test(`no POST of many connections is lost, nor the messages of a WebSocket, on ${what}`, async () => {
    const { rpc, ran } = workServer();
    await using server = await start(rpc);
    const modest = await RawSocket.open(server.url);
    const posters = IDS.slice(0, 300).map((id) =>
      new Poster(server.url, postText(call("work", 1, [id])))
    );
    await until(() => ran.length > 0);
    assertEquals((await modest.ask(call("work", 1, [7]))).result, 7);
    await until(() => posters.every(({ results }) => results.length === 1));
    assertEquals(posters.flatMap(({ results }) => results), IDS.slice(0, 300));
    await until(() => rpc.stats().requests === 0);
    assertEquals(rpc.stats().memoryBytes, 0);
    for (const { socket } of posters) socket.destroy();
  });

  test(`a connection that sends POSTs without waiting keeps nobody waiting, on ${what}`, async () => {
    const { rpc, ran } = workServer();
    await using server = await start(rpc);
    const modest = await RawSocket.open(server.url);
    const text = IDS.map((id) => postText(call("work", 1, [id]))).join("");
    const flooder = new Poster(server.url, text.repeat(3));
    await until(() => ran.length > 0);
    const { result: before } = await modest.ask(call("ran", 1));
    // Elsewhere `node:http` itself reads and answers on and on.
    if (what !== "./node" || runtimeHere === "node") {
      assert((before as number) < 3 * MANY, `all ${before} calls ran before`);
      const { requests } = rpc.stats();
      assert(requests < MANY, `${requests} requests were read`);
    }
    await until(() => flooder.isClosed || flooder.results.length === 3 * MANY);
    // Bun closes a connection that sends a request before the one before it is answered, unless that is in
    // the turn in which it came.
    assert(!flooder.isClosed || (runtimeHere === "bun" && what !== "./node"));
    if (!flooder.isClosed) assertEquals(flooder.results, [...IDS, ...IDS, ...IDS]);
    assertEquals(await modest.ask(call("work", 2, [1])), result(2, 1));
    await until(() => rpc.stats().requests === 0);
    assertEquals(rpc.stats().memoryBytes, 0);
    flooder.socket.destroy();
  });

  test(`POSTs that wait are released if their connection is closed, on ${what}`, async () => {
    const { rpc, ran } = workServer();
    await using server = await start(rpc);
    const text = IDS.map((id) => postText(call("work", 1, [id]))).join("");
    const flooder = new Poster(server.url, text);
    await until(() => ran.length > 0);
    flooder.socket.destroy();
    await until(() => rpc.stats().requests === 0);
    const count = ran.length;
    assertEquals(ran, IDS.slice(0, count));
    assertEquals(rpc.stats().memoryBytes, 0);
    const modest = await RawSocket.open(server.url);
    assertEquals(await modest.ask(call("work", 2, [1])), result(2, 1));
  });
}
