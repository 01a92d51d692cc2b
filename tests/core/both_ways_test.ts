import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  connect,
  JsonRpc,
  RpcConnectionError,
  RpcError,
  RpcInternalError,
  RpcInvalidParamsError,
  RpcMethodNotFoundError,
  RpcServerError,
} from "@x/jsonrpc";
import type { Connection, RpcRequest } from "@x/jsonrpc";
import { pair } from "../helpers/client.ts";
import { deferred, quietMoment, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";
import { bareClient } from "../helpers/wire.ts";

/** The one connection of a server. */
async function only(
  rpc: { connections: Iterable<Connection> & { size: number } },
): Promise<Connection> {
  await until(() => rpc.connections.size === 1);
  const [connection] = rpc.connections;
  return connection as Connection;
}

/** Counts down by calling the other side, which does the same. */
async function countdown([n]: [number], request: RpcRequest): Promise<number[]> {
  return n === 0 ? [0] : [n, ...await request.call<number[]>("countdown", [n - 1])];
}

test("request.call() calls the caller while its own call is open", async () => {
  const rpc = new JsonRpc().method("greet", async (_params: unknown, request) => {
    const name = await request.call<string>("name", { polite: true });
    return `Hello, ${name}`;
  });
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.ws);
  client.method("name", ({ polite }: { polite: boolean }) => polite ? "Ms Ada" : "Ada");
  assertEquals(await client.call("greet"), "Hello, Ms Ada");
});

test("request.confirm() asks the method confirm with a message", async () => {
  const rpc = new JsonRpc().method(
    "format",
    async (_params: unknown, request) => await request.confirm("Really?") ? "formatted" : "kept",
  );
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.ws);
  const asked: string[] = [];
  client.method("confirm", ({ message }: { message: string }) => asked.push(message) === 2);
  assertEquals(await client.call("format"), "kept");
  assertEquals(await client.call("format"), "formatted");
  assertEquals(asked, ["Really?", "Really?"]);
});

test("request.notify() reaches the caller before the answer does", async () => {
  const rpc = new JsonRpc().method("work", (_params: unknown, request) => {
    request.notify("log", ["began"]);
    request.notify("nowhere", ["nobody minds"]);
    request.notify("log", ["ended"]);
    return "done";
  });
  await using server = await serveHere(rpc);
  const logger = silentLog();
  await using client = await connect<typeof rpc>(server.ws, { logger });
  const events: unknown[] = [];
  client.method("log", (params) => void events.push(params));
  await client.call("work").then((result) => events.push(result));
  assertEquals(events, [["began"], ["ended"], "done"]);
  assertEquals(logger.lines, []);
});

test("request.progress() reaches onProgress of its own call, in order, until the answer", async () => {
  const rpc = new JsonRpc().method("count", async ([to]: [number], request) => {
    for (let n = 0; n < to; n++) {
      request.progress({ n });
      await quietMoment();
    }
    setTimeout(() => request.progress("too late"));
    return to;
  });
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.ws);
  const got: unknown[][] = [[], []];
  const calls = got.map((values, index) =>
    client.call("count", [index + 2], { onProgress: (value) => values.push(value) })
  );
  assertEquals(await Promise.all(calls), [2, 3]);
  await client.call("count", [3]);
  assertEquals(got, [[{ n: 0 }, { n: 1 }], [{ n: 0 }, { n: 1 }, { n: 2 }]]);
});

test("request.progress() says nothing when its call was a notification", async () => {
  const rpc = new JsonRpc().method("work", (_params: unknown, request) => request.progress(1));
  const wire = bareClient(rpc);
  wire.call(undefined, "work");
  wire.call(0, "work");
  assertEquals(await wire.next(), {
    jsonrpc: "2.0",
    method: "$/progress",
    params: { token: 0, value: 1 },
  });
  assertEquals((await wire.next()).id, 0);
  wire.close();
});

