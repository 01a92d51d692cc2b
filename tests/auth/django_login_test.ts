import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { test } from "node:test";
import { connect, RpcError, RpcInvalidParamsError } from "@x/jsonrpc";
import type { JsonRpcClient } from "@x/jsonrpc";
import { deferred, until } from "../helpers/deferred.ts";
import { needsDjango } from "../helpers/django.ts";
import { ending, siteAndServer, withSession } from "../helpers/django_server.ts";

const real = needsDjango();

function login(client: JsonRpcClient, username: string, password = username): Promise<unknown> {
  return client.call("login", { username, password });
}

/** The code of the error that a call is answered with. */
async function codeOf(call: Promise<unknown>): Promise<number> {
  const error = await assertRejects(() => call);
  assertInstanceOf(error, RpcError);
  return (error as RpcError).code;
}

test(
  "login checks the password of a Django account, and logout removes the user",
  real,
  async () => {
    await using place = await siteAndServer({}, { login: true });
    const { server } = place;
    await using client = await connect(server.ws);
    await using poster = await connect(server.url);
    assertEquals(await login(client, "ada", "wrong"), false);
    assertEquals(await login(client, "nobody"), false);
    assertEquals(await client.call("name"), null);
    assertEquals(await client.call("login", ["ada", "ada"]), true);
    assertEquals([await client.call("name"), await client.call("pin")], ["ada", "pinned"]);
    // A failed login changes nothing.
    assertEquals(await login(client, "bob", "wrong"), false);
    assertEquals(await client.call("name"), "ada");
    assertEquals([await client.call("logout"), await client.call("name")], [true, null]);
    assertEquals(await codeOf(client.call("logout")), -32601);
    assertEquals(await codeOf(login(poster, "ada")), -32601);
    for (const params of [undefined, {}, { username: "ada" }, { username: 1, password: "x" }]) {
      await assertRejects(() => client.call("login", params), RpcInvalidParamsError);
    }
  },
);

test("without the option there is no login", real, async () => {
  await using place = await siteAndServer();
  await using client = await connect(place.server.ws);
  assertEquals(await codeOf(login(client, "ada")), -32601);
});

test(
  "login refuses inactive users and unusable passwords, and reads names as Django does",
  real,
  async () => {
    await using place = await siteAndServer({}, { login: true });
    const { site, server } = place;
    await site.python(`
User.objects.filter(username="bob").update(is_active=False)
root.set_unusable_password(); root.save()
User.objects.create_user("ﬁne", password="fine")`);
    await using client = await connect(server.ws);
    const stored = await site.python(`result = User.objects.get(username="root").password`);
    assertEquals(await login(client, "bob"), false);
    for (const password of ["root", "", "!", String(stored)]) {
      assertEquals(await login(client, "root", password), false);
    }
    assertEquals([await login(client, "ﬁne", "fine"), await client.call("name")], [true, "fine"]);
  },
);

test("login checks hashes of every algorithm that this Django can make", real, async () => {
  await using place = await siteAndServer({
    PASSWORD_HASHERS: [
      ...["PBKDF2PasswordHasher", "PBKDF2SHA1PasswordHasher", "MD5PasswordHasher"],
    ].map((name) => `django.contrib.auth.hashers.${name}`),
  }, { login: true });
  const { site, server, log } = place;
  await using client = await connect(server.ws);
  for (const algorithm of ["pbkdf2_sha256", "pbkdf2_sha1"]) {
    await site.python(
      `User.objects.filter(username="ada").update(password=make_password("x", None, "${algorithm}"))`,
    );
    assertEquals([await login(client, "ada", "x"), await login(client, "ada", "y")], [true, false]);
  }
  // An algorithm that is not known here: the log names it, and the client learns nothing.
  await site.python(
    `User.objects.filter(username="ada").update(password=make_password("x", None, "md5"))`,
  );
  assertEquals(await login(client, "ada", "x"), false);
  assert(log.text.includes('Unknown password algorithm "md5"'), log.text);
});

