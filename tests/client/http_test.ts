import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
} from "@std/assert";
import {
  connect,
  JsonRpc,
  JsonRpcClient,
  RpcConnectionError,
  RpcError,
  RpcInvalidParamsError,
  RpcMethodNotFoundError,
  RpcTimeoutError,
} from "@x/jsonrpc";
import type { ClientOptions } from "@x/jsonrpc";
import { quietMoment, unsettled, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";
import { eventsOf } from "../helpers/scripted_server.ts";

/** A server for POSTs, and what it was told. */
function testServer() {
  const received: unknown[] = [];
  const rpc = new JsonRpc({ logger: silentLog() })
    .method("ping", () => "pong")
    .method("later", async (params: unknown[]) => {
      await quietMoment();
      return params;
    })
    .method("note", (params: unknown[]) => void received.push(...params))
    .method("pay", () => {
      throw new RpcError(402, "Not enough money", { data: { missing: 3 } });
    })
    .method("divide", () => {
      throw new RpcInvalidParamsError({ data: "Cannot divide by 0" });
    })
    .method("header", ([name]: [string], { connection }) => connection.handshake.headers.get(name))
    .method("never", () => new Promise<string>(() => {}))
    .topic("clock");
  return { rpc, received };
}

/** A `fetch` that remembers what it was asked. */
function watchedFetch(): { readonly asked: RequestInit[]; readonly fetch: typeof fetch } {
  const asked: RequestInit[] = [];
  const watched = (input: string | URL | Request, init: RequestInit = {}) => {
    asked.push(init);
    return fetch(input, init);
  };
  return { asked, fetch: watched as typeof fetch };
}

test("connect() to an http: URL gives a client that calls by POST", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const { asked, fetch } = watchedFetch();
  await using client = await connect<typeof rpc>(server.url, { fetch });
  assertEquals(client.state, "open");
  assertEquals(await client.call("ping"), "pong");
  assertEquals(await client.remote.ping(), "pong");
  assertEquals(asked.map(({ method, body }) => [method, body]), [
    ["POST", '{"jsonrpc":"2.0","method":"ping","id":1}'],
    ["POST", '{"jsonrpc":"2.0","method":"ping","id":2}'],
  ]);
  assertEquals(rpc.connections.size, 0);
});

test("call() over HTTP rejects with what the method threw", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.url);
  const pay = await assertRejects(() => client.call("pay"), RpcError, "Not enough money");
  assertEquals([pay.code, pay.data], [402, { missing: 3 }]);
  const divide = await assertRejects(() => client.call("divide"), RpcInvalidParamsError);
  assertEquals(divide.data, "Cannot divide by 0");
  await assertRejects(() => client.call("nowhere" as "ping"), RpcMethodNotFoundError);
});

test("call() over HTTP settles each of many calls by its own answer", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.url);
  const numbers = [...Array(50).keys()];
  const answers = await Promise.all(numbers.map((n) => client.call("later", [n])));
  assertEquals(answers, numbers.map((n) => [n]));
});

test("call() over HTTP takes any number at once, before and after the first POST", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  await using client = new JsonRpcClient(server.url, { maxQueued: 2, maxQueuedMs: 1 });
  for (let round = 0; round < 2; round++) {
    const calls = Array.from({ length: 50 }, () => client.call("ping"));
    assertEquals(await Promise.all(calls), Array(50).fill("pong"));
  }
});

test("JsonRpcClient over HTTP tells when calls can be sent, and of its end", async () => {
  const { asked, fetch } = watchedFetch();
  const client = new JsonRpcClient("http://127.0.0.1:1", { fetch });
  const events = eventsOf(client);
  await client.connect();
  assertEquals([client.state, ...events], ["open", "open"]);
  await client.close();
  assertEquals([client.state, ...events], ["closed", "open", "close 1000 final"]);
  assertEquals(asked, []);
});

test("call() over HTTP takes no answer that is nested deeper than maxDepth", async () => {
  const fetch = () =>
    Promise.resolve(
      new Response(`{"jsonrpc":"2.0","id":1,"result":${"[".repeat(9)}${"]".repeat(9)}}`),
    );
  await using client = new JsonRpcClient("http://127.0.0.1:1", { fetch, maxDepth: 9 });
  await assertRejects(() => client.call("ping"), RpcConnectionError, "did not answer the call");
  await using deeper = new JsonRpcClient("http://127.0.0.1:1", { fetch, maxDepth: 10 });
  assertEquals(JSON.stringify(await deeper.call("ping")), `${"[".repeat(9)}${"]".repeat(9)}`);
});

test("batch() over HTTP is one POST", async () => {
  const { rpc, received } = testServer();
  await using server = await serveHere(rpc);
  const { asked, fetch } = watchedFetch();
  await using client = await connect<typeof rpc>(server.url, { fetch });
  const results = await client.batch((b) => {
    b.notify("note", ["noted"]);
    return [b.call("later", [1]), b.call("ping"), b.call("pay").catch(({ code }) => code)];
  });
  assertEquals(results, [[1], "pong", 402]);
  assertEquals(received, ["noted"]);
  assertEquals(asked.length, 1);
});