for (const how of ["throws", "rejects"]) {
  test(`onProgress that ${how} is logged, and the call goes on`, async () => {
    const rpc = new JsonRpc().method("work", (_params: unknown, request) => {
      request.progress(1);
      return "done";
    });
    const logger = silentLog();
    await using client = await pair(rpc, { logger });
    const failure = new Error("not in the mood");
    const onProgress = () => {
      if (how === "rejects") return Promise.reject(failure);
      throw failure;
    };
    assertEquals(await client.call("work", undefined, { onProgress }), "done");
    await until(() => logger.lines.length > 0);
    assertStringIncludes(logger.text, "not in the mood");
  });
}

test("connection.call() calls a client out of the blue, with progress", async () => {
  const rpc = new JsonRpc();
  await using server = await serveHere(rpc);
  await using client = await connect(server.ws);
  client.method("measure", async ([unit]: [string], request) => {
    request.progress("measuring");
    await quietMoment();
    return `42 ${unit}`;
  });
  const values: unknown[] = [];
  const onProgress = (value: unknown) => values.push(value);
  const connection = await only(rpc);
  assertEquals(await connection.call("measure", ["mm"], { onProgress }), "42 mm");
  assertEquals(values, ["measuring"]);
});

test("connection.notify() reaches a method of the client, and is silent where there is none", async () => {
  const rpc = new JsonRpc().method("ping", () => "pong");
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.ws);
  const got: unknown[] = [];
  client.method("note", (params) => got.push(params));
  const connection = await only(rpc);
  connection.notify("nowhere");
  connection.notify("note", { n: 1 });
  connection.notify("note");
  await client.call("ping");
  assertEquals(got, [{ n: 1 }, undefined]);
});

test("client.method() gets the request, with the server as its connection", async () => {
  const rpc = new JsonRpc().method("double", ([n]: [number]) => 2 * n);
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.ws);
  client.method("ask", async ([n]: [number], { method, id, user, connection }) => [
    method,
    typeof id,
    user,
    connection.isOpen,
    await connection.call("double", [n]),
  ]);
  const answer = await (await only(rpc)).call("ask", [4]);
  assertEquals(answer, ["ask", "number", null, true, 8]);
});

test("request.call() can be nested ten deep", async () => {
  const rpc = new JsonRpc().method("countdown", countdown);
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.ws);
  client.method("countdown", countdown);
  assertEquals(await client.call("countdown", [10]), [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
});

test("request.call() can be nested in 1,000 calls at once", async () => {
  const rpc = new JsonRpc({ maxInFlight: 5000 }).method("countdown", countdown);
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.ws, { maxInFlight: 5000 });
  client.method("countdown", countdown);
  const calls = Array.from({ length: 1000 }, () => client.call("countdown", [4]));
  assertEquals(await Promise.all(calls), Array(1000).fill([4, 3, 2, 1, 0]));
});

test("request.call() can be nested in the calls of a batch", async () => {
  const rpc = new JsonRpc().method("countdown", countdown);
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.ws);
  client.method("countdown", countdown);
  const results = await client.batch((b) => [b.call("countdown", [1]), b.call("countdown", [2])]);
  assertEquals(results, [[1, 0], [2, 1, 0]]);
});

test("maxInFlight brings no deadlock when both sides are full of calls to each other", async () => {
  const limits = { maxInFlight: 10, logger: silentLog() };
  const all = deferred();
  let begun = 0;
  // Full on both sides before anybody asks back: each nested call finds no place.
  const askBack = async (_params: unknown, request: RpcRequest) => {
    if (++begun === 20) all.resolve();
    await all.promise;
    return await request.call("echo", [begun]).catch(({ code }) => code);
  };
  const rpc = new JsonRpc(limits).method("askBack", askBack).method("echo", () => "echo");
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.ws, limits);
  client.method("askBack", askBack);
  client.method("echo", () => "echo");
  const connection = await only(rpc);
  const calls = Array.from({ length: 10 }, () => [
    client.call("askBack"),
    connection.call("askBack"),
  ]).flat();
  for (const answer of await Promise.all(calls)) assert(answer === -32009 || answer === "echo");
  assertEquals(await client.call("echo"), "echo");
  assertEquals(await connection.call("echo"), "echo");
});

