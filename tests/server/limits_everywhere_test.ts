/**
 * Each bound just below, at and above its value, over each way by which it can be reached: the same code over
 * WebSocket, POST and GET, and words that name the bound and its value.
 */
import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { test } from "node:test";
import { connect, JsonRpc, JsonRpcClient } from "@x/jsonrpc";
import type { JsonRpcOptions, Limits } from "@x/jsonrpc";
import { linkedSockets } from "@x/jsonrpc/testing";
import { Post, rawPost, rawRequest, RawSocket } from "../helpers/raw_client.ts";
import type { RawClient } from "../helpers/raw_client.ts";
import { quietMoment } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";
import type { LocalServer } from "../helpers/server.ts";
import { call, codesOf, idsOf, notice, result } from "../helpers/messages.ts";
import type { Message } from "../helpers/messages.ts";

/** Frozen, as a careful program has them. */
const SMALL: Partial<Limits> = Object.freeze({
  maxMessageBytes: 1000,
  maxDepth: 6,
  maxValues: 40,
  maxBatch: 5,
  maxInFlight: 3,
  maxSubscriptions: 2,
});

function testServer(options: JsonRpcOptions): JsonRpc {
  return new JsonRpc({ logger: silentLog(), ...options })
    .method("ping", () => "pong")
    .method("echo", { get: true }, (params: unknown) => params)
    .method("later", async () => (await quietMoment(), "done"))
    .method("long", { get: true }, ([length]: [number]) => "x".repeat(length))
    .topic("room.*") as unknown as JsonRpc;
}

/** Asks through GET. Only what has an id can be asked there. */
class Get implements Pick<RawClient, "ask"> {
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
  }

  async ask(message: unknown): Promise<Message> {
    const { method, params, id } = message as { method: string; params?: unknown; id: unknown };
    const search = new URLSearchParams({ method, id: JSON.stringify(id) });
    if (params !== undefined) search.set("params", JSON.stringify(params));
    return await (await fetch(`${this.#url}/?${search}`)).json();
  }
}

type Asked = Pick<RawClient, "ask">;

/** A test over each of these ways to a server with small limits. */
function at(
  carriers: readonly ("WebSocket" | "POST" | "GET")[],
  name: string,
  run: (carrier: Asked, server: LocalServer) => Promise<void>,
  options: JsonRpcOptions = SMALL,
): void {
  for (const carrier of carriers) {
    test(`${name}, over ${carrier}`, async () => {
      await using server = await serveHere(testServer(options));
      if (carrier === "GET") return await run(new Get(server.url), server);
      if (carrier === "POST") return await run(new Post(server.url), server);
      const line = await RawSocket.open(server.url);
      await run(line, server);
      await line.leave();
    });
  }
}

const ALL = ["WebSocket", "POST", "GET"] as const;
const TALKING = ["WebSocket", "POST"] as const;

/** An error in one line: code, message, data. */
function errorLine({ error }: Message): string {
  return `${error?.code} ${error?.message} ${JSON.stringify(error?.data) ?? ""}`.trim();
}

// -- maxMessageBytes --

/** A call of so many bytes. */
function callOf(bytes: number): Message {
  const empty = JSON.stringify(call("echo", 1, [""])).length;
  return call("echo", 1, ["x".repeat(bytes - empty)]);
}

for (const bytes of [999, 1000]) {
  // Its answer is shorter.
  at(TALKING, `maxMessageBytes of 1000 takes a message of ${bytes} bytes`, async (carrier) => {
    const message = callOf(bytes);
    assertEquals(await carrier.ask(message), result(1, message.params));
  });
}

const TOO_BIG = "Request is over 1000 bytes (maxMessageBytes)";

test("maxMessageBytes of 1000 refuses 1001 bytes, over WebSocket", async () => {
  await using server = await serveHere(testServer(SMALL));
  const line = await RawSocket.open(server.url);
  line.send(callOf(1001));
  assertEquals((await line.closed()).code, 1009);
});

test("maxMessageBytes of 1000 refuses 1001 bytes, over POST", async () => {
  await using server = await serveHere(testServer(SMALL));
  const { status, body } = await rawPost(server.url, JSON.stringify(callOf(1001)));
  assertEquals([status, errorLine(JSON.parse(body))], [413, `-32007 ${TOO_BIG}`]);
});

test("maxMessageBytes counts the bytes of characters, not their number", async () => {
  await using server = await serveHere(testServer(SMALL));
  const text = (count: number) => JSON.stringify(call("ping", 1, ["漢".repeat(count)]));
  const fits = Math.floor((1000 - new TextEncoder().encode(text(0)).length) / 3);
  assertEquals(await new Post(server.url).ask(text(fits)), result(1, "pong"));
  assertEquals((await rawPost(server.url, text(fits + 1))).status, 413);
  const line = await RawSocket.open(server.url);
  assertEquals(await line.ask(text(fits)), result(1, "pong"));
  line.send(text(fits + 1));
  assertEquals((await line.closed()).code, 1009);
});

