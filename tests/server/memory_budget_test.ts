/**
 * What counts in `maxTotalBytes` of callers that do not read, and of subscriptions that recover.
 */
import { assert, assertEquals } from "@std/assert";
import type { Socket } from "node:net";
import { test } from "node:test";
import { JsonRpc } from "@x/jsonrpc";
import { trace } from "@x/jsonrpc/trace";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { call } from "../helpers/messages.ts";
import { dial, RawSocket, requestText } from "../helpers/raw_client.ts";
import { serveHere, serveOnNode } from "../helpers/server.ts";

const MIB = 1024 * 1024;
// More than the network takes by itself: up to 4 MiB on loopback.
const LENGTH = 12 * MIB;
const JSON_TYPE = { "content-type": "application/json" };

function newServer(maxTotalBytes: number, onAsk?: () => void) {
  return new JsonRpc({ maxTotalBytes, maxMessageBytes: 32 * MIB, logger: silentLog() })
    .method("ping", () => "pong")
    .method("large", { get: true }, ([length]: [number], request) => {
      onAsk?.();
      request.connection.response?.headers.set("x-large", "yes");
      return "ü".repeat(length / 2);
    });
}

const ASK = JSON.stringify(call("large", 1, [LENGTH]));

/** Sends a request and reads nothing. */
async function askAndWait(url: string, body?: string): Promise<Socket> {
  const socket = await dial(url);
  socket.on("error", () => {}).pause();
  const query = `?method=large&params=[${LENGTH}]&id=1`;
  socket.write(
    body === undefined ? requestText(url, {}, { path: `/${query}` }) : requestText(url, {}, {
      method: "POST",
      headers: { ...JSON_TYPE, "content-length": `${body.length}` },
    }) + body,
  );
  return socket;
}

for (
  const [name, serve] of [["this runtime's server", serveHere], ["./node", serveOnNode]] as const
) {
  test(`an answer to a POST or GET counts in maxTotalBytes until it is read, on ${name}`, async () => {
    const rpc = newServer(256 * MIB);
    await using server = await serve(rpc);
    for (const body of [ASK, undefined]) {
      const socket = await askAndWait(server.url, body);
      await until(() => rpc.stats().memoryBytes > LENGTH);
      assertEquals(rpc.stats().requests, 0);
      let received = 0;
      let head = "";
      socket.on("data", (data: Uint8Array) => {
        if (head === "") head = new TextDecoder().decode(data.subarray(0, 500));
        received += data.length;
      }).resume();
      await until(() => received > LENGTH);
      await until(() => rpc.stats().memoryBytes === 0);
      assert(head.includes("x-large"), head);
      socket.destroy();
      const gone = await askAndWait(server.url, body);
      await until(() => rpc.stats().memoryBytes > LENGTH);
      gone.destroy();
      await until(() => rpc.stats().memoryBytes === 0);
    }
  });

  test(`callers that read no answers are dropped, heaviest first, on ${name}`, async () => {
    let asked = 0;
    const rpc = newServer(40 * MIB, () => asked++);
    await using server = await serve(rpc);
    const sockets: Socket[] = [];
    for (let count = 0; count < 6; count++) sockets.push(await askAndWait(server.url, ASK));
    // Others are answered once bursts have had their time: a long body is refused until then.
    await until(async () => {
      const body = JSON.stringify(call("ping", 1, ["x".repeat(20_000)]));
      const response = await fetch(server.url, { method: "POST", headers: JSON_TYPE, body });
      const isAnswered = (await response.text()).includes("pong");
      return isAnswered && asked === 6 && rpc.stats().memoryBytes < 40 * MIB;
    });
    let ended = 0;
    for (const socket of sockets) socket.once("close", () => ended++).resume();
    await until(() => ended >= 3);
    for (const socket of sockets) socket.destroy();
  });

  test(`a long answer comes whole, and a trace leaves it so, on ${name}`, async () => {
    for (const traced of [false, true]) {
      const rpc = new JsonRpc({ logger: silentLog(), ...(traced && { trace: trace(silentLog()) }) })
        .method("large", ([length]: [number]) => "ü".repeat(length));
      await using server = await serve(rpc);
      for (const length of [30_000, 65_536, 200_000, 500_000]) {
        const body = JSON.stringify(call("large", 1, [length]));
        const response = await fetch(server.url, { method: "POST", headers: JSON_TYPE, body });
        assertEquals(response.headers.get("content-type"), "application/json");
        assertEquals((await response.json()).result, "ü".repeat(length));
      }
      assertEquals(rpc.stats().memoryBytes, 0);
    }
  });

  test(`positions count in maxTotalBytes as long as their subscriptions last, on ${name}`, async () => {
    const rpc = new JsonRpc({ logger: silentLog() }).topic("news").topic("room.*");
    await using server = await serve(rpc);
    const line = await RawSocket.open(server.url);
    await line.ask(call("subscribe", 1, { topics: ["news"] }));
    const plain = rpc.stats().memoryBytes;
    await line.ask(call("subscribe", 2, { topics: ["news"], recover: true }));
    const recovering = rpc.stats().memoryBytes;
    assert(recovering - plain >= 500, `${recovering - plain}`);
    const epoch = "e".repeat(100);
    const since = { news: `${epoch}:1.${"i".repeat(32)}` };
    await line.ask(call("subscribe", 3, { topics: ["news"], recover: true, since }));
    const withPosition = rpc.stats().memoryBytes;
    assert(withPosition - recovering >= 260, `${withPosition - recovering}`);
    // Once more, and in the other way: what was counted before is taken back.
    await line.ask(call("subscribe", 4, { topics: ["news"], recover: true, since }));
    assertEquals(rpc.stats().memoryBytes, withPosition);
    await line.ask(call("subscribe", 5, { topics: ["news"] }));
    assertEquals(rpc.stats().memoryBytes, plain);
    await line.ask(call("subscribe", 6, { topics: ["news"], recover: true }));
    await line.ask(call("unsubscribe", 7, ["news"]));
    assertEquals(rpc.stats().memoryBytes, 0);
    await line.ask(call("subscribe", 8, { topics: ["news", "room.1"], recover: true, since }));
    line.disconnect();
    await until(() => rpc.stats().memoryBytes === 0);
  });

  test(`a position that is longer than any of this package is not kept, on ${name}`, async () => {
    const rpc = new JsonRpc({ logger: silentLog() }).topic("news");
    await using server = await serve(rpc);
    const line = await RawSocket.open(server.url);
    const of = async (position: unknown) => {
      const since = { news: position, other: "x".repeat(500_000) };
      const { result } = await line.ask(
        call("subscribe", 1, { topics: ["news"], recover: true, since }),
      );
      const { recovered } = result as { recovered: unknown };
      const bytes = rpc.stats().memoryBytes;
      await line.ask(call("unsubscribe", 2, ["news"]));
      return { recovered, bytes };
    };
    const lost = { recovered: { news: false }, bytes: (await of(undefined)).bytes };
    const id = "i".repeat(33);
    for (const long of [`${"e".repeat(101)}:1`, `e:1.${id}`, `e:${"1".repeat(17)}`, ["e:1"], 7]) {
      assertEquals(await of(long), lost);
    }
    line.disconnect();
  });
}
