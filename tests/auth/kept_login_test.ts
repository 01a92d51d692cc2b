/**
 * Logins of passwd that a client goes on with by itself: a plain `connect`, one call of `login`, and real sockets.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { connect, JsonRpc, loginRequired, RpcInvalidParamsError, RpcServerError } from "@x/jsonrpc";
import type { JsonRpcClient } from "@x/jsonrpc";
import { passwd } from "@x/jsonrpc/passwd";
import type { LoginTokenOptions } from "@x/jsonrpc/passwd";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import type { Log } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";

const SECRET = "a secret of the server that has 32 bytes and more";
const RECONNECT = { minMs: 1, maxMs: 20 };

async function home() {
  const folder = await mkdtemp(join(tmpdir(), "logins-"));
  const path = join(folder, "users.txt");
  return { path, [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
}

/** A server on a file; without `tokens` its users have to log in again after a reconnect. */
async function started(path: string, tokens?: Partial<LoginTokenOptions>, port = 0) {
  const options = { rounds: 1000 };
  const users = tokens === undefined
    ? passwd(path, options)
    : passwd(path, { ...options, tokens: { secret: SECRET, ...tokens } });
  await users.createUser("ann", "ann");
  const called: string[] = [];
  const rpc = new JsonRpc({ logger: silentLog() })
    .use((request, next) => {
      called.push(request.method);
      return next();
    })
    .use(users)
    .method("whoami", (_: unknown, { user }) => user?.name ?? null)
    .topic("news", { guards: [loginRequired] });
  const server = await serveHere(rpc, port);
  /** Ends all connections, as a proxy that restarts does. */
  function cut(): void {
    for (const connection of rpc.connections) connection.close(1012, "Restart");
  }
  return { users, rpc, ...server, called, cut, port: Number(new URL(server.url).port) };
}

/** Somebody who follows the documentation: one login, one subscription. */
async function loggedIn(target: string | (() => string)) {
  const logger = silentLog();
  const client = await connect(target, { logger, reconnect: RECONNECT });
  const [opened, heard, lost]: [number[], unknown[], string[]] = [[], [], []];
  client.addEventListener("open", () => opened.push(1));
  client.addEventListener("subscriptionlost", ({ topic }) => lost.push(topic));
  assertEquals(await client.call("login", ["ann", "ann"]), true);
  const errors: Error[] = [];
  const onError = (error: Error) => void errors.push(error);
  await client.subscribe("news", (data: unknown) => heard.push(data), { onError });
  return { client, logger, heard, lost, errors, reopened: () => until(() => opened.length > 0) };
}

function whoami(client: JsonRpcClient): Promise<unknown> {
  // The connection may be about to close.
  return client.call("whoami", undefined, { idempotent: true });
}

/** Waits until the next event reaches its subscriber. */
async function delivered(
  { rpc }: { readonly rpc: { publish(topic: "news", data: unknown): { deliveries: number } } },
  heard: readonly unknown[],
): Promise<void> {
  const before = heard.length;
  await until(() => rpc.publish("news", "after").deliveries === 1);
  await until(() => heard.length > before);
}

function hasNoToken(logger: Log): void {
  assert(!/[\w-]{40,}\.[\w-]{20,}/.test(logger.text), logger.text);
}

test("a login, its guarded topic and its events are back after the server closed with 1012", async () => {
  await using place = await home();
  await using server = await started(place.path, {});
  const { client, logger, heard, lost, errors, reopened } = await loggedIn(server.ws);
  await using _client = client;
  server.cut();
  await reopened();
  assertEquals(await whoami(client), "ann");
  assertEquals(await client.getSubscriptions(), ["news"]);
  await delivered(server, heard);
  assertEquals([lost, errors], [[], []]);
  // Before the topics are subscribed to again, and the password is sent once.
  const resumed = server.called.indexOf("login_with_token");
  assertEquals(server.called.lastIndexOf("subscribe"), resumed + 1);
  assertEquals(server.called.filter((name) => name === "login").length, 1);
  hasNoToken(logger);
});

test("a login goes on at a server that has restarted, and again after that", async () => {
  await using place = await home();
  const first = await started(place.path, {});
  const { client, heard } = await loggedIn(first.ws);
  await using _client = client;
  await first.stop();
  await using again = await started(place.path, {}, first.port);
  await delivered(again, heard);
  again.cut();
  await delivered(again, heard);
  assertEquals(await whoami(client), "ann");
});