test("maxMessageBytes of 1000 accepts params of 1000 bytes, and refuses 1001, over GET", async () => {
  await using server = await serveHere(testServer({ ...SMALL, maxMessageBytes: 1000 }));
  const ask = (bytes: number) => {
    const path = `/?method=long&id=1&params=[1${"%20".repeat(bytes - 3)}]`;
    return rawRequest(server.url, { path });
  };
  assertEquals(JSON.parse((await ask(1000)).body), result(1, "x"));
  const { status, body } = await ask(1001);
  assertEquals([status, errorLine(JSON.parse(body))], [413, `-32007 ${TOO_BIG}`]);
});

const EMPTY_ANSWER = JSON.stringify(result(1, "")).length;

for (const bytes of [999, 1000]) {
  at(ALL, `maxMessageBytes of 1000 lets an answer of ${bytes} bytes out`, async (carrier) => {
    const length = bytes - EMPTY_ANSWER;
    assertEquals(await carrier.ask(call("long", 1, [length])), result(1, "x".repeat(length)));
  });
}

at(ALL, "maxMessageBytes of 1000 answers -32008 in place of 1001 bytes", async (carrier) => {
  const answer = await carrier.ask(call("long", 1, [1001 - EMPTY_ANSWER]));
  assertEquals(errorLine(answer), "-32008 Response is over 1000 bytes (maxMessageBytes)");
  assertEquals(answer.id, 1);
});

/** Two calls whose answers together have so many bytes. */
function batchOf(bytes: number): Message[] {
  const half = Math.floor(bytes / 2);
  const rest = 2 * EMPTY_ANSWER + "[,]".length;
  return [call("long", 1, [half - rest]), call("long", 2, [bytes - half])];
}

for (const bytes of [999, 1000]) {
  at(
    TALKING,
    `maxMessageBytes of 1000 lets a batch's answer of ${bytes} bytes out`,
    async (carrier) => {
      assertEquals(idsOf(await carrier.ask(batchOf(bytes))), [1, 2]);
    },
  );
}

at(
  TALKING,
  "maxMessageBytes of 1000 answers one -32011 to a batch of 1001 bytes",
  async (carrier) => {
    const text = "-32011 Batch response is over 1000 bytes (maxMessageBytes)";
    assertEquals(errorLine(await carrier.ask(batchOf(1001))), `${text} {"firstId":1}`);
  },
);

// -- maxDepth --

/** Params so deep that the whole message has `depth` levels. */
function deep(depth: number): unknown {
  return JSON.parse("[".repeat(depth) + "]".repeat(depth));
}

at(TALKING, "maxDepth of 6 takes 5 and 6 levels, and answers -32700 to 7", async (carrier) => {
  for (const depth of [5, 6]) {
    assertEquals(await carrier.ask(call("ping", 1, deep(depth - 1))), result(1, "pong"));
  }
  const answer = await carrier.ask(call("ping", 1, deep(6)));
  assertEquals(errorLine(answer), '-32700 Parse error "Over 6 levels deep (maxDepth)"');
  assertEquals(answer.id, null);
});

at(
  ["GET"],
  "maxDepth of 6 takes params of 5 and 6 levels, and answers -32700 to 7",
  async (carrier) => {
    for (const depth of [5, 6]) {
      assertEquals(await carrier.ask(call("echo", 1, deep(depth))), result(1, deep(depth)));
    }
    const answer = await carrier.ask(call("echo", 1, deep(7)));
    assertEquals(errorLine(answer), '-32700 Parse error "Over 6 levels deep (maxDepth)"');
  },
);

// -- maxValues --

for (const [over, around] of [["WebSocket", 4], ["POST", 4], ["GET", 0]] as const) {
  at(
    [over],
    "maxValues of 40 accepts 39 and 40 values, and answers -32700 to 41",
    async (carrier) => {
      // The message itself and its members `jsonrpc`, `method` and `id` are values too.
      const list = (count: number) => Array(count - 1 - around).fill(0);
      for (const count of [39, 40]) {
        assertEquals(await carrier.ask(call("echo", 1, list(count))), result(1, list(count)));
      }
      const answer = await carrier.ask(call("echo", 1, list(41)));
      assertEquals(errorLine(answer), '-32700 Parse error "Over 40 values (maxValues)"');
    },
  );
}

// -- maxBatch --

function pings(count: number): Message[] {
  return Array.from({ length: count }, (_, id) => call("ping", id));
}

