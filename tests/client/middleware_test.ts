import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { test } from "node:test";
import { connect, JsonRpc, JsonRpcClient, RpcConnectionError, RpcError } from "@x/jsonrpc";
import { withMiddleware } from "@x/jsonrpc/middleware";
import { tryCall } from "@x/jsonrpc/try_call";
import type { ClientMiddleware } from "@x/jsonrpc/middleware";
import { linkedSockets, testClient } from "@x/jsonrpc/testing";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";

function testServer() {
  const seen: unknown[] = [];
  let busy = 0;
  const rpc = new JsonRpc({ logger: silentLog() })
    .method("add", ([a, b]: [number, number]) => a + b)
    .method("math.double", ([n]: [number]) => 2 * n)
    .method("note", (params: unknown) => void seen.push(params))
    .method("busy", ([times]: [number]) => {
      if (busy++ < times) throw new RpcError(-32000, "Busy");
      return busy;
    })
    .topic("clock");
  return { rpc, seen };
}

/** Notes the calls that it sees. */
function noting(notes: string[], name: string): ClientMiddleware {
  return async ({ kind, method }, next) => {
    notes.push(`${name} > ${kind} ${method}`);
    const result = await next();
    notes.push(`${name} < ${JSON.stringify(result)}`);
    return result;
  };
}

test("middleware runs around each way to call, outermost first", async () => {
  const { rpc, seen } = testServer();
  await using plain = await testClient(rpc);
  const notes: string[] = [];
  const client = withMiddleware(plain, [noting(notes, "a"), noting(notes, "b")]);
  const expect = (what: string, result: string) => {
    assertEquals(notes.splice(0), [`a > ${what}`, `b > ${what}`, `b < ${result}`, `a < ${result}`]);
  };
  assertEquals(await client.call("add", [1, 2]), 3);
  expect("call add", "3");
  assertEquals(await client.remote.math.double([4]), 8);
  expect("call math.double", "8");
  assertEquals(await tryCall(client, "add", [1, 2]), { ok: true, result: 3 });
  expect("call add", "3");
  client.notify("note", [1]);
  await until(() => seen.length === 1 && notes.length === 4);
  expect("notification note", "undefined");
  assert(client instanceof JsonRpcClient);
  assertEquals(client.state, "open");
});

test("a middleware changes params and options, and answers by itself", async () => {
  const { rpc } = testServer();
  await using plain = await testClient(rpc);
  const more: ClientMiddleware = ({ params }, next) =>
    next({ params: [...params as number[], 10] });
  assertEquals(await withMiddleware(plain, [more]).call("add", [1] as never), 11);
  const cached: ClientMiddleware = ({ method }, next) => method === "add" ? 7 : next();
  const client = withMiddleware(plain, [cached]);
  assertEquals(await client.call("add", [1, 2]), 7);
  assertEquals(await client.call("math.double", [2]), 4);
  const signal = AbortSignal.abort(new Error("Stop"));
  const aborted = withMiddleware(plain, [(_call, next) => next({ options: { signal } })]);
  await assertRejects(() => aborted.call("add", [1, 2]), Error, "Stop");
});

test("a middleware tries again", async () => {
  const { rpc } = testServer();
  await using plain = await testClient(rpc);
  const retry: ClientMiddleware = async (_call, next) => {
    for (let left = 5;; left--) {
      try {
        return await next();
      } catch (error) {
        if (!(error instanceof RpcError) || left === 0) throw error;
      }
    }
  };
  const client = withMiddleware(plain, [retry]);
  assertEquals(await client.call("busy", [3]), 4);
  const answers = await client.batch((b) => [b.call("add", [1, 2]), b.call("busy", [7])]);
  assertEquals(answers, [3, 8]);
});

test("calls of a batch stay in it if the middleware sends them at once", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const posts: string[] = [];
  const noted: typeof fetch = (input, init) => {
    posts.push(String(init?.body));
    return fetch(input, init);
  };
  await using plain = await connect<typeof rpc>(server.url, { fetch: noted });
  const notes: string[] = [];
  const client = withMiddleware(plain, [noting(notes, "a")]);
  const results = await client.batch((b) => {
    b.notify("note", [1]);
    return [b.call("add", [1, 2]), b.call("math.double", [3])];
  });
  assertEquals(results, [3, 6]);
  assertEquals(posts.map((each) => JSON.parse(each).length), [3]);
  assertEquals(notes.slice(0, 3), [
    "a > notification note",
    "a > call add",
    "a > call math.double",
  ]);
});

test("what a middleware throws is the caller's, and of a notification the log's", async () => {
  const { rpc, seen } = testServer();
  await using plain = await testClient(rpc);
  const logger = silentLog();
  const refuse: ClientMiddleware = () => {
    throw new Error("Not today");
  };
  const client = withMiddleware(plain, [refuse], { logger });
  await assertRejects(() => client.call("add", [1, 2]), Error, "Not today");
  client.notify("note");
  await until(() => logger.text.includes('Could not send the notification "note"'));
  assertEquals(seen, []);
});

