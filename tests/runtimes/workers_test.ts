/**
 * Cloudflare Workers: what only they have. The conformance suite runs there too.
 */
import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { after, test } from "node:test";
import { connect } from "@x/jsonrpc";
import { call, namesOf } from "../helpers/messages.ts";
import { needs } from "../helpers/needs.ts";
import { assertBounded } from "../hostile/attack.ts";
import { RawSocket } from "../helpers/raw_client.ts";
import { startWorker } from "../helpers/workerd.ts";
import type { Worker } from "../helpers/workerd.ts";

const here = await needs("on deno");
let started: Promise<Worker> | undefined;
after(async () => await (await started)?.stop());

/** One worker for all tests of this file. */
async function urlOf(path: string): Promise<string> {
  started ??= startWorker("tests/programs/hibernating_worker.ts", ["Room"]);
  return `${(await started).url}${path}`;
}

/** An object leaves memory when nothing has happened for ten seconds. */
const HIBERNATE_MS = 12_500;

test("connections of a Durable Object outlive its time in memory", here, async () => {
  const url = await urlOf("/?name=ann");
  await using post = await connect(url); // over POST
  const received: Record<string, unknown[]> = {};
  const hear = (name: string) => (data: unknown) => void (received[name] ??= []).push(data);
  const open = (options = {}) => connect(url.replace("http", "ws"), options);

  await using plain = await open();
  for (const topic of ["news", "weather", "secret"]) {
    await plain.subscribe(topic, hear(`plain ${topic}`));
  }
  await plain.call("note", [{ since: 1 }]);
  await using recovering = await open({ recover: true });
  await recovering.subscribe("log", hear("log"));
  await recovering.subscribe("weather", hear("recovering weather"));
  await using later = await open();
  await later.call("later");
  // More than fits into what a socket can carry.
  await using many = await open();
  const rooms = Array.from({ length: 700 }, (_, room) => `room.${room}.`.padEnd(40, "x"));
  const names = rooms.map((name) => name.replaceAll(".", "").replace("room", "room."));
  await Promise.all(names.map((name) => many.subscribe(name, hear("many"))));
  // What cannot be stored is told by a new connection.
  await using careless = await open();
  const reconnected = new Promise((resolve) => {
    careless.addEventListener("open", resolve, { once: true });
  });
  await careless.subscribe("news", hear("careless"));
  await careless.call("note", ["function"]);

  await post.call("publish", ["weather", "rain"]);
  await post.call("publish", ["log", 1]);
  const clients = [plain, recovering, later, many];
  const before = await Promise.all(clients.map((client) => client.call("whoami")));
  const born = await post.call("born");

  for (let tries = 0; tries < 3; tries++) {
    await new Promise((resolve) => setTimeout(resolve, HIBERNATE_MS));
    if (await post.call("born") !== born) break;
  }
  assertNotEquals(await post.call("born"), born, "the object has not left memory");
  assertEquals(await Promise.all(clients.map((client) => client.call("whoami"))), before);
  assertEquals(before[0], {
    id: (before[0] as { id: string }).id,
    user: { name: "ann" },
    note: "object",
    subscriptions: ["news", "weather", "secret"],
  });
  assertEquals((before[2] as { note: string }).note, "string");
  assertEquals((before[3] as { subscriptions: string[] }).subscriptions, names);
  await reconnected;
  // Plugins begin anew with an object, and are told of all subscriptions again.
  assertEquals(await post.call("joined"), 3 + 2 + 700 + 1);
  assertEquals(await post.call("size"), 5);

  for (const topic of ["news", "weather", "secret", "log", names[699]]) {
    await post.call("publish", [topic, `${topic} again`]);
  }
  // Events come before the answers to what is asked after them.
  await Promise.all([...clients, careless].map((client) => client.call("whoami")));
  assertEquals(received, {
    "plain news": ["news again"],
    "plain weather": ["rain", "weather again"], // no retained event once more
    "plain secret": ["secret again"],
    "recovering weather": ["rain", "weather again"],
    log: [1, "log again"],
    many: [`${names[699]} again`],
    careless: ["news again"],
  });

  // What topics keep is there too, and positions of before are understood.
  await using raw = await open();
  const { positions } = await raw.call("subscribe", {
    topics: ["log"],
    recover: true,
    last: { log: 2 },
  }) as { positions: Record<string, string> };
  assert(positions.log?.endsWith(":0"), positions.log);
});

test("a Durable Object keeps no names of topics that a client is refused", here, async () => {
  const worker = await startWorker("tests/programs/hibernating_worker.ts", ["Room"]);
  try {
    const line = await RawSocket.open(worker.url);
    // The names alone have 250 MB.
    await assertBounded(worker, 125, async () => {
      for (let round = 0; round < 1000; round++) {
        const topics = namesOf(1000, `missing.${round}`);
        const answer = await line.ask(call("subscribe", 1, { topics, recover: true }));
        assertEquals((answer.result as { subscriptions: unknown }).subscriptions, []);
      }
    });
    line.disconnect();
  } finally {
    await worker.stop();
  }
});

