import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  connect,
  JsonRpc,
  rawJson,
  RpcError,
  RpcInternalError,
  RpcInvalidParamsError,
  RpcMethodNotFoundError,
} from "@x/jsonrpc";
import { pair } from "../helpers/client.ts";
import { quietMoment } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";
import { bareClient } from "../helpers/wire.ts";

/** What a server knew before anything was registered. */
const BUILT_IN = await methodsOf(new JsonRpc());

async function methodsOf(rpc: Pick<JsonRpc, "attach">): Promise<string[]> {
  const wire = bareClient(rpc);
  wire.call(1, "get_methods");
  const { result } = await wire.next();
  wire.close();
  return result as string[];
}

/** The names that were registered, in their order. */
async function addedTo(rpc: Pick<JsonRpc, "attach">): Promise<string[]> {
  return (await methodsOf(rpc)).filter((name) => !BUILT_IN.includes(name));
}

class Base {
  protected total = 0;
  add([n]: [number]) {
    return this.total += n;
  }
  name() {
    return "base";
  }
  static made() {
    return "static";
  }
}

class Counter extends Base {
  readonly label = "counter";
  readonly arrow = () => this.total;
  #secret = 7;
  override name() {
    return `counter over ${super.name()}`;
  }
  secret() {
    return this.#secret;
  }
  _private() {
    return "private";
  }
  get touched(): never {
    throw new Error("a getter was touched");
  }
  set written(_value: unknown) {
    throw new Error("a setter was touched");
  }
}

// -- method() --

test("method() answers with what the handler returns or resolves with", async () => {
  const rpc = new JsonRpc()
    .method("now", () => ({ a: [1, null] }))
    .method("soon", async () => {
      await quietMoment();
      return "soon";
    })
    .method("nothing", () => {})
    .method("thenable", () => ({ then: (resolve: (value: number) => void) => resolve(7) }));
  await using client = await pair(rpc);
  assertEquals(await client.call("now"), { a: [1, null] });
  assertEquals(await client.call("soon"), "soon");
  assertStrictEquals(await client.call("nothing"), null);
  assertEquals(await client.call("thenable") as unknown, 7);
});

test("method() passes params on as they came", async () => {
  const rpc = new JsonRpc().method("echo", (params: unknown) => ({ params, kind: typeof params }));
  const wire = bareClient(rpc);
  for (const params of [[], [1, [2]], {}, { a: { b: 1 } }]) {
    wire.call(1, "echo", params);
    assertEquals((await wire.next()).result, { params, kind: "object" });
  }
  for (const params of [undefined, null]) {
    wire.call(1, "echo", params);
    assertEquals((await wire.next()).result, { kind: "undefined" });
  }
  wire.close();
});

test("method() passes params with an own member __proto__ on, and changes no prototype", async () => {
  const rpc = new JsonRpc().method(
    "look",
    { names: ["a"] },
    (params: { a?: unknown; polluted?: unknown }) => [
      Object.hasOwn(params, "__proto__"),
      params.polluted === undefined,
      ({} as { polluted?: unknown }).polluted === undefined,
    ],
  );
  const wire = bareClient(rpc);
  wire.send('{"jsonrpc":"2.0","method":"look","params":{"__proto__":{"polluted":1}},"id":1}');
  assertEquals((await wire.next()).result, [true, true, true]);
  wire.close();
});

for (
  const name of [
    "rpc.any",
    "rpc.",
    "$/cancelRequest",
    "",
    "get_methods",
    "get_topics",
    "subscribe",
    "unsubscribe",
    "get_subscriptions",
    "ping",
  ]
) {
  test(`method() throws TypeError when the name is "${name}"`, () => {
    const rpc = new JsonRpc().method("ping", () => "pong");
    assertThrows(() => rpc.method(name as "any", () => 1), TypeError, "Cannot register");
  });
}