test("notify() over HTTP is taken without an answer", async () => {
  const { rpc, received } = testServer();
  await using server = await serveHere(rpc);
  const logger = silentLog();
  await using client = await connect<typeof rpc>(server.url, { logger });
  client.notify("note", ["noted"]);
  client.notify("nowhere" as "note", []);
  await until(() => received.length > 0);
  assertEquals(await client.call("ping"), "pong");
  assertEquals(logger.lines, []);
});

test("notify() over HTTP logs when the server cannot be reached", async () => {
  const server = await serveHere(new JsonRpc());
  await server.stop();
  const logger = silentLog();
  await using client = await connect(server.url, { logger });
  client.notify("note", ["noted"]);
  await until(() => logger.lines.length > 0);
  assertStringIncludes(logger.text, "warn: A notification failed");
});

test("notify() over HTTP logs what the server refused it with", async () => {
  const body = '{"jsonrpc":"2.0","error":{"code":-32009,"message":"Closing"},"id":null}';
  const logger = silentLog();
  const fetch = () => Promise.resolve(new Response(body, { status: 503 }));
  await using client = await connect("http://127.0.0.1:1", { logger, fetch });
  client.notify("note", ["noted"]);
  await until(() => logger.lines.length > 0);
  assertStringIncludes(logger.text, body);
});

test("call() over HTTP rejects with RpcConnectionError when the server is down", async () => {
  const server = await serveHere(new JsonRpc());
  await server.stop();
  await using client = await connect(server.url);
  const error = await assertRejects(() => client.call("ping"), RpcConnectionError, server.url);
  assert(error.cause instanceof Error);
});

const strangeAnswers: readonly (readonly [what: string, body: string, status: number])[] = [
  ["a page with 404", "<h1>Not found</h1>", 404],
  ["a page with 500", "<h1>Sorry</h1>", 500],
  ["a page with 200", "<h1>Hello</h1>", 200],
  ["nothing with 404", "", 404],
  ["nothing with 200", "", 200],
  ["JSON that is no answer", '{"hello":"world"}', 200],
  ["a scalar", "42", 200],
  ["null", "null", 200],
  ["an empty batch", "[]", 200],
  ["the answer to another call", '{"jsonrpc":"2.0","result":1,"id":77}', 200],
  ["an id of another type", '{"jsonrpc":"2.0","result":1,"id":"1"}', 200],
];

for (const [what, body, status] of strangeAnswers) {
  test(`call() over HTTP rejects with RpcConnectionError when the answer is ${what}`, async () => {
    await using server = await serveHere({ fetch: () => new Response(body, { status }) });
    await using client = await connect(server.url);
    const error = await assertRejects(() => client.call("ping"), RpcConnectionError, server.url);
    assertEquals(error.outcome, "unknown");
  });
}

test("call() over HTTP takes an error answer whatever the status is", async () => {
  const body = '{"jsonrpc":"2.0","error":{"code":-32001,"message":"Down for repair"},"id":1}';
  await using server = await serveHere({ fetch: () => new Response(body, { status: 503 }) });
  await using client = await connect(server.url);
  const error = await assertRejects(() => client.call("ping"), RpcError, "Down for repair");
  assertEquals(error.code, -32001);
});

test("call() over HTTP rejects with the error that has no id", async () => {
  const body = '{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"},"id":null}';
  await using server = await serveHere({ fetch: () => new Response(body) });
  await using client = await connect(server.url);
  const error = await assertRejects(() => client.call("ping"), RpcError, "Parse error");
  assertEquals(error.code, -32700);
});

for (const length of [undefined, "1001"]) {
  const how = length === undefined ? "streamed" : "announced";
  test(`call() over HTTP rejects when an answer over maxMessageBytes is ${how}`, async () => {
    const text = JSON.stringify({ jsonrpc: "2.0", result: "x".repeat(965), id: 1 });
    assertEquals(text.length, 1001);
    const headers: HeadersInit = length === undefined ? {} : { "content-length": length };
    const body = () => length === undefined ? new Blob([text]).stream() : text;
    await using server = await serveHere({ fetch: () => new Response(body(), { headers }) });
    await using client = await connect(server.url, { maxMessageBytes: 1000 });
    await assertRejects(() => client.call("ping"), RpcConnectionError, "maxMessageBytes");
    await using patient = await connect(server.url, { maxMessageBytes: 1001 });
    assertEquals(await patient.call("ping"), "x".repeat(965));
  });
}

test("call() over HTTP gives the POST up when timeoutMs is over", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const { asked, fetch } = watchedFetch();
  await using client = await connect<typeof rpc>(server.url, { fetch });
  await assertRejects(() => client.call("never", undefined, { timeoutMs: 20 }), RpcTimeoutError);
  assert(asked[0]?.signal?.aborted);
});