at(TALKING, "maxBatch of 5 takes 4 and 5 entries, and answers one -32010 to 6", async (carrier) => {
  for (const count of [4, 5]) {
    assertEquals(await carrier.ask(pings(count)), pings(count).map(({ id }) => result(id, "pong")));
  }
  const text = '-32010 Batch of 6 is over 5 (maxBatch) {"firstId":0}';
  assertEquals(errorLine(await carrier.ask(pings(6))), text);
  assertEquals(errorLine(await carrier.ask([...pings(5), notice("ping")])), text);
});

// -- maxInFlight --

const laters = (count: number) => Array.from({ length: count }, (_, id) => call("later", id));

at(
  TALKING,
  "maxInFlight of 3 runs 2 and 3 calls at once, and answers -32009 to a 4th",
  async (carrier) => {
    for (const count of [2, 3]) {
      assertEquals(codesOf(await carrier.ask(laters(count))), Array(count).fill(undefined));
    }
    const answers = await carrier.ask(laters(4)) as unknown as Message[];
    assertEquals(codesOf(answers), [undefined, undefined, undefined, -32009]);
    assertMatch(errorLine(answers[3] as Message), /3 calls are in flight \(maxInFlight\)/);
    assertEquals(await carrier.ask(call("later", 9)), result(9, "done"));
  },
);

// -- maxSubscriptions --

at(
  ["WebSocket"],
  "maxSubscriptions of 2 takes 1 and 2 topics, and answers -32006 to a 3rd",
  async (carrier) => {
    assertEquals(await carrier.ask(call("subscribe", 1, ["room.1"])), result(1, ["room.1"]));
    const two = ["room.1", "room.2"];
    assertEquals(await carrier.ask(call("subscribe", 2, ["room.2"])), result(2, two));
    const refused = await carrier.ask(call("subscribe", 3, ["room.3"]));
    assertEquals(refused.error?.code, -32006);
    assertMatch(errorLine(refused), /\b2\b.*maxSubscriptions/);
    assertEquals(await carrier.ask(call("get_subscriptions", 4)), result(4, two));
  },
);

// -- none --

// Limits that a client does not read, and so does not check.
const SERVER_ONLY = [
  "maxConnections",
  "maxSubscriptions",
  "maxPerAddress",
  "maxTotalBytes",
  "bodyTimeoutMs",
];
const NONE = Object.freeze(Object.fromEntries(
  [
    "maxMessageBytes",
    "maxDepth",
    "maxValues",
    "maxBatch",
    "maxInFlight",
    "maxSubscriptions",
    "maxConnections",
  ]
    .concat(
      "maxBufferedBytes",
      "heartbeatMs",
      "timeoutMs",
      "maxPerAddress",
      "maxTotalBytes",
      "bodyTimeoutMs",
    ).map((name) => [name, Infinity]),
)) as Partial<Limits>;

at(TALKING, "Infinity takes each bound away", async (carrier) => {
  const long = "x".repeat(2 ** 21);
  assertEquals(await carrier.ask(call("echo", 1, [long])), result(1, [long]));
  assertEquals(await carrier.ask(call("echo", 1, deep(500))), result(1, deep(500)));
  const many = await carrier.ask([...pings(500), ...laters(1500)]);
  assertEquals(codesOf(many), Array(2000).fill(undefined));
}, NONE);

at(["WebSocket"], "Infinity takes the limit of subscriptions away", async (carrier) => {
  const topics = Array.from({ length: 1500 }, (_, n) => `room.${n}`);
  assertEquals(await carrier.ask(call("subscribe", 1, topics)), result(1, topics));
}, NONE);

test("JsonRpcClient accepts Infinity for each limit", async () => {
  const [near, far] = linkedSockets();
  testServer(NONE).attach(far);
  await using client = await connect(near, NONE);
  const long = "x".repeat(2 ** 21);
  assertEquals(await client.call("echo", [long]), [long]);
  assertEquals((await client.batch((b) => pings(500).map(() => b.call("ping")))).length, 500);
});

// -- wrong values --

for (const name of Object.keys(NONE)) {
  const sides = SERVER_ONLY.includes(name)
    ? "new JsonRpc() refuses"
    : "new JsonRpc() and new JsonRpcClient() refuse";
  test(`${sides} a wrong ${name}, and say what they got`, () => {
    for (const [value, got] of [[-1, "`-1` (number)"], ["9", "`9` (string)"], [1.5, "`1.5`"]]) {
      const options = { [name]: value } as Partial<Limits>;
      const least = name.endsWith("Ms") ? 0 : 1;
      const text =
        `Expected \`${name}\` to be a whole number from ${least}, or Infinity, got ${got}`;
      assertThrows(() => new JsonRpc(options), RangeError, text);
      if (SERVER_ONLY.includes(name)) continue;
      assertThrows(() => new JsonRpcClient("ws://localhost", options), RangeError, text);
    }
  });
}