test("method() accepts names that only look reserved", async () => {
  const names = [
    "rpc",
    "rpcx.a",
    "RPC.a",
    "$",
    "$a",
    "a.rpc.b",
    "Ping",
    "ä€😀",
    "a b",
    "constructor",
    "__proto__",
  ];
  const rpc = new JsonRpc();
  for (const name of names) rpc.method(name, () => name);
  assertEquals(await addedTo(rpc), names);
  const wire = bareClient(rpc);
  for (const name of names) {
    wire.call(1, name);
    assertEquals((await wire.next()).result, name);
  }
  wire.close();
});

test("method() throws TypeError when the handler is no function", () => {
  for (const handler of [undefined, null, {}, "text"]) {
    assertThrows(() => new JsonRpc().method("any", handler as never), TypeError, "its handler is");
  }
});

test("method() does not find names of prototypes", async () => {
  await using client = await pair(new JsonRpc());
  for (const name of Object.getOwnPropertyNames(Object.prototype)) {
    await assertRejects(
      () => client.call(name as never, undefined as never),
      RpcMethodNotFoundError,
    );
  }
});

// -- names --

const named: readonly (readonly [params: unknown, handed: unknown])[] = [
  [[1, 2], { a: 1, b: 2 }],
  [[1], { a: 1 }],
  [[], {}],
  [{ a: 1, b: 2 }, { a: 1, b: 2 }],
  [{ c: 3 }, { c: 3 }],
  [[null, [2]], { a: null, b: [2] }],
  [undefined, {}],
];

for (const [params, handed] of named) {
  test(`names turn ${JSON.stringify(params)} into ${JSON.stringify(handed)}`, async () => {
    const rpc = new JsonRpc().method("echo", { names: ["a", "b"] }, (params: unknown) => params);
    await using client = await pair(rpc);
    assertEquals(await client.call("echo", params as object), handed);
  });
}

test("names answer -32602 when there are more params than names", async () => {
  const rpc = new JsonRpc().method("echo", { names: ["a", "b"] }, (params: unknown) => params);
  await using client = await pair(rpc);
  const error = await assertRejects(() => client.call("echo", [1, 2, 3]), RpcInvalidParamsError);
  assertEquals(error.data, "Expected at most 2 params (a, b), got 3");
});

test("names may be those of a prototype", async () => {
  const names = ["__proto__", "constructor"];
  const rpc = new JsonRpc().method("own", { names }, (params: object) => Object.keys(params));
  await using client = await pair(rpc);
  assertEquals(await client.call("own", [1, 2] as never), names);
});

// -- params that are no array or object --

for (const scalarParams of [false, true]) {
  test(`scalarParams: ${scalarParams} ${scalarParams ? "takes" : "refuses"} params of any type`, async () => {
    let runs = 0;
    const rpc = new JsonRpc({ scalarParams })
      .method("echo", (params: unknown) => (runs++, params))
      .addMethods("group", { echo: (params: unknown) => (runs++, params) });
    const wire = bareClient(rpc);
    for (const params of ["text", "", 0, 1.5, true, false]) {
      for (const method of ["echo", "group.echo"]) {
        wire.call(1, method, params);
        const { result, error } = await wire.next();
        if (scalarParams) assertEquals(result, params);
        else assertEquals(error?.code, -32600);
      }
    }
    assertEquals(runs, scalarParams ? 12 : 0);
    wire.close();
  });
}

// -- addMethods() --

test("addMethods() registers a function by its name", async () => {
  function double([n]: [number]) {
    return 2 * n;
  }
  const rpc = new JsonRpc().addMethods(double).addMethods("math", double);
  assertEquals(await addedTo(rpc), ["double", "math.double"]);
  const wire = bareClient(rpc);
  wire.call(1, "math.double", [4]);
  assertEquals((await wire.next()).result, 8);
  wire.close();
});