test("a user who has logged in with a password is logged out when it changes", real, async () => {
  await using place = await siteAndServer({}, { login: true });
  const { site, server, rpc } = place;
  const client = await connect(server.ws, { reconnect: false });
  await using bob = await connect(server.ws);
  await login(client, "ada");
  await login(bob, "bob");
  await client.subscribe("pins", () => {});
  await site.python("ada.groups.clear()");
  await until(() => rpc.publish("pins", 1).deliveries === 0);
  assertEquals(await client.call("name"), "ada");
  const end = ending(client);
  await site.python(`ada.set_password("new"); ada.save()`);
  assertEquals([await end, await bob.call("name")], [4401, "bob"]);
});

test("a login takes the connection over from the session of its cookie", real, async () => {
  await using place = await siteAndServer({}, { login: true, recheckMs: 50 });
  const { site, server } = place;
  const session = await site.login("root");
  await using client = await withSession(server.ws, session);
  assertEquals([await client.call("name"), await client.call("pin")], ["root", "pinned"]);
  assertEquals(await login(client, "bob"), true);
  await new Promise((resolve) => setTimeout(resolve, 300));
  assertEquals([await client.call("name"), await codeOf(client.call("pin"))], ["bob", -32601]);
});

test("wrong passwords are throttled, and the log has name and address", real, async () => {
  const addressOf = ({ headers }: { headers: Headers }) => headers.get("x-real-ip") ?? "192.0.2.1";
  await using place = await siteAndServer({}, { login: { attempts: 3, addressOf } });
  const { server, log } = place;
  await using client = await connect(server.ws);
  for (let times = 0; times < 3; times++) assertEquals(await login(client, "ada", "wrong"), false);
  const error = await assertRejects(() => login(client, "ada")) as RpcError;
  assertEquals([error.code, error.message], [-32005, "Too many wrong passwords"]);
  // For MySQL this is the same account: another spelling must not give three more attempts.
  assertEquals(await codeOf(login(client, "ADA")), -32005);
  assertEquals(await login(client, "bob"), true);
  const line = 'info: Login failed: wrong password or user "ada", from 192.0.2.1';
  assertEquals(log.lines.filter((each) => each === line).length, 3);
  assert(!log.text.includes("wrong password wrong"));
});

test("login costs the same hash for an unknown user as for a wrong password", real, async () => {
  const checked: string[] = [];
  const hasher = (_password: string, encoded: string) => (checked.push(encoded), false);
  const hashers = { pbkdf2_sha256: hasher };
  await using place = await siteAndServer({}, { login: { hashers } });
  await using client = await connect(place.server.ws);
  await login(client, "warm-up");
  for (const name of ["ada", "nobody", "bob"]) {
    checked.length = 0;
    assertEquals(await login(client, name), false);
    assertEquals(checked.map((each) => each.slice(0, 21)), ["pbkdf2_sha256$260000$"], name);
  }
});

test(
  "few passwords are checked at the same time, and more than may wait get -32009",
  real,
  async () => {
    const release = deferred();
    let running = 0;
    let most = 0;
    const hasher = async (password: string) => {
      if (password === "") return false; // the first look at a typical password of the site
      most = Math.max(most, ++running);
      await release.promise;
      running--;
      return true;
    };
    const limits = { hashers: { pbkdf2_sha256: hasher }, maxHashes: 2, maxWaiting: 3 };
    await using place = await siteAndServer({}, { login: limits });
    await using client = await connect(place.server.ws);
    const calls = Array.from(
      { length: 7 },
      () => login(client, "ada").catch((error) => error.code),
    );
    await until(() => running === 2);
    release.resolve();
    assertEquals((await Promise.all(calls)).sort(), [-32009, -32009, true, true, true, true, true]);
    assertEquals(most, 2);
  },
);
