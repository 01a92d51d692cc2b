/**
 * One connection: many messages, in both directions.
 */
import { assertEquals } from "@std/assert";
import { assertAlive, Post } from "../helpers/raw_client.ts";
import { call, codesOf, failure, idsOf, notice, result } from "../helpers/messages.ts";
import type { Message } from "../helpers/messages.ts";
import type { RawSocket } from "../helpers/raw_client.ts";
import { codeOf, eventually, newKey, notedOf, overConnections, overWebSocket } from "./case.ts";

// -- one connection, many messages --

overWebSocket("answers thousands of calls on one connection each once", async (client) => {
  const calls = Array.from({ length: 3_000 }, (_, id) => call(id % 2 ? "echo" : "later", id, [id]));
  const answers: Message[] = [];
  for (let from = 0; from < calls.length; from += 500) {
    client.send(...calls.slice(from, from + 500));
    answers.push(...await client.some(500));
  }
  answers.sort((a, b) => Number(a.id) - Number(b.id));
  assertEquals(answers, calls.map(({ id }) => result(id, [id])));
});

overWebSocket("takes thousands of notifications and answers calls between them", async (client) => {
  const key = newKey();
  for (let time = 0; time < 8; time++) {
    for (let count = 0; count < 1_000; count++) client.send(notice("note", [key]));
    assertEquals(await notedOf(client, key), (time + 1) * 1_000);
  }
});

overWebSocket("does not delay other calls behind a slow one", async (client) => {
  client.send(call("hang", "slow", [newKey()]));
  for (let id = 0; id < 10; id++) {
    assertEquals(await client.ask(call("echo", id, [id])), result(id, [id]));
  }
  assertEquals(await client.ask(cancel("slow")), failure("slow", -32800));
});

overWebSocket("answers two calls in flight that share an id, both", async (client) => {
  client.send(call("later", 1, ["a"]), call("later", 1, ["b"]));
  assertEquals(await client.some(2), [result(1, ["a"]), result(1, ["b"])]);
});

overWebSocket(
  "runs 1,000 calls at once and answers -32009 to more, also in a batch",
  async (client, url) => {
    const hanging = (count: number) =>
      Array.from({ length: count }, (_, id) => call("hang", id, [newKey()]));
    client.send(...hanging(999));
    client.send([call("hang", "last", [newKey()]), call("ping", "a"), notice("ping")]);
    assertEquals(await codeOf(client, call("ping", "b")), -32009);
    await assertAlive(url);
    client.send(cancel("last"));
    assertEquals(codesOf(await client.next()), [-32800, -32009]);
    for (let id = 0; id < 999; id++) client.send(cancel(id));
    assertEquals(codesOf(await client.some(999)), Array(999).fill(-32800));
  },
);

// -- cancelling --

function cancel(id: unknown): Message {
  return notice("$/cancelRequest", { id });
}

overWebSocket(
  "answers -32800 to a call that is cancelled, once, and aborts its signal",
  async (client) => {
    const key = newKey();
    client.send(call("hang", 1, [key]), cancel(2), cancel("1"), cancel(1), cancel(1));
    assertEquals(await client.next(), failure(1, -32800));
    assertEquals(await notedOf(client, key), 1);
  },
);

overWebSocket("ignores a cancel when the answer has left", async (client) => {
  await client.ask(call("ping", 1));
  await client.notify(cancel(1));
});

overConnections("aborts the signals of handlers when their caller is gone", async (open, url) => {
  const key = newKey();
  const leaving = await open();
  leaving.send(call("hang", 1, [key]), notice("hang", [key]));
  await leaving.assertSilent();
  leaving.disconnect();
  await eventually("both were aborted", async () => await notedOf(new Post(url), key) === 2);
});

// -- calls from server to client --

/** Plays a client with one method: answers `question` with what `answerTo` makes of its params. */
async function answerQuestion(
  client: RawSocket,
  answerTo: (id: unknown, params: unknown) => Message,
) {
  const { jsonrpc, method, params, id } = await client.next();
  assertEquals([jsonrpc, method], ["2.0", "question"]);
  client.send(answerTo(id, params));
}

overWebSocket("calls the client while the client's own call is open", async (client) => {
  client.send(call("askBack", "mine", ["really?"]));
  await answerQuestion(client, (id, params) => result(id, params));
  assertEquals(await client.next(), result("mine", ["really?"]));
});

overWebSocket("passes the client's error on to the caller", async (client) => {
  client.send(call("askBack", "mine"));
  const error = { code: 7, message: "no", data: [1] };
  await answerQuestion(client, (id) => ({ jsonrpc: "2.0", error, id }));
  assertEquals(await client.next(), { jsonrpc: "2.0", error, id: "mine" });
});

overWebSocket(
  "fails a call when its answer has neither a valid result nor a valid error",
  async (client) => {
    const wrong = [{ result: 1, error: { code: 1, message: "" } }, {}, { error: {} }, { error: 1 }];
    for (const outcome of wrong) {
      client.send(call("askBack", "mine"));
      await answerQuestion(client, (id) => ({ jsonrpc: "2.0", id, ...outcome as object }));
      assertEquals((await client.next()).error?.code, -32603);
    }
  },
);

overWebSocket("matches an answer by the exact id, and takes only the first", async (client) => {
  client.send(call("askBack", "mine"));
  await answerQuestion(client, (id) => {
    for (const odd of [`${id}`, [id], { id }, null, true, -1, Number(id) + 1]) {
      client.send(result(odd, "wrong"));
    }
    client.send(result(id, "right"));
    return result(id, "second");
  });
  assertEquals(await client.next(), result("mine", "right"));
});

overWebSocket(
  "gives each of many calls its own answer, in any order of the answers",
  async (client) => {
    const numbers = Array.from({ length: 200 }, (_, number) => number);
    client.send(...numbers.map((number) => call("askBack", number, [number])));
    const questions = await client.some(200);
    assertEquals(new Set(idsOf(questions)).size, 200);
    client.send(questions.reverse().map(({ id, params }) => result(id, params)));
    const answers = await client.some(200);
    assertEquals(answers.reverse(), numbers.map((number) => result(number, [number])));
  },
);

overWebSocket("nests calls in both directions ten deep", async (client) => {
  client.send(call("nest", "top", [10]));
  const asked: unknown[] = [];
  // Call back for each call of the server, down to the last; then all answers return.
  for (let depth = 9; depth >= 0; depth--) {
    const { method, params, id } = await client.next();
    assertEquals([method, params], ["nest", [depth]]);
    asked.push(id);
    client.send(call("nest", `mine ${depth}`, params));
  }
  let said: unknown = "bottom";
  for (let depth = 0; depth < 10; depth++) {
    assertEquals(await client.next(), result(`mine ${depth}`, said));
    client.send(result(asked.pop(), said));
    said = `${depth + 1} ${said}`;
  }
  assertEquals(await client.next(), result("top", said));
});

overWebSocket("reports progress to the caller before the answer", async (client) => {
  client.send(call("report", "mine", ["a", "b"]), notice("report", ["without a caller"]));
  const progress = (value: string) => notice("$/progress", { token: "mine", value });
  assertEquals(await client.some(3), [progress("a"), progress("b"), result("mine", "reported")]);
});
