import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { afterAnswer } from "../../src/core/server_request.ts";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  connect,
  ErrorCode,
  guard,
  JsonRpc,
  RpcConnectionError,
  RpcError,
  RpcFailure,
  RpcInternalError,
  RpcInvalidParamsError,
  RpcInvalidRequestError,
  RpcMethodNotFoundError,
  RpcServerError,
  RpcTimeoutError,
} from "@x/jsonrpc";
import type { Logger } from "@x/jsonrpc";
import * as clientDoor from "@x/jsonrpc/client";
import { RpcParseError } from "@x/jsonrpc/client";
import { describeError, errorFrom } from "../../src/protocol/errors.ts";
import { pair } from "../helpers/client.ts";
import { quietMoment, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { scriptFile } from "../helpers/script_file.ts";
import { serveHere } from "../helpers/server.ts";
import { bareClient } from "../helpers/wire.ts";
import type { WireMessage } from "../helpers/wire.ts";

const standard = [
  [RpcParseError, -32700, "Parse error"],
  [RpcInvalidRequestError, -32600, "Invalid Request"],
  [RpcMethodNotFoundError, -32601, "Method not found"],
  [RpcInvalidParamsError, -32602, "Invalid params"],
  [RpcInternalError, -32603, "Internal error"],
] as const;

// -- the classes --

for (const [type, code, message] of standard) {
  test(`new ${type.name}() has the code and the words of the specification`, () => {
    const error = new type();
    assertEquals([error.code, error.message, error.name], [code, message, type.name]);
    assertEquals([error.data, error.cause], [undefined, undefined]);
    assertInstanceOf(error, RpcError);
    assertInstanceOf(error, Error);
  });

  test(`new ${type.name}() takes other words, data and a cause`, () => {
    const cause = new Error("why");
    const error = new type({ message: "Words", data: { a: 1 }, cause });
    assertEquals([error.code, error.message, error.data], [code, "Words", { a: 1 }]);
    assertStrictEquals(error.cause, cause);
  });
}

test("new RpcError() takes any integer for a code", () => {
  for (const code of [0, 1, -1, 402, -32000, -32768, Number.MAX_SAFE_INTEGER]) {
    assertEquals(new RpcError(code, "any").code, code);
  }
});

for (const code of [1.5, NaN, Infinity, "1", undefined, null, 2 ** 53]) {
  test(`new RpcError() throws RangeError when its code is ${JSON.stringify(code)} (${typeof code})`, () => {
    assertThrows(() => new RpcError(code as number, "any"), RangeError, "integer");
  });
}

test("new RpcServerError() takes codes from -32099 to -32000, and throws RangeError for others", () => {
  for (const code of [-32000, -32050, -32099]) {
    assertEquals(new RpcServerError(code, "any").code, code);
  }
  for (const code of [-31999, -32100, 0, 1, -32603, -32000.5]) {
    assertThrows(() => new RpcServerError(code, "any"), RangeError);
  }
});

test("ErrorCode cannot be changed", () => {
  assert(Object.isFrozen(ErrorCode));
  assertEquals(ErrorCode.serverBusy, -32009);
});

test("`./client` exports the same error classes as the main module", () => {
  for (const [type] of standard) assertStrictEquals(clientDoor[type.name as "RpcParseError"], type);
  assertStrictEquals(clientDoor.RpcError, RpcError);
  assertStrictEquals(clientDoor.RpcServerError, RpcServerError);
  assertStrictEquals(clientDoor.RpcConnectionError, RpcConnectionError);
  assertStrictEquals(clientDoor.RpcTimeoutError, RpcTimeoutError);
});

test("errorFrom() gives the class that belongs to the code", () => {
  for (const [type, code] of standard) {
    const error = errorFrom(code, "Words", [1]);
    assertStrictEquals(error.constructor, type);
    assertEquals([error.code, error.message, error.data], [code, "Words", [1]]);
  }
  for (const code of [-32000, -32099]) {
    assertStrictEquals(errorFrom(code, "").constructor, RpcServerError);
  }
  for (const code of [0, -31999, -32100, -32800]) {
    assertStrictEquals(errorFrom(code, "").constructor, RpcError);
  }
});

test("describeError() tells stacks and the chain of causes, once each", () => {
  const root = new RangeError("root");
  const middle = new Error("middle", { cause: root });
  const error = new TypeError("outside", { cause: middle });
  const text = describeError(error);
  for (const each of [error, middle, root]) assertStringIncludes(text, each.stack);
  assertEquals(text.split("Caused by: ").length, 3);
  root.cause = error;
  assertEquals(describeError(error).split("Caused by: ").length, 3);
});

const printed: readonly (readonly [thrown: unknown, text: string])[] = [
  ["text", '"text"'],
  ["", '""'],
  [0, "0"],
  [-1.5, "-1.5"],
  [1n, "1"],
  [null, "null"],
  [undefined, "undefined"],
  [false, "false"],
  [Symbol("a"), "Symbol(a)"],
  [Object.create(null), "unprintable"],
  [new Error("outside", { cause: "inside" }), 'Caused by: "inside"'],
];

for (const [thrown, text] of printed) {
  test(`describeError() tells of anything thrown: ${text}`, () => {
    assertStringIncludes(describeError(thrown), text);
  });
}

// -- over the wire --

const thrown: readonly RpcError[] = [
  ...standard.map(([type]) => new type()),
  ...standard.map(([type]) => new type({ message: "Other words", data: { list: [1, "a", null] } })),
  new RpcServerError(-32000, "First"),
  new RpcServerError(-32099, "Last", { data: "text" }),
  new RpcError(402, "Pay", { data: { missing: 3 } }),
  new RpcError(0, ""),
  new RpcError(-1, 'Quotes " and ä€😀', { data: null }),
  new RpcError(1, "Falsy data", { data: 0 }),
  new RpcError(2, "Empty data", { data: "" }),
];

/** A method that throws, or rejects with, one of these errors. */
function failing([nth, later]: [number, boolean]): unknown {
  if (later) return Promise.reject(thrown[nth]);
  throw thrown[nth];
}

async function assertThrownAgain(
  call: (params: [number, boolean]) => Promise<unknown>,
): Promise<void> {
  for (const [nth, original] of thrown.entries()) {
    for (const later of [false, true]) {
      const error = await assertRejects(() => call([nth, later]), original.constructor);
      assertStrictEquals(error.constructor, original.constructor);
      const { code, message, data } = original;
      assertEquals([error.code, error.message, error.data], [code, message, data]);
    }
  }
}

for (const way of ["ws", "url"] as const) {
  test(`an RpcError thrown by the server is the same error at the client, over ${way}`, async () => {
    const logger = silentLog();
    const rpc = new JsonRpc({ logger }).method("fail", failing);
    await using server = await serveHere(rpc);
    await using client = await connect<typeof rpc>(server[way]);
    await assertThrownAgain((params) => client.call("fail", params));
    assertEquals(logger.lines, []);
  });
}

test("an RpcError thrown by the client is the same error at the server", async () => {
  const logger = silentLog();
  const rpc = new JsonRpc();
  await using server = await serveHere(rpc);
  await using client = await connect(server.ws, { logger });
  client.method("fail", failing);
  await until(() => rpc.connections.size === 1);
  const [connection] = rpc.connections;
  await assertThrownAgain((params) => connection?.call("fail", params) as Promise<unknown>);
  assertEquals(logger.lines, []);
});

test("an RpcError of a subclass is answered by its code, and caught as the class of that code", async () => {
  class TooPoor extends RpcServerError {
    constructor() {
      super(-32042, "Too poor", { data: 3 });
    }
  }
  const rpc = new JsonRpc().method("pay", () => {
    throw new TooPoor();
  });
  await using client = await pair(rpc);
  const error = await assertRejects(() => client.call("pay"), RpcServerError, "Too poor");
  assertEquals([error.code, error.data], [-32042, 3]);
});

test("an RpcError's cause is logged and stays on its side", async () => {
  const logger = silentLog();
  const rpc = new JsonRpc({ logger }).method("fail", () => {
    throw new RpcError(7, "Seven", { cause: new Error("secret detail") });
  });
  const wire = bareClient(rpc);
  wire.call(1, "fail");
  assertEquals((await wire.next()).error, { code: 7, message: "Seven" });
  assertStringIncludes(logger.text, "secret detail");
  wire.close();
});

test("an RpcError whose data has no JSON is answered with -32603 and logged", async () => {
  const logger = silentLog();
  const rpc = new JsonRpc({ logger }).method("fail", () => {
    throw new RpcError(7, "secret", { data: { deep: 1n } });
  });
  const wire = bareClient(rpc);
  wire.call(1, "fail");
  assertEquals((await wire.next()).error, { code: -32603, message: "Internal error" });
  assertStringIncludes(logger.text, 'Method "fail" failed');
  wire.close();
});

// -- what is no RpcError --

class Lookalike extends Error {
  readonly code = 7;
  readonly data = "secret data";
}

const secrets: Readonly<Record<string, () => unknown>> = {
  "an Error": () => new Error("secret detail", { cause: new RangeError("secret cause") }),
  "an Error that looks like an RpcError": () => new Lookalike("secret detail"),
  "an object that looks like one": () => ({ code: 7, message: "secret detail", data: "secret" }),
  "an object that looks like an answer": () => ({ error: { code: 7, message: "secret" } }),
  "an AggregateError": () => new AggregateError([new Error("secret one")], "secret detail"),
  "a DOMException": () => new DOMException("secret detail", "AbortError"),
  "a text": () => "secret detail",
  "the empty text": () => "",
  "0": () => 0,
  "false": () => false,
  "null": () => null,
  "undefined": () => undefined,
  "NaN": () => NaN,
  "a BigInt": () => 0n,
  "a symbol": () => Symbol("secret"),
  "a promise": () => Promise.resolve("secret"),
  "an object without a prototype": () => Object.create(null),
  "an RpcConnectionError": () => new RpcConnectionError("secret detail"),
};

for (const [what, make] of Object.entries(secrets)) {
  for (const manner of ["throws", "rejects with"]) {
    test(`a method that ${manner} ${what} is answered with a bland -32603`, async () => {
      const logger = silentLog();
      const rpc = new JsonRpc({ logger }).method("ping", () => "pong").method("fail", () => {
        if (manner === "throws") throw make();
        return Promise.reject(make());
      });
      const wire = bareClient(rpc);
      wire.call(1, "fail");
      wire.send([{ jsonrpc: "2.0", method: "fail", id: 2 }]);
      wire.call(undefined, "fail");
      wire.call(3, "ping");
      const answers = (await wire.some(3)).flat() as WireMessage[];
      const error = { code: -32603, message: "Internal error" };
      const sorted = answers.toSorted((a, b) => Number(a.id) - Number(b.id));
      assertEquals(sorted, [
        { jsonrpc: "2.0", error, id: 1 },
        { jsonrpc: "2.0", error, id: 2 },
        { jsonrpc: "2.0", result: "pong", id: 3 },
      ]);
      await quietMoment();
      assert(!wire.received.join().includes("secret"));
      assertEquals(logger.lines.length, 3);
      for (const line of logger.lines) assertStringIncludes(line, 'error: Method "fail" failed: ');
      wire.close();
    });
  }
}

test("the log tells method, stack and causes of what failed", async () => {
  const logger = silentLog();
  const rpc = new JsonRpc({ logger }).addMethods("shop", {
    sell() {
      throw new TypeError("no stock", { cause: new Error("store is closed") });
    },
  });
  await using client = await pair(rpc);
  await assertRejects(() => client.call("shop.sell", undefined as never), RpcInternalError);
  const traces = [
    'Method "shop.sell" failed',
    "TypeError: no stock",
    "errors_test.ts",
    "Caused by: Error: store is closed",
  ];
  for (const trace of traces) assertStringIncludes(logger.text, trace);
});

for (const way of ["ws", "url"] as const) {
  test(`JsonRpc goes on after a thousand failures, over ${way}`, async () => {
    const rpc = new JsonRpc({ logger: silentLog() }).method("ping", () => "pong").method(
      "fail",
      () => {
        throw new Error("secret detail");
      },
    );
    await using server = await serveHere(rpc);
    await using client = await connect<typeof rpc>(server[way]);
    const calls = Array.from(
      { length: 10 },
      () =>
        client.batch((b) =>
          Array.from({ length: 100 }, () => b.call("fail").catch(({ code }) => code))
        ),
    );
    assertEquals((await Promise.all(calls)).flat(), Array(1000).fill(-32603));
    assertEquals(await client.call("ping"), "pong");
  });
}

/** A name that would be a line of its own in a log, and more than one cares to read. */
const FORGED = `x" failed\nerror: FORGED ${"y".repeat(10_000)}`;

type Say = readonly [method: string, params?: unknown, id?: number];

const logged: Readonly<Record<string, readonly [rpc: (logger: Logger) => JsonRpc, say: Say]>> = {
  "a layer that fails": [
    (logger) => new JsonRpc({ logger }).use(fail),
    [FORGED, undefined, 1],
  ],
  "a guard that fails": [
    (logger) => new JsonRpc({ logger }).use(guard(fail)),
    [FORGED, undefined, 1],
  ],
  "a guard that gives no boolean": [
    (logger) => new JsonRpc({ logger }).use(guard((() => 1) as never)),
    [FORGED, undefined, 1],
  ],
  "a topic's guard that fails": [
    (logger) => {
      const rpc = new JsonRpc({ logger });
      rpc.topic("room.*", { guards: [guard(fail)] });
      return rpc;
    },
    ["subscribe", "room.\nerror: FORGED", 1],
  ],
  "what is left for afterwards and fails": [
    (logger) =>
      new JsonRpc({ logger }).use((request) => {
        afterAnswer(request, fail);
        return "answered";
      }),
    [FORGED, undefined, 1],
  ],
  "a notification that is one too many": [
    (logger) => {
      const rpc = new JsonRpc({ logger, maxInFlight: 1 });
      return rpc.use(({ id }) => id === 0 ? new Promise(() => {}) : null);
    },
    [FORGED],
  ],
};

function fail(): never {
  throw new Error("a reason");
}

for (const [what, [make, [method, params, id]]] of Object.entries(logged)) {
  test(`the log tells of ${what} in no line that the caller made up, and in a short one`, async () => {
    const logger = silentLog();
    const wire = bareClient(make(logger));
    wire.call(0, "wait");
    wire.call(id, method, params);
    await until(() => logger.lines.length > 0 && /FORGED/.test(logger.text));
    assert(!/^error: FORGED/m.test(logger.text), logger.text.slice(0, 300));
    for (const line of logger.text.split("\n")) {
      assert(line.length < 400, `${line.length} characters`);
    }
    wire.close();
  });
}

test("an error of a second copy of the package is one of the same class", async () => {
  const source = await readFile(new URL("../../src/protocol/errors.ts", import.meta.url), "utf8");
  await using file = await scriptFile(source);
  const copy: typeof import("../../src/protocol/errors.ts") = await import(
    pathToFileURL(file.path).href
  );
  assert(copy.RpcError !== RpcError);
  const foreign = new copy.RpcError(402, "Not enough money");
  assert(foreign instanceof RpcError && foreign instanceof RpcFailure);
  assert(!(foreign instanceof RpcInvalidParamsError) && !(foreign instanceof RpcConnectionError));
  assert(new copy.RpcInvalidParamsError() instanceof RpcInvalidParamsError);
  assert(new copy.RpcConnectionError("gone") instanceof RpcConnectionError);
  assert(new copy.RpcTimeoutError("late") instanceof RpcTimeoutError);
  assert(!(new copy.RpcTimeoutError("late") instanceof RpcError));
  class Mine extends RpcError {}
  assert(!(foreign instanceof Mine) && new Mine(1, "mine") instanceof RpcError);
  for (const value of [undefined, null, 1, {}, new Error("plain")]) {
    assert(!(value instanceof RpcFailure));
  }
  const rpc = new JsonRpc().method("pay", () => {
    throw foreign;
  });
  await using client = await pair(rpc);
  const error = await assertRejects(() => client.call("pay"), RpcError, "Not enough money");
  assertEquals(error.code, 402);
});
