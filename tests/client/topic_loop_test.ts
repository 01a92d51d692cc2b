/**
 * Loops over topics and streams, which end at once.
 */
import { test } from "node:test";
import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { JsonRpc, RpcConnectionError } from "@x/jsonrpc";
import { stream } from "@x/jsonrpc/stream";
import { pair } from "../helpers/client.ts";
import { quietMoment, until } from "../helpers/deferred.ts";

const NAMES = { unsubscribe: "count_unsubscribe", notification: "count_item" };

/** A server with a topic and a stream, and how many streams are open. */
function testServer() {
  const open = { streams: 0 };
  const rpc = new JsonRpc()
    .topic("clock")
    .stream("count_subscribe", NAMES, async function* (_params: undefined, { signal }) {
      open.streams++;
      yield 1;
      await new Promise((resolve) => signal.addEventListener("abort", resolve)).finally(() =>
        open.streams--
      );
    });
  return { rpc, open };
}

/** The two loops, by name; each has one item to read. */
async function loops(options: { signal?: AbortSignal } = {}) {
  const { rpc, open } = testServer();
  const client = await pair(rpc);
  const isOpen = async () => (await client.getSubscriptions()).length > 0 || open.streams > 0;
  return {
    client,
    isOpen,
    topic: () => client.topic("clock", options),
    stream: () => stream(client, "count_subscribe", undefined, { ...NAMES, ...options }),
  };
}

const DONE = { done: true, value: undefined };

/** A loop that waits for an item that does not come. */
async function waiting(what: "topic" | "stream", options: { signal?: AbortSignal } = {}) {
  const made = await loops(options);
  const loop = made[what]();
  if (what === "stream") assertEquals(await loop.next(), { done: false, value: 1 });
  const next = loop.next();
  await until(made.isOpen);
  return { ...made, loop, next };
}

for (const what of ["topic", "stream"] as const) {
  const title = what === "topic" ? "client.topic()" : "stream()";

  test(`${title}: return() ends the loop at once, also a next() that waits`, async () => {
    const { client, loop, next, isOpen } = await waiting(what);
    assertEquals(await loop.return(), DONE as never);
    assertEquals([await next, await loop.next()], [DONE, DONE] as never);
    await until(async () => !await isOpen());
    await client.close();
  });

  test(`${title}: throw() ends the loop at once`, async () => {
    const { client, loop, next, isOpen } = await waiting(what);
    const error = new Error("mine");
    assertStrictEquals(await loop.throw(error).catch((reason) => reason), error);
    assertEquals(await next, DONE as never);
    await until(async () => !await isOpen());
    await client.close();
  });

  test(`${title}: await using ends the loop at once`, async () => {
    const { client, isOpen, [what]: begin } = await loops();
    let next: Promise<unknown> | undefined;
    {
      await using loop = begin();
      if (what === "stream") await loop.next();
      next = loop.next();
      await until(isOpen);
    }
    assertEquals(await next, DONE);
    await until(async () => !await isOpen());
    await client.close();
  });

  test(`${title}: its signal ends the loop at once, with the signal's reason`, async () => {
    const controller = new AbortController();
    const { client, next, loop, isOpen } = await waiting(what, { signal: controller.signal });
    const reason = new Error("enough");
    controller.abort(reason);
    assertStrictEquals(await next.catch((error) => error), reason);
    assertEquals(await loop.next(), DONE as never);
    await until(async () => !await isOpen());
    await client.close();
  });

  test(`${title}: a signal that has aborted begins nothing`, async () => {
    const { client, isOpen, [what]: begin } = await loops({ signal: AbortSignal.abort("no") });
    assertEquals(await begin().next().catch((reason) => reason), "no");
    assertEquals(await isOpen(), false);
    await client.close();
  });

  test(`${title}: return() before the first next() begins nothing`, async () => {
    const { client, isOpen, [what]: begin } = await loops();
    const loop = begin();
    assertEquals(await loop.return(), DONE as never);
    assertEquals(await loop.next(), DONE as never);
    assertEquals(await isOpen(), false);
    await client.close();
  });

  test(`${title}: return() while it begins ends it as soon as it has begun`, async () => {
    const { client, isOpen, [what]: begin } = await loops();
    const loop = begin();
    const next = loop.next();
    await loop.return();
    assertEquals(await next, DONE as never);
    await until(async () => !await isOpen());
    await client.close();
  });

  test(`${title}: several next() are answered in order, and fail with the connection`, async () => {
    const { client, loop, next } = await waiting(what);
    const later = loop.next();
    await client.close();
    await assertRejects(() => next, RpcConnectionError);
    assertEquals([await later, await loop.next()], [DONE, DONE] as never);
  });
}

test("client.topic(): a loop that is left with break is unsubscribed", async () => {
  const { rpc } = testServer();
  await using client = await pair(rpc);
  const publishing = setInterval(() => rpc.publish("clock", 1), 1);
  for await (const _ of client.topic("clock")) break;
  clearInterval(publishing);
  assertEquals(await client.getSubscriptions(), []);
});

test("client.topic(): a loop that cannot keep up is unsubscribed at once", async () => {
  const { rpc } = testServer();
  await using client = await pair(rpc);
  const loop = client.topic("clock", { maxWaiting: 2 });
  const first = loop.next();
  await until(async () => (await client.getSubscriptions()).length > 0);
  for (let n = 0; n < 4; n++) rpc.publish("clock", n);
  assertEquals((await first).value, 0);
  await until(async () => (await client.getSubscriptions()).length === 0);
  assertEquals([(await loop.next()).value, (await loop.next()).value], [1, 2]);
  await assertRejects(() => loop.next(), RpcConnectionError, "2 items wait (maxWaiting)");
  await quietMoment();
});
