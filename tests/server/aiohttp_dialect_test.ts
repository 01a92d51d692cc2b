/**
 * What clients of Python's aiohttp-json-rpc say and expect, member for member: its Python client, whose texts
 * have a space after each colon, and the rpc.js of its web pages.
 */
import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { RawSocket } from "../helpers/raw_client.ts";
import { serveHere } from "../helpers/server.ts";
import { result } from "../helpers/messages.ts";
import { likeAiohttp } from "../programs/aiohttp_like.ts";

test("calls of the Python client are answered: its ids start at 0, and params are left out if there are none", async () => {
  await using server = await serveHere(likeAiohttp());
  const line = await RawSocket.open(server.ws);
  const said = [
    '{"jsonrpc": "2.0", "method": "ping", "id": 0}',
    '{"jsonrpc": "2.0", "method": "add", "id": 1, "params": {"a": 1, "b": 2}}',
    '{"jsonrpc": "2.0", "method": "add", "id": 2, "params": [3, 4]}',
    '{"jsonrpc": "2.0", "method": "nothing_to_say", "id": 3}',
    '{"jsonrpc": "2.0", "method": "ping", "id": "an id of its own"}',
    '{"jsonrpc": "2.0", "method": "add", "id": 1.5, "params": [1, 1]}',
  ];
  const answers = [];
  for (const text of said) answers.push(await line.ask(text));
  assertEquals(answers, [
    result(0, "pong"),
    result(1, 3),
    result(2, 7),
    result(3, null),
    result("an id of its own", "pong"),
    result(1.5, 2),
  ]);
  line.disconnect();
});

test("a call through the Python client's context has `args` and `kwargs`, also empty ones", async () => {
  await using server = await serveHere(likeAiohttp());
  const line = await RawSocket.open(server.ws);
  const none = '{"args": [], "kwargs": {}}';
  const some = '{"args": [1, "two"], "kwargs": {"three": 3}}';
  const ping = `{"jsonrpc": "2.0", "method": "ping", "id": 0, "params": ${none}}`;
  const echo = `{"jsonrpc": "2.0", "method": "echo", "id": 1, "params": ${some}}`;
  assertEquals(await line.ask(ping), result(0, "pong"));
  assertEquals(await line.ask(echo), result(1, { args: [1, "two"], kwargs: { three: 3 } }));
  line.disconnect();
});

test("calls of rpc.js are answered: its ids start at 1, and params are null if there are none", async () => {
  await using server = await serveHere(likeAiohttp());
  const line = await RawSocket.open(server.ws);
  const said = [
    '{"jsonrpc":"2.0","id":1,"method":"ping","params":null}',
    '{"jsonrpc":"2.0","id":2,"method":"ping"}',
    '{"jsonrpc":"2.0","id":3,"method":"get_subscriptions","params":null}',
  ];
  const answers = [];
  for (const text of said) answers.push(await line.ask(text));
  assertEquals(answers, [result(1, "pong"), result(2, "pong"), result(3, [])]);
  line.disconnect();
});

test("params that are neither array nor object reach only methods with `scalarParams`", async () => {
  const say = (id: number, params: unknown) =>
    JSON.stringify({ jsonrpc: "2.0", method: "echo", id, params });
  await using liberal = await serveHere(likeAiohttp());
  const line = await RawSocket.open(liberal.ws);
  for (const [id, params] of ["text", "", 0, 1.5, true, false].entries()) {
    assertEquals(await line.ask(say(id, params)), result(id, params));
  }
  line.disconnect();

  await using strict = await serveHere(likeAiohttp({ scalarParams: false }));
  const other = await RawSocket.open(strict.ws);
  assertEquals((await other.ask(say(0, "text"))).error?.code, -32600);
  other.disconnect();
});

test("methods of a group are called by prefix, two underscores and name", async () => {
  await using server = await serveHere(likeAiohttp());
  const line = await RawSocket.open(server.ws);
  const double = '{"jsonrpc": "2.0", "method": "math__double", "id": 0, "params": [21]}';
  assertEquals(await line.ask(double), result(0, 42));
  const listed = await namesOf(line, "get_methods");
  const builtIn = ["get_methods", "get_subscriptions", "get_topics", "subscribe", "unsubscribe"];
  for (const name of ["math__double", "ping", ...builtIn]) assert(listed.includes(name), name);
  line.disconnect();
});

test("errors have a code that the Python client knows, since it drops others and waits for ever", async () => {
  await using server = await serveHere(likeAiohttp({ maxSubscriptions: 1 }));
  const line = await RawSocket.open(server.ws);
  const said = [
    '{"jsonrpc": "2.0", "method": "no_such_method", "id": 0}',
    '{"jsonrpc": "2.0", "method": "add", "id": 1, "params": [1]}',
    '{"jsonrpc": "2.0", "method": "fail", "id": 2}',
    '{"jsonrpc": "2.0", "method": "busy", "id": 3}',
    '{"jsonrpc": "2.0", "method": "subscribe", "id": 4, "params": ["news", "sport"]}',
    '{"jsonrpc": "1.0", "method": "ping", "id": 5}',
    '{"jsonrpc": "2.0", "method": "ping", "id": 6',
  ];
  const answers = [];
  for (const text of said) answers.push(await line.ask(text));
  assertEquals(answers.map(({ id, error }) => [id, error?.code]), [
    ...[[0, -32601], [1, -32602], [2, -32603], [3, -32050], [4, -32006], [5, -32600]],
    [null, -32700],
  ]);
  assertEquals(answers[3]?.error, { code: -32050, message: "Computer says no", data: [1] });
  line.disconnect();
});