test("a client gets a new token when half of the life of the last one is over", async () => {
  await using place = await home();
  await using server = await started(place.path, { maxAgeMs: 400 });
  const socket = new WebSocket(server.ws);
  const tokens: unknown[] = [];
  socket.addEventListener("message", ({ data }) => {
    const { method, params } = JSON.parse(data);
    if (method === "rpc.login") tokens.push(params.params.token);
  });
  socket.addEventListener("open", () => {
    socket.send('{"jsonrpc":"2.0","id":1,"method":"login","params":["ann","ann"]}');
  });
  await until(() => tokens.length >= 3);
  socket.close();
  assertEquals(new Set(tokens).size, tokens.length);
});

const endings: Readonly<
  Record<string, (server: Awaited<ReturnType<typeof started>>, client: JsonRpcClient) => unknown>
> = {
  "the user was deleted": ({ users }) => users.deleteUser("ann"),
  "the password has changed": ({ users }) => users.setPassword("ann", "new"),
};

for (const [why, end] of Object.entries(endings)) {
  test(`a client says so when its token is refused: ${why}`, async () => {
    await using place = await home();
    const first = await started(place.path, {});
    const { client, logger, lost, errors, reopened } = await loggedIn(first.ws);
    await using _client = client;
    await first.stop();
    const users = passwd(place.path, { rounds: 1000 });
    await end({ ...first, users }, client);
    await using again = await started(place.path, {}, first.port);
    await reopened();
    await until(() => errors.length > 0);
    assertEquals([lost, await whoami(client)], [["news"], null]);
    assertStringIncludes(logger.text, 'topic "news" ended');
    hasNoToken(logger);
    // The refused token is forgotten: nothing sends it a second time.
    again.cut();
    assertEquals(await whoami(client), null);
    assertEquals(again.called.filter((name) => name === "login_with_token").length, 1);
  });
}

test("a client says so when its token has expired while the server was away", async () => {
  await using place = await home();
  const first = await started(place.path, { maxAgeMs: 1000 });
  const { client, logger, errors } = await loggedIn(first.ws);
  await using _client = client;
  await first.stop();
  await new Promise((resolve) => setTimeout(resolve, 1100));
  await using _again = await started(place.path, { maxAgeMs: 1000 }, first.port);
  await until(() => errors.length > 0);
  assertEquals(await whoami(client), null);
  assertStringIncludes(logger.text, 'topic "news" ended');
});

test("a logout makes the client forget its token, and ends no login of another client", async () => {
  await using place = await home();
  await using server = await started(place.path, {});
  const [one, other] = [await loggedIn(server.ws), await loggedIn(server.ws)];
  await using _one = one.client;
  await using _other = other.client;
  await one.client.call("logout");
  server.cut();
  await one.reopened();
  await other.reopened();
  assertEquals([await whoami(one.client), await whoami(other.client)], [null, "ann"]);
  assertEquals(server.called.filter((name) => name === "login_with_token").length, 1);
  assertEquals([one.logger.text.includes("refused"), one.lost], [false, ["news"]]);
});

test("a user who sets an own new password stays logged in after a reconnect", async () => {
  await using place = await home();
  await using server = await started(place.path, {});
  const { client, heard } = await loggedIn(server.ws);
  await using _client = client;
  assertEquals(
    await client.call("set_password", { password: "new", old_password: "ann" }),
    true,
  );
  server.cut();
  await delivered(server, heard);
  assertEquals(await whoami(client), "ann");
});

test("a token goes to no server but the one that has made it", async () => {
  await using place = await home();
  await using one = await started(place.path, {});
  await using two = await started(place.path, {});
  const urls = [one.ws, two.ws];
  const { client, errors } = await loggedIn(() => urls.shift() ?? two.ws);
  await using _client = client;
  one.cut();
  await until(() => errors.length > 0);
  assertEquals([await whoami(client), two.called.includes("login_with_token")], [null, false]);
});

test("a client connects to a server that no longer knows its tokens", async () => {
  await using place = await home();
  const first = await started(place.path, {});
  const { client, logger, errors } = await loggedIn(first.ws);
  await using _client = client;
  await first.stop();
  await using _again = await started(place.path, undefined, first.port);
  await until(() => errors.length > 0);
  assertEquals(await whoami(client), null);
  assertStringIncludes(logger.text, 'topic "news" ended');
});

