/**
 * A client that slept, or was blocked: it reads what has arrived before it judges its server, and it finds out
 * soon whether the server is still there.
 */
import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { MessageChannel } from "node:worker_threads";
import { connect, JsonRpc, RpcTimeoutError } from "@x/jsonrpc";
import type { ClientTarget } from "@x/jsonrpc";
import { byteStream } from "@x/jsonrpc/byte_stream";
import { messagePort } from "@x/jsonrpc/port";
import type { Port } from "@x/jsonrpc/port";
import type { Clock } from "@sinonjs/fake-timers";
import { silentLog } from "../helpers/log.ts";
import { scripted } from "../helpers/scripted_server.ts";
import type { Scripted } from "../helpers/scripted_server.ts";
import { serveHere } from "../helpers/server.ts";
import { block, withClock } from "../helpers/sleep.ts";

// -- what is read first --

/** A server whose answers can only be read when the time of the call is up. */
function slowServer() {
  return new JsonRpc({ logger: silentLog() }).method("slow", () => {
    block(450);
    return "in time";
  });
}

type Carrier = (rpc: JsonRpc) => Promise<readonly [ClientTarget, () => Promise<unknown>]>;

const CARRIERS: Readonly<Record<string, Carrier>> = {
  async WebSocket(rpc) {
    const server = await serveHere(rpc);
    return [server.ws, server.stop];
  },
  async POST(rpc) {
    const server = await serveHere(rpc);
    return [server.url, server.stop];
  },
  "a message port"(rpc) {
    const { port1, port2 } = new MessageChannel();
    rpc.attach(messagePort(port2 as unknown as Port));
    return Promise.resolve([messagePort(port1 as unknown as Port), () => rpc.close()]);
  },
  "a byte stream"(rpc) {
    const [up, down] = [new TransformStream<Uint8Array>(), new TransformStream<Uint8Array>()];
    rpc.attach(byteStream({ readable: up.readable, writable: down.writable }));
    const near = byteStream({ readable: down.readable, writable: up.writable });
    return Promise.resolve([near, () => rpc.close()]);
  },
};

for (const [name, carry] of Object.entries(CARRIERS)) {
  test(`a call whose answer is unread at its deadline gets the answer, over ${name}`, async () => {
    const [target, stop] = await carry(slowServer() as unknown as JsonRpc);
    const client = await connect(target, { logger: silentLog() });
    assertEquals(await client.call("slow", undefined, { timeoutMs: 200 }), "in time");
    await client.close();
    await stop();
  });
}

test("connectMs leaves time for a handshake that is unread", async () => {
  const rpc = new JsonRpc({ logger: silentLog() }).method("ping", () => "pong");
  const { websocket } = rpc;
  await using server = await serveHere({
    fetch(request, host) {
      block(600);
      return rpc.fetch(request, host);
    },
    websocket,
    close: () => rpc.close(),
  });
  const client = await connect(server.ws, { connectMs: 300, logger: silentLog() });
  assertEquals(await client.call("ping"), "pong");
  await client.close();
});

// -- how soon a dead connection is found --

const SLEEPS: Readonly<Record<string, (clock: Clock) => void>> = {
  "whose clocks went on": (clock) => {
    clock.jump(600_000);
    // What has arrived is read first.
    clock.tick(250);
  },
  "whose timers stood still": (clock) => {
    clock.setSystemTime(Date.now() + 600_000);
    // The timers go on where they were.
    clock.tick(10_000);
  },
};

/** Lets promises of linked sockets settle, without moving the clock. */
async function settle(clock: Clock): Promise<void> {
  for (let n = 0; n < 5; n++) await clock.tickAsync(0);
}

async function connected(script: Scripted, clock: Clock): Promise<void> {
  const opening = script.client.connect();
  await settle(clock);
  await opening;
}

for (const heartbeatMs of [0, 10_000]) {
  const pings = heartbeatMs === 0 ? "without heartbeats" : "with heartbeats";
  for (const [how, sleep] of Object.entries(SLEEPS)) {
    test(`a computer that slept and ${how} leaves a silent connection after 2 s, ${pings}`, () =>
      withClock(async (clock) => {
        const script = scripted({ heartbeatMs });
        await connected(script, clock);
        sleep(clock);
        await settle(clock);
        assertEquals(script.wires[0]?.received.map((text) => JSON.parse(text).method), [
          "rpc.ping",
        ]);
        await clock.tickAsync(1990);
        assertEquals(script.events, ["open"]);
        await clock.tickAsync(20);
        assertEquals(script.events.slice(1, 3), [
          "close 1006 No answer to a ping within 2000 ms",
          "reconnecting 1",
        ]);
        await settle(clock);
        assertEquals([script.client.state, script.wires.length], ["open", 2]);
        void script.client.close();
        await clock.tickAsync(2000);
      }));

    test(`a computer that slept and ${how} keeps a connection that answers, ${pings}`, () =>
      withClock(async (clock) => {
        const script = scripted({ heartbeatMs });
        await connected(script, clock);
        sleep(clock);
        await settle(clock);
        const wire = script.wires[0];
        const { id } = JSON.parse(wire?.received[0] ?? "{}");
        await clock.tickAsync(1500);
        wire?.send({ jsonrpc: "2.0", id, error: { code: -32601, message: "Method not found" } });
        await clock.tickAsync(5000);
        assertEquals([script.client.state, script.events], ["open", ["open"]]);
        void script.client.close();
        await clock.tickAsync(2000);
      }));
  }
}

test("a computer that sleeps while a ping is on its way asks again before it leaves", () =>
  withClock(async (clock) => {
    const script = scripted({ heartbeatMs: 10_000 });
    await connected(script, clock);
    await clock.tickAsync(10_000);
    const [wire] = script.wires;
    assertEquals(wire?.received.length, 1);
    // What answers the first ping was lost, or never sent: the other end had no network either.
    clock.jump(600_000);
    await clock.tickAsync(1000);
    assertEquals([script.events, wire?.received.length], [["open"], 2]);
    const { id } = JSON.parse(wire?.received[1] ?? "{}");
    wire?.send({ jsonrpc: "2.0", id, result: null });
    await clock.tickAsync(5000);
    assertEquals([script.client.state, script.events], ["open", ["open"]]);
    void script.client.close();
    await clock.tickAsync(2000);
  }));

test("a probe is sent although a heartbeat with more patience is on its way", () =>
  withClock(async (clock) => {
    const script = scripted({ heartbeatMs: 60_000 });
    await connected(script, clock);
    await clock.tickAsync(60_000);
    assertEquals(script.wires[0]?.received.length, 1);
    await clock.tickAsync(100);
    globalThis.dispatchEvent?.(new Event("online"));
    await clock.tickAsync(2100);
    const [, close] = script.events;
    const wanted = "close 1006 No answer to a ping within 2000 ms";
    assertEquals(close, globalThis.dispatchEvent === undefined ? undefined : wanted);
    void script.client.close();
    await clock.tickAsync(2000);
  }));

test("a call times out at its deadline if the process was awake", () =>
  withClock(async (clock) => {
    const script = scripted();
    await connected(script, clock);
    const call = script.client.call("slow", undefined, { timeoutMs: 1000 });
    let outcome: unknown;
    call.catch((error) => outcome = error instanceof RpcTimeoutError);
    await clock.tickAsync(999);
    assertEquals(outcome, undefined);
    await clock.tickAsync(1);
    assertEquals(outcome, true);
    void script.client.close();
    await clock.tickAsync(2000);
  }));
