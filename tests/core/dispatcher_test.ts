/**
 * Message → method → answer, through an outlet in memory: what is answered, how often, in which order.
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { test } from "node:test";
import { ServerDispatcher } from "../../src/server/server_dispatcher.ts";
import type { Method } from "../../src/core/dispatcher.ts";
import { RpcError, RpcInternalError } from "../../src/protocol/errors.ts";
import { resolveLimits } from "../../src/protocol/limits.ts";
import type { Limits } from "../../src/protocol/limits.ts";
import { BaseConnection } from "../../src/core/connection.ts";
import { REPLY } from "../../src/core/internal.ts";
import type { IncomingRequest } from "../../src/core/request.ts";
import { afterAnswer, markAnswered } from "../../src/core/server_request.ts";
import type { RpcRequest } from "../../src/core/request.ts";
import { deferred, quietMoment, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { call, checked, codesOf, failure, idsOf, notice, result } from "../helpers/messages.ts";
import type { Message } from "../helpers/messages.ts";

// -- a dispatcher to ask --

type TestHandler = (params: unknown, request: RpcRequest) => unknown;

const HANDSHAKE = { url: "", headers: new Headers(), remoteAddress: undefined, user: null };

/** A caller that is only there. */
class Caller extends BaseConnection {
  readonly isOpen = true;
  readonly bufferedAmount = 0;
  call = () => Promise.reject(new Error("not in this test"));
  notify() {}
  close() {}
}

/** A dispatcher with some methods, and everything that comes out of it. */
class Desk {
  /** How often each message that was handled got its reply. */
  readonly replies: number[] = [];
  readonly log = silentLog();
  readonly settled: unknown[] = [];
  readonly progressed: unknown[] = [];
  /** The calls of `park`, in the order in which they came, for the test to finish. */
  readonly parked: PromiseWithResolvers<unknown>[] = [];
  readonly requests: RpcRequest[] = [];
  readonly dispatcher: ServerDispatcher;

