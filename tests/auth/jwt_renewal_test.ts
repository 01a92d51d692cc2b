/**
 * New tokens on an open connection, before the old one expires.
 */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { decodeJwt, SignJWT } from "jose";
import type { JWTPayload } from "jose";
import { test } from "node:test";
import { connect, JsonRpc, loginRequired, RpcError, RpcInvalidParamsError } from "@x/jsonrpc";
import type { ClientOptions } from "@x/jsonrpc/client";
import { jwt } from "@x/jsonrpc/jwt";
import { quietMoment, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";
import { block } from "../helpers/sleep.ts";

const secret = crypto.getRandomValues(new Uint8Array(32));

/** Makes a token that lives for so many seconds. */
function tokenFor(sub: string | undefined, seconds: number): Promise<string> {
  const claims: JWTPayload = { exp: Date.now() / 1000 + seconds };
  if (sub !== undefined) claims.sub = sub;
  return new SignJWT(claims).setProtectedHeader({ alg: "HS256" }).sign(secret);
}

/** When a token expires. */
function expiryOf(token: string): number {
  return (decodeJwt(token).exp ?? 0) * 1000;
}

async function started(leewayMs = 0) {
  const logger = silentLog();
  // What each call of `renew_token` brought.
  const renewals: [token: string][] = [];
  const rpc = new JsonRpc({ logger })
    .use((request, next) => {
      const { method, params } = request;
      if (method === "renew_token") {
        const token = Array.isArray(params) ? params[0] : (params as { token: string }).token;
        renewals.push([token]);
      }
      return next();
    })
    .use(jwt({ secret, algorithms: ["HS256"], leewayMs }))
    .method("whoami", (_: unknown, { user }) => user?.name ?? null)
    .topic("clock", { guards: [loginRequired], history: { size: 1000 } });
  const server = await serveHere(rpc);
  let count = 0;
  const ticking = setInterval(() => rpc.publish("clock", ++count), 20);
  return {
    rpc,
    server,
    renewals,
    async [Symbol.asyncDispose]() {
      clearInterval(ticking);
      await server.stop();
    },
  };
}

/** A client that reads the topic, and notes what must not happen. */
async function reader(
  url: string,
  token: () => Promise<string>,
  socket: ClientOptions["WebSocket"] = undefined,
) {
  const logger = silentLog();
  const client = await connect(url, {
    token,
    logger,
    reconnect: { minMs: 1, maxMs: 20 },
    ...socket && { WebSocket: socket },
  });
  const [heard, gaps, closes]: [number[], unknown[], number[]] = [[], [], []];
  client.addEventListener("close", ({ code }) => closes.push(code));
  await client.subscribe("clock", (tick) => heard.push(tick as number), {
    recover: true,
    onGap: (gap) => gaps.push(gap),
  });
  /** The ticks that were left out, or came twice. */
  const holes = () => heard.filter((tick, index) => index > 0 && tick !== heard[index - 1]! + 1);
  return { client, logger, heard, gaps, closes, holes };
}

test("tokens are renewed on the open connection: no close, no gap", async () => {
  await using place = await started();
  const { client, heard, gaps, closes, holes, logger } = await reader(
    place.server.ws,
    () => tokenFor("ada", 60),
  );
  await using _client = client;
  for (let renewal = 1; renewal <= 3; renewal++) {
    // As the server asks shortly before the expiry.
    for (const connection of place.rpc.connections) {
      connection.notify("rpc.login", { method: "renew_token" });
    }
    await until(() => place.renewals.length === renewal);
    const before = heard.length;
    await until(() => heard.length > before);
  }
  assertEquals([closes, gaps, holes(), await client.call("whoami")], [[], [], [], "ada"]);
  assertEquals(new Set(place.renewals.map(([token]) => token)).size, 3);
  assert(!logger.text.includes("eyJ"), logger.text);
});

test("a token of another subject is refused, and the connection goes on with its own", async () => {
  await using place = await started();
  await using client = await connect(place.server.ws, { token: await tokenFor("ada", 60) });
  const others = [await tokenFor("bob", 60), await tokenFor(undefined, 60)];
  for (const token of [...others, "x.y.z", await tokenFor("ada", -1)]) {
    const renewal = client.call("renew_token", { token });
    const error = await assertRejects(() => renewal, RpcInvalidParamsError, "Token rejected");
    assert(!error.message.includes(token), error.message);
  }
  await assertRejects(
    () => client.call("renew_token", [others[0]]),
    RpcInvalidParamsError,
    "another subject than the token before",
  );
  assertEquals([await client.call("whoami"), client.state], ["ada", "open"]);
  assertEquals(await client.call("renew_token", [await tokenFor("ada", 60)]), true);
  assertEquals(await client.call("login", [others[0]]), true);
  assertEquals(await client.call("whoami"), "bob");
});

test("a client whose function gives another subject's token says so in its log", async () => {
  await using place = await started();
  let calls = 0;
  const { client, logger, closes } = await reader(
    place.server.ws,
    () => tokenFor(calls++ === 1 ? "bob" : "ada", 60),
  );
  await using _client = client;
  // As the server asks shortly before the expiry.
  for (const connection of place.rpc.connections) {
    connection.notify("rpc.login", { method: "renew_token" });
  }
  await until(() => logger.text.includes("rpc.login failed"));
  assertStringIncludes(logger.text, "another subject");
  assertEquals([closes, await client.call("whoami")], [[], "ada"]);
});

test("the server asks for a new token, and again if the renewal fails", async () => {
  await using place = await started();
  let calls = 0;
  const { client, logger, holes } = await reader(place.server.ws, () => {
    // An RpcError, as a function throws that asks another server for the token.
    if (++calls === 2) throw new RpcError(1, "The issuer is away");
    return tokenFor("ada", 3);
  });
  await using _client = client;
  await until(() => place.renewals.length >= 1);
  assertEquals([holes(), calls >= 3], [[], true]);
  assertStringIncludes(logger.text, "The issuer is away");
});

test("a client without a function, or of a token without a subject, is closed with 4401", async () => {
  await using place = await started();
  const fixed = await tokenFor("ada", 1);
  for (const token of [fixed, () => tokenFor(undefined, 1)]) {
    const client = await connect(place.server.ws, { token, logger: silentLog() }).catch(() => null);
    if (client === null) continue; // a token without a subject makes no user here
    await using _client = client;
    const codes: number[] = [];
    client.addEventListener("close", ({ code }) => codes.push(code));
    await until(() => codes.length > 0);
    assertEquals([codes[0], place.renewals], [4401, []]);
  }
});

test("after a sleep no stale token is sent, and the topic goes on", async () => {
  await using place = await started();
  const stale: string[] = [];
  class WatchedSocket extends WebSocket {
    override send(data: string): void {
      const [token] = /eyJ[\w.-]+/.exec(data) ?? [];
      if (token !== undefined && expiryOf(token) <= Date.now()) stale.push(token);
      super.send(data);
    }
  }
  const { client, heard, holes, gaps } = await reader(
    place.server.ws,
    () => tokenFor("ada", 1),
    WatchedSocket as unknown as NonNullable<ClientOptions["WebSocket"]>,
  );
  await using _client = client;
  await until(() => heard.length > 3);
  // All timers of both ends fire late.
  block(1300);
  const before = heard.length;
  await until(() => heard.length > before + 3);
  assertEquals(await client.call("whoami", undefined, { idempotent: true }), "ada");
  assertEquals([stale, holes(), gaps], [[], [], []]);
});

test("asks for a new token that come at once are answered with one call of `token`", async () => {
  await using place = await started();
  const late = Promise.withResolvers<void>();
  const asked: string[] = [];
  let calls = 0;
  const { client } = await reader(place.server.ws, async () => {
    if (++calls === 2) await late.promise;
    const token = await tokenFor("ada", 60);
    asked.push(token);
    return token;
  });
  await using _client = client;
  const [connection] = place.rpc.connections;
  for (let n = 0; n < 3; n++) connection?.notify("rpc.login", { method: "renew_token" });
  await client.call("whoami"); // the client has read the asks
  assertEquals(calls, 2);
  late.resolve();
  await until(() => place.renewals.length === 3);
  assertEquals(place.renewals, [[asked[1]], [asked[1]], [asked[1]]]);
  // What is asked later gets a new one.
  connection?.notify("rpc.login", { method: "renew_token" });
  await until(() => place.renewals.length === 4);
  assertEquals([asked.length, place.renewals[3]], [3, [asked[2]]]);
});

test("a token that comes after the connection has closed harms nothing", async () => {
  await using place = await started();
  const late = Promise.withResolvers<void>();
  let calls = 0;
  const { client, logger, closes, heard } = await reader(place.server.ws, async () => {
    if (++calls === 2) await late.promise;
    return await tokenFor("ada", 1);
  });
  await using _client = client;
  await until(() => calls >= 2);
  for (const connection of place.rpc.connections) connection.close(1012);
  await until(() => closes.length > 0);
  const before = heard.length;
  await until(() => heard.length > before);
  late.resolve();
  await until(() => logger.text.includes("rpc.login failed"));
  await quietMoment();
  assertEquals(await client.call("whoami"), "ada");
});

test("a user that the program has put in place of the token's stays after a renewal", async () => {
  const rpc = new JsonRpc({ logger: silentLog() })
    .use(jwt({ secret, algorithms: ["HS256"] }))
    .method("rename", (_: unknown, { connection, user }) => {
      connection.login({ ...user!, name: "Ada L." });
    })
    .method("whoami", (_: unknown, { user }) => user?.name ?? null);
  await using server = await serveHere(rpc);
  await using client = await connect(server.ws, { token: await tokenFor("ada", 60) });
  await client.call("rename");
  await client.call("renew_token", [await tokenFor("ada", 90)]);
  assertEquals(await client.call("whoami"), "Ada L.");
});

test("a token that counts only by the leeway is not asked for all the time", async () => {
  await using place = await started(60_000);
  const kept = await tokenFor("ada", -1);
  for (const token of [() => Promise.resolve(kept), () => tokenFor("ada", -1)]) {
    await using client = await connect(place.server.ws, { token, logger: silentLog() });
    // Time enough for many renewals.
    for (let call = 0; call < 50; call++) await client.call("whoami");
    await quietMoment();
    assertEquals([place.renewals, client.state], [[], "open"]);
  }
});

test("a client that brings the same token again is asked a few times, not ever more often", async () => {
  await using place = await started();
  const token = await tokenFor("ada", 2);
  const { client, closes } = await reader(
    place.server.ws,
    () =>
      place.renewals.length > 0 && expiryOf(token) <= Date.now()
        ? tokenFor("ada", 60)
        : Promise.resolve(token),
  );
  await using _client = client;
  await until(() => closes.length > 0);
  assertEquals(closes, [4401]);
  assert(place.renewals.length <= 5, `${place.renewals.length}`);
});