test("maxInFlight does not count the answers to one's own calls", async () => {
  const rpc = new JsonRpc({ maxInFlight: 1 }).method(
    "askMuch",
    async (_params: unknown, request) => {
      const calls = Array.from({ length: 50 }, (_, n) => request.call<number>("later", [n]));
      return (await Promise.all(calls)).length;
    },
  );
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.ws);
  client.method("later", async ([n]: [number]) => {
    await quietMoment();
    return n;
  });
  assertEquals(await client.call("askMuch"), 50);
});

test("request.call() rejects with RpcMethodNotFoundError when the client has no such method", async () => {
  const rpc = new JsonRpc().method(
    "ask",
    (_params: unknown, request) =>
      request.call("nowhere").catch((
        error,
      ) => [error instanceof RpcMethodNotFoundError, error.code]),
  );
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.ws);
  assertEquals(await client.call("ask"), [true, -32601]);
  for (const name of ["constructor", "toString", "__proto__"]) {
    await assertRejects(async () => (await only(rpc)).call(name), RpcMethodNotFoundError);
  }
});

const failures: Readonly<Record<string, readonly [thrown: unknown, type: unknown, code: number]>> =
  {
    "an RpcError": [new RpcError(7, "seven", { data: [7] }), RpcError, 7],
    "an RpcInvalidParamsError": [new RpcInvalidParamsError(), RpcInvalidParamsError, -32602],
    "an RpcServerError": [new RpcServerError(-32050, "no"), RpcServerError, -32050],
    "an Error": [new Error("secret detail"), RpcInternalError, -32603],
    "a string": ["secret detail", RpcInternalError, -32603],
    "undefined": [undefined, RpcInternalError, -32603],
    "null": [null, RpcInternalError, -32603],
    "0": [0, RpcInternalError, -32603],
  };

for (const [what, [thrown, type, code]] of Object.entries(failures)) {
  for (const manner of ["throws", "rejects with"]) {
    test(`connection.call() rejects with ${code} when the client's handler ${manner} ${what}`, async () => {
      const rpc = new JsonRpc();
      const logger = silentLog();
      await using client = await pair(rpc, { logger });
      client.method("fail", () => {
        if (manner === "throws") throw thrown;
        return Promise.reject(thrown);
      });
      const error = await assertRejects(async () => (await only(rpc)).call("fail"), type);
      assertEquals(error.code, code);
      assertEquals(error.data, (thrown as RpcError | undefined)?.data);
      assert(!String(error.message).includes("secret"));
      assertEquals(logger.text.includes('Method "fail" failed'), !(thrown instanceof RpcError));
    });
  }
}

test("request.call() rejects when the caller came over HTTP", async () => {
  const rpc = new JsonRpc().method(
    "ask",
    (_params: unknown, request) =>
      request.call("any").catch((error) => [error instanceof RpcConnectionError, error.outcome]),
  );
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.url);
  assertEquals(await client.call("ask"), [true, "unsent"]);
});

test("request.call() rejects with TypeError or RangeError when the params cannot be sent", async () => {
  const rpc = new JsonRpc({ maxMessageBytes: 1000 });
  const wire = bareClient(rpc);
  const connection = await only(rpc);
  await assertRejects(() => connection.call("any", "text"), TypeError);
  await assertRejects(() => connection.call("any", [1n]), TypeError);
  await assertRejects(() => connection.call("any", ["x".repeat(1000)]), RangeError);
  assertThrows(() => connection.notify("any", 1), TypeError);
  assertThrows(() => connection.notify("any", ["x".repeat(1000)]), RangeError);
  assertEquals(wire.received, []);
  wire.close();
});