test("a server that fails to check a login is asked again, before anything else is sent", async () => {
  const called: string[] = [];
  let failures = 2;
  const rpc = new JsonRpc({ logger: silentLog() })
    .use((request, next) => {
      called.push(request.method);
      return next();
    })
    .user<{ name: string }>()
    .method("enter", (_: unknown, { connection }) => {
      connection.login({ name: "ann" });
      connection.notify("rpc.login", { method: "resume", params: ["ann"] });
    })
    .method("resume", ([name]: [string], { connection }) => {
      if (failures-- > 0) throw new RpcServerError(-32005, "Too many");
      connection.login({ name });
      return true;
    })
    .method("whoami", (_: unknown, { user }) => (user as { name: string } | null)?.name ?? null)
    .topic("news", { guards: [loginRequired] });
  await using server = await serveHere(rpc);
  const logger = silentLog();
  await using client = await connect(server.ws, { logger, reconnect: RECONNECT });
  await client.call("enter");
  await client.subscribe("news", () => {});
  called.length = 0;
  for (const connection of rpc.connections) connection.close(1012);
  assertEquals(await whoami(client), "ann");
  assertEquals(called.filter((name) => name !== "whoami").slice(0, 4), [
    ...["resume", "resume", "resume", "subscribe"],
  ]);
  assertStringIncludes(logger.text, "Too many");
});

test("a login that goes on comes before the program's own prepare, and both over POST never run", async () => {
  await using place = await home();
  await using server = await started(place.path, {});
  const seen: unknown[] = [];
  await using client = await connect(server.ws, {
    logger: silentLog(),
    reconnect: RECONNECT,
    prepare: async (connection) => void seen.push(await connection.call("whoami")),
  });
  await client.call("login", ["ann", "ann"]);
  server.cut();
  await until(() => seen.length === 2);
  assertEquals(seen, [null, "ann"]);
  await using poster = await connect(server.url, { prepare: () => seen.push("POST") });
  assertEquals(await whoami(poster), null);
  assertEquals(seen.length, 2);
});

test("a URL that the program changes later leads no login to another server", async () => {
  await using place = await home();
  await using server = await started(place.path, {});
  await using other = await started(place.path, {});
  const url = new URL(server.ws);
  await using client = await connect(url, { logger: silentLog(), reconnect: RECONNECT });
  await client.call("login", ["ann", "ann"]);
  url.port = `${other.port}`;
  server.cut();
  assertEquals(await whoami(client), "ann");
  assertEquals([server.called.at(-1), other.called], ["whoami", []]);
});

test("a logout that waits for a connection ends the login that goes on there", async () => {
  await using place = await home();
  await using server = await started(place.path, {});
  const { client, reopened } = await loggedIn(server.ws);
  await using _client = client;
  const closed = new Promise((resolve) => client.addEventListener("close", resolve));
  server.cut();
  await closed;
  const logout = client.call("logout");
  await reopened();
  assertEquals([await logout, await whoami(client)], [true, null]);
  server.cut();
  assertEquals(await whoami(client), null);
  assertEquals(server.called.filter((name) => name === "login_with_token").length, 1);
});

test("a token is refused for another account of the same name", async () => {
  await using place = await home();
  await using server = await started(place.path, {});
  await using client = await connect(server.ws, { logger: silentLog() });
  await client.call("login", ["ann", "ann"]);
  const token = await client.call("login_token");
  await server.users.deleteUser("ann");
  await server.users.createUser("ann", "ann");
  assertEquals(await client.call("login_with_token", { token }), false);
  const [, signature] = `${token}`.split(".");
  const forged = btoa(JSON.stringify(["ann", Date.now() + 1e6, "x"])).replace(/=+$/, "");
  assertEquals(await client.call("login_with_token", [`${forged}.${signature}`]), false);
  assertEquals(await whoami(client), null);
});

test("a login whose params the server refuses is forgotten, and the client connects without it", async () => {
  const rpc = new JsonRpc({ logger: silentLog() })
    .method("enter", (_: unknown, { connection }) => {
      connection.notify("rpc.login", { method: "resume", params: ["old"] });
    })
    // As jwt's `login` refuses a token that has expired.
    .method("resume", () => {
      throw new RpcInvalidParamsError({ data: "expired" });
    })
    .method("whoami", (_: unknown, { user }) => user ?? null);
  await using server = await serveHere(rpc);
  await using client = await connect(server.ws, { logger: silentLog(), reconnect: RECONNECT });
  await client.call("enter");
  for (const connection of rpc.connections) connection.close(1012);
  assertEquals(await client.call("whoami", undefined, { idempotent: true, timeoutMs: 5000 }), null);
});