test("addMethods() registers the functions of an object, with `this`", async () => {
  const rpc = new JsonRpc().addMethods("shop", {
    stock: 3,
    sell([n]: [number]) {
      return this.stock -= n;
    },
    _audit: () => "private",
    Item: class {},
    nested: { deeper: () => 1 },
    get price(): number {
      throw new Error("a getter was touched");
    },
    async later() {
      await quietMoment();
      return this.stock;
    },
  });
  assertEquals(await addedTo(rpc), ["shop.sell", "shop.nested.deeper", "shop.later"]);
  await using client = await pair(rpc);
  assertEquals([await client.call("shop.sell", [1]), await client.call("shop.later")], [2, 2]);
});

test("addMethods() registers the methods of a class instance, also inherited ones", async () => {
  const rpc = new JsonRpc().addMethods("counter", new Counter());
  assertEquals((await addedTo(rpc)).sort(), [
    "counter.add",
    "counter.arrow",
    "counter.name",
    "counter.secret",
  ]);
  await using client = await pair(rpc);
  assertEquals(await client.call("counter.add", [2]), 2);
  assertEquals(await client.call("counter.arrow"), 2);
  assertEquals(await client.call("counter.name"), "counter over base");
  assertEquals(await client.call("counter.secret"), 7);
});

test("addMethods() leaves out a method that another member shadows", async () => {
  class Sealed extends Counter {
    override name = "a field" as never;
  }
  const getter = { get: () => assert(false, "a getter was touched") };
  Object.defineProperty(Sealed.prototype, "secret", getter);
  const rpc = new JsonRpc().addMethods(new Sealed());
  assertEquals((await addedTo(rpc)).sort(), ["add", "arrow"]);
});

test("addMethods() registers the functions of a module", async () => {
  const rpc = new JsonRpc().addMethods("timer", await import("../../src/util/timer.ts"));
  assertEquals((await addedTo(rpc)).sort(), ["timer.ref", "timer.unref"]);
  const errors = new JsonRpc().addMethods("errors", await import("../../src/protocol/errors.ts"));
  const functions = [
    "describeError",
    "errorFrom",
    "escapeControls",
    "logFailure",
    "quoted",
    "shortMessage",
  ]
    .map((name) => `errors.${name}`);
  assertEquals((await addedTo(errors)).sort(), functions);
});

test("addMethods() joins prefix and name with the `separator` option", async () => {
  const group = { one: () => 1, two: () => 2 };
  const rpc = new JsonRpc({ separator: "__" }).addMethods("math", group).addMethods("", group)
    .addMethods("a.b", group);
  assertEquals(await addedTo(rpc), [
    "math__one",
    "math__two",
    "one",
    "two",
    "a.b__one",
    "a.b__two",
  ]);
});

test("addMethods() applies its options to each method", async () => {
  const rpc = new JsonRpc().addMethods(
    { echo: (params: unknown) => params, same: (params: unknown) => params },
    { names: ["a"], use: [(_request, next) => ({ inside: next() })] },
  );
  await using client = await pair(rpc);
  assertEquals(await client.call("echo", [1]), { inside: { a: 1 } });
  assertEquals(await client.call("same", [2]), { inside: { a: 2 } });
});

const nothingToAdd: Readonly<Record<string, object>> = {
  "an empty object": {},
  "an object of values": { a: 1, b: "text" },
  "an object of private functions": { _a: () => 1 },
  "an instance without methods": new (class {})(),
  "a function without a name": (() => () => 1)(),
  "a class": Counter,
};

for (const [what, thing] of Object.entries(nothingToAdd)) {
  test(`addMethods() throws TypeError when it is given ${what}`, () => {
    assertThrows(() => new JsonRpc().addMethods("any", thing), TypeError, "Cannot add methods");
  });
}

test("addMethods() throws TypeError when a name is taken or reserved", () => {
  const rpc = new JsonRpc().method("a.ping", () => "pong");
  assertThrows(() => rpc.addMethods("a", { ping: () => 1 }), TypeError, "taken");
  assertThrows(() => rpc.addMethods("rpc", { ping: () => 1 }), TypeError, "reserved");
  assertThrows(() => rpc.addMethods({ subscribe: () => 1 }), TypeError, "taken");
});