test("a Worker without objects answers each request on its own", here, async () => {
  const url = await urlOf("/plain");
  await using post = await connect(url);
  const one = await connect(url.replace("http", "ws"));
  const two = await connect(url.replace("http", "ws"));
  one.method("answer", () => 42);
  assertEquals(await one.call("ask"), 42);
  const calls = [one, two, post].map((client, index) => client.call("later", [10 * index]));
  assertEquals(await Promise.all(calls), [0, 10, 20]);
  for (const client of [one, two, post]) {
    await assertRejects(() => client.call("slow"), Error, "Request timed out");
  }
  for (let count = 0; count < 3; count++) {
    const refused = await fetch(`${url}/refused`, { method: "POST" });
    assertEquals([refused.status, await refused.text()], [403, "Refused"]);
  }
  await one.close();
  await two.close();
  await eventually(async () => await post.call("size") === 0);
});

test("a Worker's event reaches the sockets and streams of other requests", here, async () => {
  const url = await urlOf("/plain");
  await using post = await connect(url);
  await using one = await connect(url.replace("http", "ws"));
  await using two = await connect(url.replace("http", "ws"));
  const received: unknown[] = [];
  for (const client of [one, two]) {
    await client.subscribe("news", (data) => void received.push(data));
  }
  const streams = await Promise.all([1, 2].map(() => openEvents(`${url}?topics=news`)));
  await post.call("publish", ["from a post"]);
  await one.call("publish", ["from one"]);
  await eventually(() => received.length === 4);
  assertEquals(received.toSorted(), ["from a post", "from a post", "from one", "from one"]);
  for (const { read } of streams) {
    while (!(await read()).includes('data: "from one"'));
  }
  // The first stream has set no timer that the second would miss.
  await streams[0]!.cancel();
  while (!(await streams[1]!.read()).includes(":\n\n"));
  await streams[1]!.cancel();
  // A reader that has left is noticed with the next heartbeat.
  await eventually(async () => await post.call("size") === 2);
  assertEquals([await one.call("ping"), await two.call("ping")], ["pong", "pong"]);
});

for (const [where, path] of [["a Worker", "/plain"], ["a Durable Object", "/?name=ann"]] as const) {
  test(
    `${where} answers a POST with events, and notices that its reader has left`,
    here,
    async () => {
      const url = await urlOf(path);
      const body = (method: string, params: unknown) =>
        JSON.stringify({ jsonrpc: "2.0", method, params, id: 1 });
      const headers = {
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
      };
      const post = (body: string) => fetch(url, { method: "POST", headers, body });
      const progress = (value: unknown) =>
        `event: message\ndata: {"jsonrpc":"2.0","method":"$/progress","params":{"token":1,"value":${
          JSON.stringify(value)
        }}}\n\n`;

      // On a busy machine signs of life come between any two events.
      const eventsOf = async (response: Response) =>
        (await response.text()).replaceAll(/^:\n\n/gm, "");

      const response = await post(body("report", [2]));
      assertEquals(response.headers.get("content-type"), "text/event-stream");
      assertEquals(
        await eventsOf(response),
        progress(1) + progress(2) +
          'event: message\ndata: {"jsonrpc":"2.0","method":"told","params":[2]}\n\n' +
          'event: message\ndata: {"jsonrpc":"2.0","result":"done","id":1}\n\n',
      );
      const many = await Promise.all(Array.from({ length: 10 }, () => post(body("report", [50]))));
      const texts = await Promise.all(many.map(eventsOf));
      assertEquals(new Set(texts).size, 1);

      const { body: waiting } = await post(body("wait", []));
      const reader = waiting!.pipeThrough(new TextDecoderStream()).getReader();
      let read = "";
      // Signs of life come while there is nothing to tell.
      while (!read.endsWith("\n\n:\n\n:\n\n")) read += (await reader.read()).value;
      assertEquals(read.replace(/(?::\n\n)+$/, ""), progress("begun"));
      await reader.cancel();
      const left = async () => (await (await post(body("left", []))).json()).result;
      await eventually(async () => await left() === 1);
    },
  );
}

async function openEvents(
  url: string,
): Promise<{ read(): Promise<string>; cancel(): Promise<void> }> {
  const { body } = await fetch(url, { headers: { accept: "text/event-stream" } });
  const reader = body!.pipeThrough(new TextDecoderStream()).getReader();
  return {
    read: async () => (await reader.read()).value ?? "",
    cancel: () => reader.cancel(),
  };
}

async function eventually(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; !await holds(); tries++) {
    if (tries > 500) throw new Error("It did not become true");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test("examples/workers/worker.ts has rooms, and keeps what was said", here, async () => {
  const worker = await startWorker("examples/workers/worker.ts", ["Room"]);
  try {
    const url = worker.url.replace("http", "ws");
    await using lobby = await connect(url);
    assertEquals(await lobby.call("add", [1, 2]), 3);
    await using ann = await connect(`${url}/kitchen?name=ann`);
    await using bob = await connect(`${url}/kitchen?name=bob`);
    await using eve = await connect(`${url}/cellar?name=eve`);
    const received: unknown[] = [];
    await bob.subscribe("said", (line) => void received.push(line));
    await eve.subscribe("said", (line) => void received.push(["in the cellar", line]));
    await ann.call("say", ["hello"]);
    assertEquals(await bob.call("names"), ["ann", "bob"]);
    assertEquals(await eve.call("names"), ["eve"]);
    assertEquals(received, [{ name: "ann", text: "hello" }]);
    await using late = await connect(`${url}/kitchen?name=late`);
    const kept: unknown[] = [];
    await late.subscribe("said", (line) => void kept.push(line), { last: 10 });
    await late.call("names");
    assertEquals(kept, received);
    await assertRejects(() => connect(`${url}/kitchen`), Error, "Cannot connect");
  } finally {
    await worker.stop();
  }
});
