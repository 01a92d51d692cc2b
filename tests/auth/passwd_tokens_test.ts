import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { connect, JsonRpc, loginRequired, RpcInvalidParamsError } from "@x/jsonrpc";
import type { JsonRpcClient } from "@x/jsonrpc";
import { passwd } from "@x/jsonrpc/passwd";
import type { LoginTokenOptions } from "@x/jsonrpc/passwd";
import { linkedSockets } from "@x/jsonrpc/testing";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";

const SECRET = "a secret of the server that has 32 bytes and more";

async function home() {
  const folder = await mkdtemp(join(tmpdir(), "tokens-"));
  const path = join(folder, "users.txt");
  return { path, [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
}

/** A server on a file. A second one on the same file is the same server after a restart. */
async function started(path: string, tokens: LoginTokenOptions = { secret: SECRET }) {
  const users = passwd(path, { rounds: 1000, tokens });
  await users.createUser("ann", "ann");
  await users.createUser("bob", "bob");
  const rpc = new JsonRpc({ logger: silentLog() }).use(users)
    .method("whoami", (_: unknown, { user }) => user?.name ?? null)
    .topic("news", { guards: [loginRequired] });
  async function client(): Promise<JsonRpcClient> {
    const [near, far] = linkedSockets();
    rpc.attach(far);
    return await connect(near);
  }
  async function tokenOf(name: string): Promise<[token: string, client: JsonRpcClient]> {
    const own = await client();
    await own.call("login", [name, name]);
    return [await own.call("login_token") as string, own];
  }
  /** The user that a new connection gets by a token. */
  async function userBy(token: string): Promise<unknown> {
    await using own = await client();
    const isValid = await own.call("login_with_token", { token });
    const name = await own.call("whoami");
    assertEquals(isValid, name !== null);
    return name;
  }
  return { users, rpc, client, tokenOf, userBy };
}

test("a token logs in again after a reconnect, and after a restart of the server", async () => {
  await using place = await home();
  const server = await started(place.path);
  const [token, client] = await server.tokenOf("ann");
  await client.close();
  assertEquals([await server.userBy(token), await server.userBy(token)], ["ann", "ann"]);
  const restarted = await started(place.path);
  assertEquals(await restarted.userBy(token), "ann");
  const other = await started(place.path, { secret: SECRET.toUpperCase() });
  assertEquals(await other.userBy(token), null);
});

test("a token that was changed in any character does not count", async () => {
  await using place = await home();
  const { tokenOf, userBy, client } = await started(place.path);
  const [token] = await tokenOf("ann");
  const [payload = "", signature = ""] = token.split(".");
  const [claims, bob] = [atob(payload), (await tokenOf("bob"))[0]];
  const forged = btoa(claims.replace("ann", "bob")).replace(/=+$/, "");
  for (
    const bad of [
      ...["", ".", "x.y", payload, `${payload}.`, `${token}A`, `${forged}.${signature}`],
      ...[`${payload}.${bob.split(".")[1]}`, `W10.${signature}`, "A".repeat(5000)],
      ...[0, 10, 30].map((at) => token.slice(0, at) + "_" + token.slice(at + 1)),
    ]
  ) assertEquals(await userBy(bad), null, bad.slice(0, 80));
  await using own = await client();
  for (const params of [undefined, {}, { token: 1 }]) {
    await assertRejects(() => own.call("login_with_token", params), RpcInvalidParamsError);
  }
});

test("a token ends with its time, the password and the account", async () => {
  await using place = await home();
  const { users, tokenOf, userBy } = await started(place.path);
  const [ann, bob] = [(await tokenOf("ann"))[0], (await tokenOf("bob"))[0]];
  await users.setPassword("ann", "new");
  await users.deleteUser("bob");
  assertEquals([await userBy(ann), await userBy(bob)], [null, null]);
  await users.createUser("bob", "bob"); // another bob
  assertEquals(await userBy(bob), null);
  const short = await started(place.path, { secret: SECRET, maxAgeMs: 1 });
  const [brief] = await short.tokenOf("bob");
  await new Promise((resolve) => setTimeout(resolve, 20));
  assertEquals(await short.userBy(brief), null);
});

test("a logout ends all tokens of its login, and of no other", async () => {
  await using place = await home();
  const { tokenOf, userBy, client } = await started(place.path);
  const [token] = await tokenOf("ann");
  const [elsewhere] = await tokenOf("ann");
  await using again = await client();
  await again.call("login_with_token", [token]);
  const next = await again.call("login_token") as string;
  assertEquals([await userBy(token), await userBy(next)], ["ann", "ann"]);
  await again.call("logout");
  assertEquals([await userBy(token), await userBy(next)], [null, null]);
  assertEquals(await userBy(elsewhere), "ann");
});

test("a login as somebody else does not inherit the tokens of the login before", async () => {
  await using place = await home();
  const { tokenOf, userBy } = await started(place.path);
  const [token, client] = await tokenOf("ann");
  await client.call("login", ["bob", "bob"]);
  const bob = await client.call("login_token") as string;
  await client.call("logout");
  assertEquals([await userBy(token), await userBy(bob)], ["ann", null]);
});

test("users who came by a token follow changes as others do", async () => {
  await using place = await home();
  const { users, rpc, tokenOf, client } = await started(place.path);
  const [token] = await tokenOf("ann");
  await using again = await client();
  await again.call("login_with_token", [token]);
  await again.subscribe("news", () => {});
  await users.deleteUser("ann");
  assertEquals([await again.call("whoami"), rpc.publish("news", 1).deliveries], [null, 0]);
});

test("there are no tokens unless the program gives a secret, and a short one is refused", async () => {
  await using place = await home();
  const users = passwd(place.path, { rounds: 1000 });
  const methods = Object.keys(users.methods ?? {});
  assert(!methods.some((name) => name.includes("token")), methods.join());
  for (const secret of ["", "short", undefined as unknown as string, new Uint8Array(31)]) {
    assertThrows(() => passwd(place.path, { tokens: { secret } }), RangeError, "tokens.secret");
  }
  assertThrows(
    () => passwd(place.path, { tokens: { secret: SECRET, maxAgeMs: 0 } }),
    RangeError,
    "tokens.maxAgeMs",
  );
});

test("a login and a guarded topic go on after the server closed with 1012", async () => {
  await using place = await home();
  const { rpc } = await started(place.path);
  await using server = await serveHere(rpc);
  let token: unknown = null;
  await using client = await connect(server.ws, {
    logger: silentLog(),
    async prepare(connection) {
      if (token !== null) await connection.call("login_with_token", { token });
    },
  });
  await client.call("login", ["ann", "ann"]);
  token = await client.call("login_token");
  const heard: unknown[] = [];
  await client.subscribe("news", (data: unknown) => heard.push(data));
  for (const connection of rpc.connections) connection.close(1012, "Restart");
  await until(() => rpc.publish("news", "after").deliveries === 1);
  await until(() => heard.length > 0);
  assertEquals([await client.call("whoami"), heard[0]], ["ann", "after"]);
});