test("topics, events and close() are the client's own", async () => {
  const { rpc } = testServer();
  const plain = await testClient(rpc);
  const client = withMiddleware(plain, []);
  const received: unknown[] = [];
  client.addEventListener("close", ({ code }) => received.push(code));
  await client.subscribe("clock", (time) => received.push(time));
  rpc.publish("clock", "noon");
  await until(() => received.length === 1);
  await client.close();
  await until(() => received.length === 2);
  assertEquals(received, ["noon", 1000]);
  assertEquals(plain.state, "closed");
  await assertRejects(() => client.call("add", [1, 2]), RpcConnectionError);
});

test("a middleware of a typed client knows methods and params", async () => {
  const { rpc } = testServer();
  const [near, far] = linkedSockets();
  rpc.attach(far);
  await using plain = await connect<typeof rpc>(near);
  const typed: ClientMiddleware<typeof rpc> = (call, next) => {
    // @ts-expect-error -- no such method
    if (call.method === "subtract") return next();
    if (call.method === "add") return next({ params: [call.params[0] + 1, call.params[1]] });
    return next();
  };
  assertEquals(await withMiddleware(plain, [typed]).call("add", [1, 2]), 4);
});

test("the option incoming puts layers around the methods of the client", async () => {
  const rpc = new JsonRpc({ logger: silentLog() })
    .method("ask", ([name]: [string], request) => request.call(name, { n: 1 }));
  await using plain = await testClient(rpc);
  const notes: unknown[] = [];
  const client = withMiddleware(plain, [], {
    incoming: [(request, next) => {
      notes.push(request.method, request.params);
      request.params = { n: 2 };
      return next();
    }, ({ method }, next) => method === "closed" ? "not today" : next()],
  });
  using _remove = client.method("double", ({ n }: { n: number }) => 2 * n);
  client.method("closed", () => notes.push("called"));
  plain.method("bare", ({ n }: { n: number }) => n);
  assertEquals(await client.call("ask", ["double"]), 4);
  assertEquals(await client.call("ask", ["closed"]), "not today");
  // Only methods that are registered through the client with layers have them.
  assertEquals(await client.call("ask", ["bare"]), 1);
  assertEquals(notes, ["double", { n: 1 }, "closed", { n: 1 }]);
});

test("a client with middleware is closed by await using", async () => {
  const { rpc } = testServer();
  const plain = await testClient(rpc);
  const inner = withMiddleware(plain, []);
  {
    await using client = withMiddleware(inner, []);
    assertEquals(await client.call("add", [1, 2]), 3);
  }
  assertEquals(plain.state, "closed");
});

test("the fields and setters of a derived client work through middleware", async () => {
  class OwnClient extends JsonRpcClient {
    tenant = "a";
    onPing: ((count: number) => void) | null = null;
    #count = 0;
    get count(): number {
      return this.#count;
    }
    set count(count: number) {
      this.#count = count;
    }
    ping(): void {
      this.onPing?.(++this.#count);
    }
  }
  const [near, far] = linkedSockets();
  testServer().rpc.attach(far);
  await using plain = new OwnClient(near);
  const inner = withMiddleware(plain, []) as OwnClient;
  for (const client of [inner, withMiddleware(inner, []) as OwnClient]) {
    const counts: number[] = [];
    client.tenant += "b";
    client.count = 5;
    client.onPing = (count) => counts.push(count);
    client.ping();
    plain.onPing = (count) => counts.push(-count);
    client.onPing(7);
    plain.ping();
    assertEquals([client.count, plain.count], [7, 7]);
    assertEquals(counts, [6, -7, -7]);
    plain.tenant += "c";
    assertEquals(client.tenant, plain.tenant);
  }
  assertEquals(plain.tenant, "abcbc");
});

test("a test can replace the functions of a client with middleware", async () => {
  const { rpc } = testServer();
  await using plain = await testClient(rpc);
  const client = withMiddleware(plain, []);
  client.call = () => Promise.resolve(5 as never);
  const heard: string[] = [];
  client.addEventListener = (type: string) => void heard.push(type);
  plain.addEventListener("open", () => {});
  client.addEventListener("close", () => {});
  assertEquals(heard, ["close"]);
  assertThrows(() => Object.assign(client, { state: "open" }), TypeError);
  Object.defineProperty(client, "getTopics", { value: () => ["news"] });
  const outer = withMiddleware(client, []);
  assertEquals(await outer.call("add", [1, 2]), 5);
  assertEquals(await outer.getTopics(), ["news"]);
  assertEquals(await plain.call("add", [1, 2]), 3);
});