test("subscribe and unsubscribe accept a topic or a list, and answer all subscriptions", async () => {
  await using server = await serveHere(likeAiohttp());
  const line = await RawSocket.open(server.ws);
  const say = (method: string, id: number, params: string) =>
    line.ask(`{"jsonrpc": "2.0", "method": "${method}", "id": ${id}, "params": ${params}}`);
  assertEquals(await namesOf(line, "get_topics"), ["news", "sport"]);
  assertEquals(await say("subscribe", 0, '"news"'), result(0, ["news"]));
  assertEquals(await say("subscribe", 1, '"news"'), result(1, ["news"]));
  assertEquals(await say("subscribe", 2, '"no such topic"'), result(2, ["news"]));
  assertEquals(await say("subscribe", 3, '""'), result(3, ["news"]));
  assertEquals(
    await say("subscribe", 4, '["sport", "no such topic"]'),
    result(4, ["news", "sport"]),
  );
  assertEquals(await namesOf(line, "get_subscriptions"), ["news", "sport"]);
  assertEquals(await say("unsubscribe", 5, '"news"'), result(5, ["sport"]));
  assertEquals(await say("unsubscribe", 6, '"news"'), result(6, ["sport"]));
  assertEquals(await say("unsubscribe", 7, '["sport", "no such topic"]'), result(7, []));
  line.disconnect();
});

test("an event is a notification named as its topic, with the data as it is", async () => {
  const rpc = likeAiohttp();
  await using server = await serveHere(rpc);
  const line = await RawSocket.open(server.ws);
  await line.ask('{"jsonrpc": "2.0", "method": "subscribe", "id": 0, "params": "news"}');
  const events = ["12:00", 0, false, null, ["a"], { b: 1 }];
  for (const data of events) rpc.publish("news", data);
  const received = await line.some(events.length);
  assertEquals(received, events.map((params) => ({ jsonrpc: "2.0", method: "news", params })));
  line.disconnect();
});

test("an event that is no array or object comes in an array with `wrapScalars`", async () => {
  const rpc = likeAiohttp({ wrapScalars: true });
  await using server = await serveHere(rpc);
  const line = await RawSocket.open(server.ws);
  await line.ask('{"jsonrpc": "2.0", "method": "subscribe", "id": 0, "params": "news"}');
  const events = ["12:00", 0, false, null, ["a"], { b: 1 }];
  for (const data of events) rpc.publish("news", data);
  const received = await line.some(events.length);
  assertEquals(received.map(({ params }) => params), [["12:00"], [0], [false], [null], ["a"], {
    b: 1,
  }]);
  line.disconnect();
});

test("the retained event follows the answer to subscribe, when rpc.js starts to listen", async () => {
  const rpc = likeAiohttp();
  rpc.publish("news", "We are live");
  await using server = await serveHere(rpc);
  const line = await RawSocket.open(server.ws);
  line.send('{"jsonrpc":"2.0","id":1,"method":"subscribe","params":"news"}');
  const event = { jsonrpc: "2.0", method: "news", params: "We are live" };
  assertEquals(await line.some(2), [result(1, ["news"]), event]);
  await line.assertSilent();
  line.disconnect();
});

test("an event that a method publishes also reaches its caller, if that is subscribed", async () => {
  await using server = await serveHere(likeAiohttp());
  const line = await RawSocket.open(server.ws);
  await line.ask('{"jsonrpc": "2.0", "method": "subscribe", "id": 0, "params": "news"}');
  line.send('{"jsonrpc": "2.0", "method": "publish", "id": 1, "params": "extra"}');
  const both = await line.some(2);
  assert(both.some(({ id, result }) => id === 1 && result === 1));
  assert(both.some(({ method, params }) => method === "news" && params === "extra"));
  line.disconnect();
});

test("a call of the server accepts the Python client's answers: a value, null or an error", async () => {
  await using server = await serveHere(likeAiohttp());
  const line = await RawSocket.open(server.ws);
  const replies = [
    ['"result": true', true],
    ['"result": null', null],
    ['"error": {"code": -32601, "message": "Method not found"}', -32601],
    ['"error": {"code": -32000, "message": ""}', -32000],
  ] as const;
  for (const [reply, outcome] of replies) {
    line.send('{"jsonrpc": "2.0", "method": "ask", "id": 0}');
    const { id, ...question } = await line.next();
    assert(Number.isInteger(id));
    assertEquals(question, { jsonrpc: "2.0", method: "confirm", params: { message: "Sure?" } });
    line.send(`{"jsonrpc": "2.0", "id": ${id}, ${reply}}`);
    const answer = await line.next();
    assertEquals(answer.error?.code ?? answer.result, outcome);
  }
  line.disconnect();
});

test("a call of the server may go out while others wait, and ids of both sides do not mix", async () => {
  await using server = await serveHere(likeAiohttp());
  const line = await RawSocket.open(server.ws);
  for (const id of [1, 2, 3]) {
    line.send(`{"jsonrpc":"2.0","id":${id},"method":"ask","params":null}`);
  }
  const questions = await line.some(3);
  assertEquals(await line.ask('{"jsonrpc":"2.0","id":4,"method":"ping"}'), result(4, "pong"));
  for (const { id } of questions.reverse()) line.send({ jsonrpc: "2.0", id, result: id });
  const answers = await line.some(3);
  assertEquals(answers.map(({ id }) => id), [3, 2, 1]);
  assertEquals(answers.map(({ result }) => result), questions.map(({ id }) => id));
  line.disconnect();
});

/** What a method that lists names gives, in the order of the alphabet. */
async function namesOf(line: RawSocket, method: string): Promise<string[]> {
  const answer = await line.ask(`{"jsonrpc": "2.0", "method": "${method}", "id": 99}`);
  return (answer.result as string[]).sort();
}