test("call() over HTTP gives the POST up when its signal aborts", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const { asked, fetch } = watchedFetch();
  await using client = await connect<typeof rpc>(server.url, { fetch });
  const controller = new AbortController();
  const reason = new Error("enough");
  const call = client.call("never", undefined, { signal: controller.signal });
  await quietMoment();
  controller.abort(reason);
  assertStrictEquals(await call.catch((error) => error), reason);
  assert(asked[0]?.signal?.aborted);
});

test("call() over HTTP does not send what was given up before", async () => {
  const { asked, fetch } = watchedFetch();
  await using client = await connect("http://127.0.0.1:1", { fetch });
  const signal = AbortSignal.abort(new Error("enough"));
  await assertRejects(() => client.call("ping", undefined, { signal }), Error, "enough");
  assertEquals(asked, []);
});

test("batch() over HTTP gives the POST up with the last of its calls", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const { asked, fetch } = watchedFetch();
  await using client = await connect<typeof rpc>(server.url, { fetch });
  const controllers = [new AbortController(), new AbortController()];
  const batch = client.batch((b) =>
    controllers.map(({ signal }) => b.call("never", undefined, { signal }).catch(() => "given up"))
  );
  controllers[0]?.abort();
  await quietMoment();
  assertEquals(asked[0]?.signal?.aborted, false);
  controllers[1]?.abort();
  assertEquals(await batch, ["given up", "given up"]);
  assertEquals(asked[0]?.signal?.aborted, true);
});

const headers: Readonly<Record<string, readonly [ClientOptions, name: string, value: string]>> = {
  "headers": [{ headers: { "x-tenant": "blue" } }, "x-tenant", "blue"],
  "a token": [{ token: "secret" }, "authorization", "Bearer secret"],
  "headers before a token": [
    { token: "secret", headers: { authorization: "Basic x" } },
    "authorization",
    "Basic x",
  ],
  "a content type": [{}, "content-type", "application/json"],
};

for (const [what, [options, name, value]] of Object.entries(headers)) {
  test(`connect() to an http: URL sends ${what}`, async () => {
    const { rpc } = testServer();
    await using server = await serveHere(rpc);
    await using client = await connect<typeof rpc>(server.url, Object.freeze(options));
    assertEquals(await client.call("header", [name]), value);
  });
}

test("connect() to an http: URL takes a fetch of its own", async () => {
  const rpc = new JsonRpc().method("ping", () => "pong");
  const fetch = async (url: string, init: RequestInit) => await rpc.fetch(new Request(url, init));
  await using client = await connect<typeof rpc>("https://nowhere.example/rpc", { fetch });
  assertEquals(await client.call("ping"), "pong");
});

test("subscribe() over HTTP rejects: there is no way back", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.url);
  await assertRejects(() => client.subscribe("clock", () => {}), RpcMethodNotFoundError);
  assertEquals((await client.getMethods()).includes("subscribe"), false);
  assertEquals(await client.getTopics(), ["clock"]);
});

test("close() over HTTP rejects the calls that wait, gives their POSTs up, and takes no more", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const { asked, fetch } = watchedFetch();
  const client = await connect<typeof rpc>(server.url, { fetch });
  const waiting = [client.call("never"), client.call("never", undefined, { timeoutMs: 0 })];
  const outcomes = waiting.map((call) => call.catch(({ outcome }) => outcome));
  await quietMoment();
  await client.close();
  assertEquals(await Promise.all(outcomes), ["unknown", "unknown"]);
  assertEquals(asked.map(({ signal }) => signal?.aborted), [true, true]);
  const late = client.call("ping");
  assertEquals(await unsettled([late]), []);
  await assertRejects(() => late, RpcConnectionError, "closed");
  assertEquals(client.state, "closed");
});

test("new JsonRpcClient() to an http: URL asks for nothing before its first call", async () => {
  const { asked, fetch } = watchedFetch();
  await using client = new JsonRpcClient("http://127.0.0.1:1", { fetch });
  await quietMoment();
  assertEquals([client.state, asked.length], ["idle", 0]);
});

for (const status of [301, 302, 303, 307, 308]) {
  test(`call() over HTTP does not follow a redirection with ${status}`, async () => {
    const received: string[] = [];
    const other = await serveHere({
      fetch(request: Request) {
        received.push(request.url);
        return Response.json({ jsonrpc: "2.0", result: "stolen", id: 1 });
      },
    });
    await using server = await serveHere({
      fetch: () => new Response(null, { status, headers: { location: other.url } }),
    });
    await using client = await connect(server.url, { token: "secret" });
    await assertRejects(() => client.call("ping"), RpcConnectionError, `answered ${status}`);
    assertEquals(received, []);
    await other.stop();
  });
}