  constructor(methods: Record<string, TestHandler> = {}, limits: Partial<Limits> = {}) {
    const handlers = new Map(Object.entries({ ...this.#methods(), ...methods }));
    const find = (name: string) => toMethod(handlers.get(name), name === "loose");
    const host = { limits: resolveLimits(limits), logger: this.log, find };
    this.dispatcher = new ServerDispatcher(host, new Caller(HANDSHAKE, this.log), () => ({
      get: () => undefined,
      settle: (message) => this.settled.push(message),
      progress: (params) => this.progressed.push(params) > 0,
    }));
  }

  /** Resolves to the answer, or to `undefined` where it is certain that none comes. */
  ask(message: unknown): Promise<unknown> {
    const place = this.replies.push(0) - 1;
    return new Promise((resolve) => {
      const reply = (text: string | undefined, request: IncomingRequest | undefined) => {
        this.replies[place]!++;
        resolve(text === undefined ? undefined : checked(JSON.parse(text)));
        markAnswered(request);
      };
      this.dispatcher.handle(message, { [REPLY]: reply });
    });
  }

  async code(message: unknown): Promise<number | undefined> {
    return (await this.ask(message) as Message | undefined)?.error?.code;
  }

  #methods(): Record<string, TestHandler> {
    return {
      echo: (params) => params,
      loose: (params) => params,
      fail: () => {
        throw new RpcError(1, "no");
      },
      later: async (params) => (await quietMoment(), params),
      laterFail: async () => Promise.reject(await quietMoment()),
      park: (_params, request) => {
        const place = Promise.withResolvers<unknown>();
        this.requests.push(request);
        this.parked.push(place);
        return place.promise;
      },
    };
  }
}

function toMethod(invoke: TestHandler | undefined, scalarParams: boolean): Method | undefined {
  return invoke && { invoke, scalarParams };
}

function cancel(id: unknown): Message {
  return notice("$/cancelRequest", { id });
}

// -- any message --

const almostMessage = fc.dictionary(
  fc.constantFrom("jsonrpc", "method", "params", "id", "result", "error"),
  fc.oneof(fc.jsonValue(), fc.constantFrom<unknown>("2.0", "echo", "later", 1, null)),
);

const anyRequest = fc.record({
  jsonrpc: fc.constant("2.0"),
  method: fc.oneof(
    fc.constantFrom("echo", "loose", "fail", "later", "laterFail"),
    fc.constantFrom("$/cancelRequest", "$/progress", "$/other", "rpc.x", "constructor"),
  ),
  params: fc.jsonValue(),
  id: fc.oneof(fc.string(), fc.integer(), fc.double(), fc.constant(null), fc.jsonValue()),
}, { requiredKeys: ["jsonrpc", "method"] });

const anyEntry = fc.oneof(anyRequest, almostMessage, fc.jsonValue());

test("Dispatcher.handle() replies once, with an answer or none, whatever JSON it sees", async () => {
  const anyMessage = fc.oneof(anyEntry, fc.array(anyEntry));
  await fc.assert(fc.asyncProperty(anyMessage, async (message) => {
    const desk = new Desk();
    await desk.ask(message);
    await quietMoment();
    assertEquals(desk.replies, [1]);
    assertEquals(desk.dispatcher.inFlight, 0);
  }));
});

test("Dispatcher.handle() answers each entry of a batch as it answers the entry alone", async () => {
  await fc.assert(fc.asyncProperty(fc.array(anyEntry, { minLength: 1 }), async (entries) => {
    const flat = entries.filter((entry) => !Array.isArray(entry));
    fc.pre(flat.length > 0);
    const alone = await Promise.all(flat.map((entry) => new Desk().ask(entry)));
    const expected = alone.filter((answer) => answer !== undefined);
    const answers = await new Desk().ask(flat);
    assertEquals(answers, expected.length === 0 ? undefined : expected);
  }));
});

// -- batches --

/** What an entry of a batch can be, and what is answered to it, if anything. */
const kinds = {
  call: [(id: number) => call("echo", id), true],
  parked: [(id: number) => call("park", id), true],
  unknown: [(id: number) => call("nothing", id), true],
  failing: [(id: number) => call("fail", id), true],
  invalid: [(id: number) => ({ id }), true],
  notification: [() => notice("echo"), false],
  parkedNotification: [() => notice("park"), false],
  failingNotification: [() => notice("fail"), false],
  response: [(id: number) => ({ jsonrpc: "2.0", result: 1, id }), false],
} as const;

const anyBatch = fc.array(
  fc.record({
    kind: fc.constantFrom(...Object.keys(kinds) as (keyof typeof kinds)[]),
    finishes: fc.nat(),
    fails: fc.boolean(),
  }),
  { minLength: 1, maxLength: 20 },
);

test("Dispatcher.handle() answers a batch in its order, whatever order its handlers finish in", async () => {
  await fc.assert(fc.asyncProperty(anyBatch, async (plan) => {
    const desk = new Desk();
    const answers = desk.ask(plan.map(({ kind }, id) => kinds[kind][0](id)));
    const parked = plan.filter(({ kind }) => kind.startsWith("parked"))
      .map((step, index) => ({ ...step, ...desk.parked[index]! }));
    for (const { fails, resolve, reject } of parked.sort((a, b) => a.finishes - b.finishes)) {
      fails ? reject(new RpcError(2, "late no")) : resolve("late");
      await null;
    }
    const expected = plan.flatMap(({ kind }, id) => kinds[kind][1] ? [id] : []);
    assertEquals(idsOf(await answers ?? []), expected);
    assertEquals(desk.replies, [1]);
  }));
});

test("Dispatcher.handle() answers an empty batch with one -32600", async () => {
  assertEquals(await new Desk().ask([]), failure(null, -32600));
});

test("Dispatcher.handle() answers each batch in a batch with -32600", async () => {
  assertEquals(codesOf(await new Desk().ask([[], [call("echo", 1)], [[]]])), Array(3).fill(-32600));
});

test("Dispatcher.handle() waits for the slow ones of a batch and holds no other message up", async () => {
  const desk = new Desk();
  const batch = desk.ask([call("park", 1), call("echo", 2)]);
  assertEquals(await desk.ask(call("echo", 3)), result(3));
  assertEquals(desk.replies, [0, 1]);
  desk.parked[0]!.resolve("at last");
  assertEquals(await batch, [result(1, "at last"), result(2)]);
});

test("Dispatcher.handle() takes a batch of maxBatch entries, and one more is one -32010", async () => {
  const batchOf = (size: number) => Array.from({ length: size }, (_, index) => call("echo", index));
  const desk = new Desk({}, { maxBatch: 4 });
  assertEquals(idsOf(await desk.ask(batchOf(4))), [0, 1, 2, 3]);
  const { id, error } = await desk.ask(batchOf(5)) as Message;
  assertEquals([id, error?.code, error?.data], [null, -32010, { firstId: 0 }]);
});

test("Dispatcher.handle() runs nothing of a batch over maxBatch", async () => {
  const desk = new Desk({}, { maxBatch: 1 });
  await desk.ask([notice("park"), call("park", 1)]);
  assertEquals(desk.parked.length, 0);
});

test("Dispatcher.handle() settles a batch of answers, however many they are, and answers none", async () => {
  const desk = new Desk({}, { maxBatch: 1 });
  const answers = [result(1), result(2), failure(3, -32601)];
  assertEquals(await desk.ask(answers), undefined);
  assertEquals(desk.settled, answers);
});

// -- answers that are too long --

test("Dispatcher.handle() answers up to maxMessageBytes, and -32008 beyond", async () => {
  const empty = JSON.stringify(result(1, "")).length;
  const desk = new Desk({}, { maxMessageBytes: empty + 200 });
  assertEquals(await desk.code(call("loose", 1, "a".repeat(200))), undefined);
  assertEquals(await desk.code(call("loose", 1, "a".repeat(201))), -32008);
  assertEquals(await desk.code(call("loose", 1, "é".repeat(100))), undefined);
  assertEquals(await desk.code(call("loose", 1, "é".repeat(101))), -32008);
});

test("Dispatcher.handle() answers -32008 when an error is too long", async () => {
  const talk = () => {
    throw new RpcError(1, "a".repeat(1_000));
  };
  assertEquals(await new Desk({ talk }, { maxMessageBytes: 500 }).code(call("talk", 1)), -32008);
});

test("Dispatcher.handle() answers a batch up to maxMessageBytes, and one -32011 beyond", async () => {
  const batch = [call("loose", "a", "é".repeat(90)), notice("echo"), call("loose", "b", "")];
  const enough = new TextEncoder().encode(
    JSON.stringify([result("a", "é".repeat(90)), result("b", "")]),
  ).length;
  assertEquals(idsOf(await new Desk({}, { maxMessageBytes: enough }).ask(batch)), ["a", "b"]);
  const { id, error } = await new Desk({}, { maxMessageBytes: enough - 1 }).ask(batch) as Message;
  assertEquals([id, error?.code, error?.data], [null, -32011, { firstId: "a" }]);
});

test("Dispatcher.handle() counts brackets and commas of a batch's answer", async () => {
  const batch = Array.from({ length: 9 }, (_, id) => call("loose", id, "a".repeat(40)));
  const enough = JSON.stringify(batch.map(({ id, params }) => result(id, params))).length;
  for (const [missing, answers] of [[0, 9], [1, undefined], [2, undefined]] as const) {
    const desk = new Desk({}, { maxMessageBytes: enough - missing });
    assertEquals((await desk.ask(batch) as unknown[]).length, answers);
  }
});

// -- calls in flight --

test("Dispatcher.handle() runs maxInFlight calls at once and answers -32009 to the next", async () => {
  const desk = new Desk({}, { maxInFlight: 3 });
  const open = [1, 2, 3].map((id) => desk.ask(call("park", id)));
  assertEquals(desk.dispatcher.inFlight, 3);
  assertEquals(await desk.code(call("park", 4)), -32009);
  assertEquals(await desk.code(call("echo", 5)), -32009);
  desk.parked[1]!.resolve("done");
  assertEquals(await open[1], result(2, "done"));
  assertEquals(await desk.code(call("echo", 6)), undefined);
  open.push(desk.ask(call("park", 7)));
  assertEquals(await desk.code(call("park", 8)), -32009);
  desk.parked.forEach(({ resolve }) => resolve("done"));
  assertEquals(idsOf(await Promise.all(open)), [1, 2, 3, 7]);
  assertEquals(desk.dispatcher.inFlight, 0);
});

test("Dispatcher.handle() runs a batch as far as maxInFlight goes, the entries beyond get -32009", async () => {
  const desk = new Desk({}, { maxInFlight: 3 });
  const alone = desk.ask(call("park", 0));
  const batch = desk.ask([1, 2, 3, 4].map((id) => call("park", id)));
  assertEquals(desk.parked.length, 3);
  desk.parked.forEach(({ resolve }) => resolve("done"));
  assertEquals(codesOf(await batch), [undefined, undefined, -32009, -32009]);
  assertEquals(idsOf(await batch), [1, 2, 3, 4]);
  assertEquals(await alone, result(0, "done"));
});

test("Dispatcher.handle() counts notifications as calls in flight, and drops those beyond", async () => {
  const desk = new Desk({}, { maxInFlight: 1 });
  const first = desk.ask(notice("park"));
  assertEquals(await desk.ask(notice("park")), undefined);
  assertEquals(await desk.code(call("echo", 1)), -32009);
  assertEquals(desk.parked.length, 1);
  desk.parked[0]!.resolve("done");
  assertEquals(await first, undefined);
});

test("Dispatcher.handle() takes answers, cancels and progress when maxInFlight is reached", async () => {
  const desk = new Desk({}, { maxInFlight: 1 });
  const open = desk.ask(call("park", 1));
  await desk.ask(result(1));
  await desk.ask(notice("$/progress", { token: 1, value: 5 }));
  await desk.ask(cancel(1));
  assertEquals(desk.settled, [result(1)]);
  assertEquals(desk.progressed, [{ token: 1, value: 5 }]);
  assertEquals(((await open) as Message).error?.code, -32800);
});

// -- cancelling --

test("Dispatcher.handle() answers a cancelled call with -32800 once, and drops what comes later", async () => {
  for (const finish of ["resolve", "reject"] as const) {
    const desk = new Desk();
    const open = desk.ask(call("park", 1));
    assertEquals(await desk.ask(cancel(1)), undefined);
    assertEquals(await open, failure(1, -32800));
    desk.parked[0]![finish]("too late");
    await quietMoment();
    assertEquals(desk.replies, [1, 1]);
  }
});

test("Dispatcher.handle() aborts the signal of a cancelled call, with -32800 as its reason", async () => {
  const desk = new Desk();
  const open = desk.ask(call("park", 1));
  const { signal } = desk.requests[0]!;
  assert(!signal.aborted);
  await desk.ask(cancel(1));
  assert(signal.aborted);
  assertEquals(signal.reason.code, -32800);
  await open;
});

test("Dispatcher.handle() keeps a cancelled call's place until its handler has ended", async () => {
  const desk = new Desk({}, { maxInFlight: 1 });
  const open = desk.ask(call("park", 1));
  await desk.ask(cancel(1));
  await open;
  assertEquals(await desk.code(call("echo", 2)), -32009);
  desk.parked[0]!.resolve("really ended");
  await quietMoment();
  assertEquals(await desk.code(call("echo", 3)), undefined);
});

test("Dispatcher.handle() cancels an entry of a batch, also from within the batch", async () => {
  const desk = new Desk();
  const batch = desk.ask([call("park", 1), call("park", 2), cancel(2)]);
  desk.parked[0]!.resolve("done");
  assertEquals(codesOf(await batch), [undefined, -32800]);
});

test("Dispatcher.handle() cancels by the very id: 1 is not '1', null is an id, none is none", async () => {
  const desk = new Desk();
  const open = [1, "1", null].map((id) => desk.ask(call("park", id)));
  const told = desk.ask(notice("park"));
  for (const params of [undefined, null, [], {}, { id: [1] }, { id: "null" }, "1", [1]]) {
    assertEquals(await desk.ask(notice("$/cancelRequest", params)), undefined);
  }
  assertEquals(desk.replies.slice(0, 4), [0, 0, 0, 0]);
  await desk.ask(cancel("1"));
  await desk.ask(cancel(null));
  assertEquals(desk.replies.slice(0, 4), [0, 1, 1, 0]);
  desk.parked.forEach(({ resolve }) => resolve("done"));
  assertEquals(codesOf(await Promise.all(open)), [undefined, -32800, -32800]);
  assertEquals(await told, undefined);
});

test("Dispatcher.handle() ignores a cancel when the call is answered or unknown", async () => {
  const desk = new Desk();
  await desk.ask(call("echo", 1));
  assertEquals(await desk.ask(cancel(1)), undefined);
  assertEquals(await desk.ask(cancel("never")), undefined);
  assertEquals(desk.replies, [1, 1, 1]);
});

test("Dispatcher.handle() answers each of two calls that share an id, and cancels them one by one", async () => {
  const desk = new Desk();
  const open = [1, 1, 1].map((id) => desk.ask(call("park", id)));
  await desk.ask(cancel(1));
  assertEquals(desk.replies, [1, 0, 0, 1]);
  desk.parked[2]!.resolve("third");
  await desk.ask(cancel(1));
  assertEquals(codesOf(await Promise.all(open)), [-32800, -32800, undefined]);
  desk.parked.forEach(({ resolve }) => resolve("too late"));
  await quietMoment();
  assertEquals(desk.replies, [1, 1, 1, 1, 1]);
});

test("Dispatcher.abort() tells all running handlers why nobody waits any more", async () => {
  const desk = new Desk();
  const open = [1, 2].map((id) => desk.ask(call("park", id)));
  desk.dispatcher.abort("gone");
  assertEquals(desk.requests.map(({ signal }) => signal.reason), ["gone", "gone"]);
  desk.parked.forEach(({ resolve }) => resolve("done"));
  await Promise.all(open);
});

// -- handlers that misbehave --

test("Dispatcher.handle() answers a bland -32603 and logs once, whatever a handler throws", async () => {
  const odd = [undefined, null, 0, NaN, "", false, 1n, Symbol("secret"), () => "secret", {}, []];
  const telling = ["secret", { code: 1, message: "secret" }, new TypeError("secret")];
  for (const thrown of [...odd, ...telling, Promise.resolve("secret"), Object.create(null)]) {
    const throwing = () => {
      throw thrown;
    };
    const rejecting = () => Promise.reject(thrown);
    for (const method of [throwing, rejecting]) {
      const desk = new Desk({ method });
      assertEquals(await desk.ask(call("method", 1)), failure(1, -32603));
      assertEquals(await desk.ask(notice("method")), undefined);
      assertEquals(desk.log.lines.length, 2);
      assert(desk.log.lines.every((line) => line.startsWith('error: Method "method" failed: ')));
    }
  }
});

test("Dispatcher.handle() answers an RpcError as it is, and logs only a cause", async () => {
  for (const [cause, lines] of [[undefined, 0], [new Error("why"), 1]] as const) {
    const method = () => Promise.reject(new RpcError(402, "Pay", { data: [1], cause }));
    const desk = new Desk({ method });
    const { error } = await desk.ask(call("method", 1)) as Message;
    assertEquals(error, { code: 402, message: "Pay", data: [1] });
    assertEquals(desk.log.lines.length, lines);
  }
});

test("Dispatcher.handle() answers -32603 and logs when data of an RpcError has no JSON", async () => {
  const cycle: unknown[] = [];
  cycle.push(cycle);
  for (const data of [1n, { deep: [1n] }, cycle]) {
    const method = () => Promise.reject(new RpcInternalError({ message: "secret", data }));
    const desk = new Desk({ method });
    assertEquals(await desk.ask(call("method", 1)), failure(1, -32603));
    assert(desk.log.lines.at(-1)?.includes("Cannot encode the data of the error"));
  }
});

test("Dispatcher.handle() answers -32603 and logs when a result has no JSON", async () => {
  const cycle: unknown[] = [];
  cycle.push(cycle);
  const failing = {
    toJSON() {
      throw new Error("secret");
    },
  };
  for (const value of [1n, cycle, Symbol("a"), () => 1, { toJSON: () => undefined }, failing]) {
    const desk = new Desk({ now: () => value, later: () => Promise.resolve(value) });
    for (const method of ["now", "later"]) {
      assertEquals(await desk.ask(call(method, 1)), failure(1, -32603));
      assertEquals(await desk.ask(notice(method)), undefined);
    }
    assertEquals(desk.log.lines.length, 2);
  }
});

test("Dispatcher.handle() replies once when a thenable calls back twice", async () => {
  type Settle = (value: unknown) => void;
  const thenables: ((resolve: Settle, reject: Settle) => void)[] = [
    (resolve) => (resolve("first"), resolve("second")),
    (resolve, reject) => (resolve("first"), reject(new Error("second"))),
    (resolve) => {
      resolve("first");
      throw new Error("second");
    },
  ];
  for (const then of thenables) {
    const desk = new Desk({ method: () => ({ then }) });
    assertEquals(await desk.ask(call("method", 1)), result(1, "first"));
    await quietMoment();
    assertEquals(desk.replies, [1]);
  }
});

test("Dispatcher.handle() answers -32603 when a result cannot even be asked for its `then`", async () => {
  const trap = {
    get then() {
      throw new Error("secret");
    },
  };
  for (const method of [() => trap, () => Promise.resolve([trap]).then(([value]) => value)]) {
    const desk = new Desk({ method });
    assertEquals(await desk.ask(call("method", 1)), failure(1, -32603));
    assertEquals(desk.log.lines.length, 1);
  }
});

// -- params, control, afterwards --

test("Dispatcher.handle() passes params of null on as none", async () => {
  const seen: unknown[] = [];
  const desk = new Desk({ see: (params) => seen.push(params) });
  await desk.ask(call("see", 1, null));
  await desk.ask({ jsonrpc: "2.0", method: "see", id: 2 });
  assertEquals(seen, [undefined, undefined]);
});

test("Dispatcher.handle() passes scalar params only to a method that takes them, else -32600", async () => {
  const desk = new Desk();
  for (const params of ["clock", 1, 0, "", true, false]) {
    assertEquals(await desk.ask(call("loose", 1, params)), result(1, params));
    assertEquals(await desk.code(call("echo", 1, params)), -32600);
    assertEquals(await desk.code(call("nothing", 1, params)), -32600);
    assertEquals(await desk.ask(notice("echo", params)), undefined);
  }
});

test("Dispatcher.handle() is silent when a `$/` notification is unknown, -32601 when it is a call", async () => {
  const desk = new Desk();
  assertEquals(await desk.ask(notice("$/whatever", { id: 1 })), undefined);
  assertEquals(await desk.code(call("$/cancelRequest", 1, { id: 1 })), -32601);
});

test("Dispatcher.handle() drops answers if there is nobody who waits for them", () => {
  const logger = silentLog();
  const host = { limits: resolveLimits({}), logger, find: () => undefined };
  const replies: unknown[] = [];
  const outlet = { [REPLY]: (text: string | undefined) => replies.push(text) };
  const dispatcher = new ServerDispatcher(host, new Caller(HANDSHAKE, logger));
  for (const message of [result(1), notice("$/progress"), [result(1)]]) {
    dispatcher.handle(message, outlet);
  }
  assertEquals(replies, [undefined, undefined, undefined]);
});

test("afterAnswer() runs after the answer has left, for a call, a batch and a notification", async () => {
  const events: string[] = [];
  const outlet = {
    [REPLY](text: string | undefined, request: IncomingRequest | undefined) {
      events.push(text === undefined ? "silence" : "answer");
      markAnswered(request);
    },
  };
  const later = (_params: unknown, request: RpcRequest) => {
    afterAnswer(request, () => events.push("afterwards"));
    return 1;
  };
  const { dispatcher } = new Desk({ later });
  for (const message of [call("later", 1), notice("later"), [call("later", 1), call("later", 2)]]) {
    dispatcher.handle(message, outlet);
  }
  assertEquals(events, [
    ...["answer", "afterwards"],
    ...["silence", "afterwards"],
    ...["answer", "afterwards", "afterwards"],
  ]);
  await quietMoment();
});

test("afterAnswer() logs what fails in it where the answer has gone before", async () => {
  const answered = deferred();
  const ran: unknown[] = [];
  const method = async (_params: unknown, request: RpcRequest) => {
    await answered.promise;
    afterAnswer(request, () => Promise.reject(new Error("broken later")));
    afterAnswer(request, () => {
      throw new Error("broken");
    });
    afterAnswer(request, (succeeded) => ran.push(succeeded));
  };
  const desk = new Desk({ method });
  const asked = desk.code(call("method", 1));
  await desk.ask(cancel(1));
  assertEquals(await asked, -32800);
  answered.resolve();
  await until(() => desk.log.lines.length === 2);
  const what = 'error: After the answer to "method", a step failed: Error: broken';
  assertEquals(desk.log.lines.filter((line) => line.startsWith(what)).length, 2);
  assertEquals(ran, [false]);
});

test("afterAnswer() logs what fails in it, and runs the rest", async () => {
  const ran: number[] = [];
  const method = (_params: unknown, request: RpcRequest) => {
    afterAnswer(request, () => {
      throw new Error("broken");
    });
    afterAnswer(request, () => Promise.reject(new Error("broken later")));
    afterAnswer(request, () => ran.push(2));
  };
  const desk = new Desk({ method });
  assertEquals(await desk.ask(call("method", 1)), result(1, null));
  assertEquals(ran, [2]);
  assert(
    desk.log.lines[0]?.startsWith(
      'error: After the answer to "method", a step failed: Error: broken',
    ),
  );
  await quietMoment();
  assert(
    desk.log.lines[1]?.startsWith(
      'error: After the answer to "method", a step failed: Error: broken later',
    ),
  );
});
