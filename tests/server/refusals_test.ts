import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import {
  connect,
  guard,
  JsonRpc,
  loginRequired,
  permissionRequired,
  RpcError,
  RpcFailure,
  RpcTimeoutError,
  userPassesTest,
} from "@x/jsonrpc";
import type { JsonRpcClient, JsonRpcOptions } from "@x/jsonrpc";
import { testClient } from "@x/jsonrpc/testing";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";

interface User {
  readonly name: string;
  readonly permissions?: readonly string[];
}

function testServer(options: JsonRpcOptions = {}) {
  const logger = silentLog();
  function atHome(): boolean {
    return false;
  }
  const rpc = new JsonRpc({ logger, ...options })
    .use<User | null>({ name: "users" })
    .method("add", ([a, b]: [number, number]) => a + b)
    .method("whoami", { use: [loginRequired] }, () => "you")
    .method("restart", { use: [permissionRequired("operate")] }, () => "restarting")
    .method("home", { use: [guard(atHome)] }, () => "sweet")
    .method("vault", { use: [guard(() => false, "the vault's key")] }, () => "gold")
    .method("casino", { use: [userPassesTest(() => false)] }, () => "chips")
    .topic("news")
    .topic("secret", { guards: [loginRequired] });
  return { rpc, logger };
}

const REASONS = {
  ad: 'no method has this name; did you mean "add"?',
  nothing_like_it: "no method has this name",
  whoami: "the guard loginRequired refuses it",
  restart: 'the guard permissionRequired("operate") refuses it',
  home: "the guard atHome refuses it",
  vault: "the guard the vault's key refuses it",
  casino: "the guard userPassesTest(a test without a name) refuses it",
};

function failureOf(client: JsonRpcClient, method: string): Promise<RpcError> {
  return assertRejects(() => client.call(method), RpcError) as Promise<RpcError>;
}

test("the log says at debug level who was refused what, by which guard; the caller cannot tell", async () => {
  const { rpc, logger } = testServer();
  await using client = await testClient(rpc) as unknown as JsonRpcClient;
  for (const [method, reason] of Object.entries(REASONS)) {
    const { code, message, data } = await failureOf(client, method);
    assertEquals([code, message, data], [-32601, "Method not found", undefined]);
    const why = reason.replace(/; did.*/, "");
    const line = `debug: Refused method "${method}" to 127.0.0.1 without a user: ${why}`;
    assertEquals(logger.lines.at(-1), line);
  }
  const user = { name: "ada" };
  await using ada = await testClient(rpc, { user }) as unknown as JsonRpcClient;
  await failureOf(ada, "restart");
  assert(logger.lines.at(-1)?.includes('to 127.0.0.1 (user "ada"): the guard permissionRequired'));
});

test("the log says which topics were refused, and why", async () => {
  const { rpc, logger } = testServer();
  await using client = await testClient(rpc);
  const topics = ["news", "secret", "nowhere"];
  assertEquals(await client.call("subscribe" as "add", topics as never) as unknown, ["news"]);
  assertEquals(logger.lines.slice(-2), [
    'debug: Refused topic "secret" to 127.0.0.1 without a user: the guard loginRequired refuses it',
    'debug: Refused topic "nowhere" to 127.0.0.1 without a user: no topic has this name',
  ]);
});

test("explainRefusals puts the reason into the error, over WebSocket, POST and GET, and warns", async () => {
  const { rpc, logger } = testServer({ explainRefusals: true });
  assert(logger.text.startsWith("warn: explainRefusals is on: "));
  await using server = await serveHere(rpc);
  for (const url of [server.ws, server.url]) {
    await using client = await connect(url) as unknown as JsonRpcClient;
    for (const [method, reason] of Object.entries(REASONS)) {
      const { code, message, data } = await failureOf(client, method);
      assertEquals([code, message, data], [-32601, "Method not found", reason]);
    }
  }
  await using poster = await connect(server.url) as unknown as JsonRpcClient;
  assertEquals((await failureOf(poster, "subscribe")).data, "it needs a WebSocket");
  const response = await fetch(`${server.url}/?method=add&params=[1,2]&id=1`);
  const { error } = await response.json();
  assertEquals(error.data, "it cannot be called by GET: see the option `get` of a method");
});

test("a caller that is refused again and again cannot fill the log", async () => {
  const { rpc, logger } = testServer();
  await using client = await testClient(rpc) as unknown as JsonRpcClient;
  const start = performance.now();
  await Promise.all(Array.from({ length: 900 }, () => failureOf(client, "missing")));
  await client.call("subscribe", Array.from({ length: 900 }, (_, n) => `topic ${n}`));
  const seconds = (performance.now() - start) / 1000;
  assert(logger.lines.length <= 21 * Math.ceil(seconds + 1), `${logger.lines.length} lines`);
});

test("an error of a call names its method", async () => {
  const rpc = new JsonRpc({ logger: silentLog() })
    .method("refuse", () => {
      throw new RpcError(1, "No");
    })
    .method("wait", () => new Promise(() => {}))
    .method("hangUp", (_params: unknown, { connection }) => connection.close(1011));
  await using client = await testClient(rpc, { logger: silentLog(), reconnect: false });
  const refused = await assertRejects(() => client.call("refuse"), RpcError);
  const late = await assertRejects(
    () => client.call("wait", undefined, { timeoutMs: 10 }),
    RpcTimeoutError,
  );
  const lost = await assertRejects(() => client.call("hangUp"), RpcFailure);
  const methods = [refused, late, lost].map((error) => (error as RpcFailure).method);
  assertEquals(methods, ["refuse", "wait", "hangUp"]);
  assertEquals("method" in new RpcError(1, "No"), false);
});
