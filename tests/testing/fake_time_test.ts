/**
 * A clock of `@sinonjs/fake-timers` moves all that this module waits for, as docs/testing.md shows.
 */
import { assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { connect, JsonRpc, RpcTimeoutError } from "@x/jsonrpc";
import { jwt } from "@x/jsonrpc/jwt";
import { linkedSockets, testClient } from "@x/jsonrpc/testing";
import { SignJWT } from "jose";
import { silentLog } from "../helpers/log.ts";
import { withClock } from "../helpers/sleep.ts";

test("a fake clock moves the deadline of calls", () =>
  withClock(async (clock) => {
    const rpc = new JsonRpc({ logger: silentLog() }).method("wait", () => new Promise(() => {}));
    await using client = await testClient(rpc);
    const answer = client.call("wait", undefined, { timeoutMs: 86_400_000 });
    answer.catch(() => {});
    await clock.tickAsync(86_399_000);
    assertEquals(await Promise.race([answer, "pending"]), "pending");
    await clock.tickAsync(1000);
    await assertRejects(() => answer, RpcTimeoutError);
  }));

test("a fake clock moves the delays between attempts to connect", () =>
  withClock(async (clock) => {
    let opened = 0;
    const delays: number[] = [];
    const transport = {
      canReconnect: true,
      open() {
        opened++;
        throw new Error("Nobody is there");
      },
    };
    const reconnect = { first: true, minMs: 1000, maxMs: 60_000 };
    const connecting = connect(transport, { logger: silentLog(), reconnect });
    connecting.catch(() => {});
    await clock.tickAsync(0);
    assertEquals(opened, 1);
    for (let hours = 0; hours < 2; hours++) {
      const before = opened;
      await clock.tickAsync(3_600_000);
      delays.push(opened - before);
    }
    // With full jitter an attempt comes every 30 seconds on average.
    assertEquals(delays.map((attempts) => attempts > 60), [true, true]);
  }));

test("a fake clock moves heartbeats: a peer that does not answer is dropped", () =>
  withClock(async (clock) => {
    const rpc = new JsonRpc({ logger: silentLog() });
    const [near, far] = linkedSockets();
    const client = await connect(near, {
      heartbeatMs: 20_000,
      reconnect: false,
      logger: silentLog(),
    });
    const closed = new Promise<number>((resolve) => {
      client.addEventListener("close", ({ code }) => resolve(code));
    });
    // The other end stays open and says nothing.
    assertEquals(far.readyState, 1);
    await clock.tickAsync(60_000);
    assertEquals(await Promise.race([closed, "open"]), 1006);
    await rpc.close();
  }));

test("a fake clock moves the expiry of tokens", () =>
  withClock(async (clock) => {
    const key = new TextEncoder().encode("a secret of at least 32 bytes, for tests");
    const token = await new SignJWT({ sub: "ada" }).setProtectedHeader({ alg: "HS256" })
      .setIssuedAt().setExpirationTime("1 hour").sign(key);
    const rpc = new JsonRpc({ logger: silentLog() })
      .use(jwt({ secret: key, algorithms: ["HS256"], leewayMs: 0 }));
    await using client = await testClient(rpc, { token, reconnect: false, logger: silentLog() });
    const codes: number[] = [];
    client.addEventListener("close", ({ code }) => codes.push(code));
    await clock.tickAsync(3_590_000);
    assertEquals(codes, []);
    await clock.tickAsync(20_000);
    assertEquals(codes, [4401]);
  }));
