/**
 * A server that was blocked, or asleep, reads what has arrived before it judges the other side.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { connect as connectTcp } from "node:net";
import type { Socket } from "node:net";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { connect, JsonRpc } from "@x/jsonrpc";
import type { Limits } from "@x/jsonrpc";
import { Connections } from "../../src/server/connections.ts";
import { afterBody } from "../../src/server/http/discard_body.ts";
import type { Peer } from "../../src/server/peer.ts";
import { quietMoment } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { within } from "../helpers/raw_client.ts";
import { skipUnless } from "../helpers/needs.ts";
import { runtimeHere } from "../helpers/runtimes.ts";
import { serveHere, serveOnNode } from "../helpers/server.ts";
import { block, withClock } from "../helpers/sleep.ts";

// Taken before any test replaces it.
const realTimeout = setTimeout as unknown as (
  run: () => void,
  ms: number,
) => { unref?(): void };

const starts = {
  "serve() of ./node": serveOnNode,
  "the runtime's own server": serveHere,
};

for (const [what, start] of Object.entries(starts)) {
  test(`a method that waits for its caller has time for an answer that is unread, on ${what}`, async () => {
    const rpc = new JsonRpc({ logger: silentLog() })
      .method("confirm", { timeoutMs: 200 }, (_params, request) => request.call("ask"));
    await using server = await start(rpc as unknown as JsonRpc);
    await using client = await connect(server.ws);
    client.method("ask", () => {
      // The time is up before this answer can be read.
      block(500);
      return "yes";
    });
    assertEquals(await client.call("confirm"), "yes");
  });

  test(`a body that was there in time is read after a block, on ${what}`, async () => {
    const rpc = new JsonRpc({ logger: silentLog(), bodyTimeoutMs: 500 })
      .method("size", ([text]: [string]) => text.length);
    await using server = await start(rpc as unknown as JsonRpc);
    const body = JSON.stringify({
      jsonrpc: "2.0",
      method: "size",
      params: ["x".repeat(40_000)],
      id: 1,
    });
    const socket = await tcp(server.url);
    const head = "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" +
      `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
    socket.write(head + body.slice(0, 20_000));
    await new Promise((resolve) => setTimeout(resolve, 100));
    block(1500);
    socket.write(body.slice(20_000));
    let answer = "";
    for await (const chunk of socket.setEncoding("utf8")) answer += chunk;
    assertStringIncludes(answer, '"result":40000');
  });

  test(
    `heartbeats spare a peer whose pong is unread, on ${what}`,
    ownHeartbeat(start),
    async () => {
      const rpc = new JsonRpc({ logger: silentLog(), heartbeatMs: 400 }).method(
        "ping",
        () => "pong",
      );
      await using server = await start(rpc as unknown as JsonRpc);
      await using client = await connect<typeof rpc>(server.ws, { reconnect: false });
      // Blocks right after each ping, for a little more than a heartbeat.
      let rounds = 0;
      const blocking = setInterval(() => {
        rounds++;
        block(460);
      }, 400);
      while (rounds < 3) await new Promise((resolve) => setTimeout(resolve, 10));
      clearInterval(blocking);
      assertEquals([await client.call("ping"), client.state], ["pong", "open"]);
    },
  );

  test(`a burst counts as unread only once the network had time to take it, on ${what}`, async () => {
    const rpc = new JsonRpc({ logger: silentLog() })
      .method("flood", (_params: unknown, { connection }) => {
        for (let n = 0; n < 8; n++) connection.notify("much", ["x".repeat(900_000)]);
        block(1300);
        return "done";
      });
    await using server = await start(rpc as unknown as JsonRpc);
    await using client = await connect<typeof rpc>(server.ws, { logger: silentLog() });
    assertEquals(await client.call("flood"), "done");
  });

  test(`a socket whose opening is unread is not given up, on ${what}`, () =>
    withClock(async (clock) => {
      const rpc = new JsonRpc({ logger: silentLog() }).method("ping", () => "pong");
      const { websocket } = rpc;
      await using server = await start({
        async fetch(request, host) {
          const response = await rpc.fetch(request, host);
          clock.jump(600_000);
          return response;
        },
        websocket,
        close: () => rpc.close(),
      });
      const socket = new WebSocket(server.ws);
      const answer = await new Promise<string>((resolve) => {
        realTimeout(() => resolve("nothing came"), 20_000).unref?.();
        socket.onopen = () => socket.send('{"jsonrpc":"2.0","method":"ping","id":1}');
        socket.onmessage = ({ data }) => resolve(data);
        socket.onclose = ({ reason }) => resolve(`closed: ${reason}`);
      });
      assertEquals(answer, '{"jsonrpc":"2.0","result":"pong","id":1}');
      socket.close();
      // What closes with the server waits for timers.
      clock.setTickMode({ mode: "nextAsync" });
    }));
}

function ownHeartbeat(start: unknown) {
  const isOwn = runtimeHere !== "deno" || start !== serveHere;
  return skipUnless(isOwn, "Deno's own server decides itself when a peer is gone");
}

async function tcp(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connectTcp(Number(port), hostname);
  await within(new Promise((resolve) => socket.once("connect", resolve)), "a connection");
  return socket;
}

test("a peer whose answer to a close is unread is not terminated", () =>
  withClock((clock) => {
    const connections = new Connections({ heartbeatMs: 0, maxConnections: 9 } as Limits);
    const terminated: string[] = [];
    const peer = (name: string) =>
      ({ canTerminate: true, terminate: () => terminated.push(name) }) as unknown as Peer;
    const [answers, silent] = [peer("answers"), peer("silent")];
    for (const each of [answers, silent]) {
      connections.reserve();
      connections.add(each);
      connections.scheduleTerminate(each);
    }
    clock.jump(3_600_000);
    assertEquals(terminated, []);
    connections.delete(answers);
    clock.tick(1000);
    assertEquals(terminated, ["silent"]);
    return Promise.resolve();
  }));

test("the rest of a refused body is read after a sleep, before the refusal is sent", () =>
  withClock(async (clock) => {
    let rest!: ReadableStreamDefaultController<Uint8Array>;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => void (rest = controller),
    });
    const request = new Request(
      "http://localhost/",
      { method: "POST", body, duplex: "half" } as RequestInit,
    );
    let isGiven = false;
    const given = Promise.resolve(afterBody(request, new Response("No"))).then(() =>
      isGiven = true
    );
    await quietMoment();
    clock.jump(3_600_000);
    await setImmediate();
    assert(!isGiven);
    rest.enqueue(new Uint8Array(10));
    rest.close();
    await given;
  }));