// -- results --

test("rawJson() puts JSON text into the answer unchanged", async () => {
  const text = '{ "big": 12345678901234567890,  "text": "ä" }';
  const rpc = new JsonRpc()
    .method("raw", () => rawJson(text))
    .method("later", async () => await Promise.resolve(rawJson(text)));
  const wire = bareClient(rpc);
  wire.call("a", "raw");
  wire.call(null, "later");
  await wire.some(2);
  assertEquals(wire.received, [
    `{"jsonrpc":"2.0","result":${text},"id":"a"}`,
    `{"jsonrpc":"2.0","result":${text},"id":null}`,
  ]);
  wire.close();
});

const cycle: { self?: unknown } = {};
cycle.self = cycle;
const withoutJson: Readonly<Record<string, unknown>> = {
  "a BigInt": 1n,
  "a cycle": cycle,
  "a function": () => 1,
  "a symbol": Symbol("secret"),
  "a toJSON that throws": {
    toJSON() {
      throw new Error("secret detail");
    },
  },
  "a toJSON that gives nothing": { toJSON: () => undefined },
};

for (const [what, value] of Object.entries(withoutJson)) {
  test(`a result that is ${what} is answered with -32603 and logged`, async () => {
    const logger = silentLog();
    const rpc = new JsonRpc({ logger }).method("give", () => value).method("ping", () => "pong");
    await using client = await pair(rpc);
    const error = await assertRejects(() => client.call("give"), RpcInternalError);
    assertEquals([error.message, error.data], ["Internal error", undefined]);
    assertStringIncludes(logger.text, 'error: Method "give" failed');
    assertEquals(await client.call("ping"), "pong");
  });
}

test("timeoutMs of a method may be longer than a timer can be, and then never ends a call", async () => {
  for (const timeoutMs of [2 ** 31 - 1, 2 ** 31, 2 ** 40, Infinity]) {
    const rpc = new JsonRpc().method("late", { timeoutMs }, async () => {
      // A timer of more than that would fire first.
      for (let n = 0; n < 3; n++) await new Promise((resolve) => setTimeout(resolve, 5));
      return "late";
    });
    await using client = await pair(rpc);
    assertEquals(await client.call("late"), "late");
  }
});

test("timeoutMs of a method answers -32002 and aborts request.signal", async () => {
  let signal: AbortSignal | undefined;
  const rpc = new JsonRpc({ logger: silentLog() })
    .method("slow", { timeoutMs: 20 }, (_params: unknown, request) => {
      signal = request.signal;
      return new Promise(() => {});
    })
    .method("quick", { timeoutMs: 60_000 }, () => quietMoment().then(() => "quick"));
  await using server = await serveHere(rpc);
  await using client = await connect<typeof rpc>(server.ws);
  const error = await assertRejects(() => client.call("slow"), RpcError);
  assertEquals([error.code, signal?.aborted], [-32002, true]);
  assertEquals(await client.call("quick"), "quick");
  assertThrows(() => rpc.method("any", { timeoutMs: -1 }, () => 1), RangeError, "timeoutMs");
});

test("method() refuses what is no Standard Schema, and what is no name", () => {
  const rpc = new JsonRpc();
  const add = rpc.method.bind(rpc) as (name: unknown, ...rest: unknown[]) => void;
  for (const option of ["params", "result"]) {
    const expected = `Cannot register "add": its \`${option}\` is no Standard Schema`;
    assertThrows(() => add("add", { [option]: { type: "object" } }, () => 1), TypeError, expected);
    assertThrows(() => add("add", { [option]: null }, () => 1), TypeError, expected);
  }
  for (const name of [undefined, 5, ""]) {
    assertThrows(() => add(name, () => 1), TypeError, "its name is empty");
  }
  add("add", () => 1);
});
