import { assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import {
  JsonRpc,
  loginRequired,
  permissionRequired,
  RpcMethodNotFoundError,
  userPassesTest,
} from "@x/jsonrpc";
import { django } from "@x/jsonrpc/django";
import type { DjangoUser } from "@x/jsonrpc/django";
import { until } from "../helpers/deferred.ts";
import { needsDjango, SECRET_KEY, signLikeDjango } from "../helpers/django.ts";
import type { DjangoSite } from "../helpers/django.ts";
import { ending, siteAndServer, withSession } from "../helpers/django_server.ts";
import { EventReader } from "../helpers/event_reader.ts";
import { serveHere } from "../helpers/server.ts";
import type { LocalServer } from "../helpers/server.ts";

const real = needsDjango();

/** The name that the server knows a cookie by, over POST. */
async function nameOf(server: LocalServer, session: string): Promise<unknown> {
  await using client = await withSession(server.url, session);
  return await client.call("name");
}

// -- who it is --

test(
  "django() knows who has logged in at the site, over WebSocket, POST and event streams",
  real,
  async () => {
    await using place = await siteAndServer();
    const { site, server } = place;
    const session = await site.login("ada");
    for (const url of [server.ws, server.url]) {
      await using ada = await withSession(url, session);
      await using visitor = await withSession(url, "");
      assertEquals(await ada.call("name"), "ada");
      assertEquals([await visitor.call("whoami"), await ada.call("secret")], [null, 42]);
      await assertRejects(() => visitor.call("secret"), RpcMethodNotFoundError);
    }
    const events = await EventReader.open(server.url, "topics=news", {
      cookie: `sessionid=${session}`,
    });
    await until(() => place.rpc.publish("news", "hello").deliveries === 1);
    assertEquals((await events.next()).data, '"hello"');
    await events.leave();
    const visitor = await EventReader.open(server.url, "topics=news");
    assertEquals(visitor.response.status, 404);
  },
);

test("django() gives a user's own permissions and those of the groups", real, async () => {
  await using place = await siteAndServer();
  const { site, server } = place;
  await using ada = await withSession(server.ws, await site.login("ada"));
  await using bob = await withSession(server.ws, await site.login("bob"));
  await using root = await withSession(server.ws, await site.login("root"));
  const [connection] = [...place.rpc.connections].filter(({ user }) => user?.name === "ada");
  const { permissions, ...user } = connection?.user as DjangoUser;
  assertEquals([...permissions].sort(), ["chatsite.add_message", "chatsite.change_message"]);
  assertEquals(user, {
    ...{ id: "1", name: "ada", email: "ada@example.org" },
    ...{ isActive: true, isStaff: false, superuser: false },
  });
  assertEquals([await ada.call("pin"), await root.call("pin")], ["pinned", "pinned"]);
  await assertRejects(() => bob.call("pin"), RpcMethodNotFoundError);
  await assertRejects(() => ada.call("staff"), RpcMethodNotFoundError);
  assertEquals(await bob.call("staff"), "staff only");
  await assertRejects(() => bob.subscribe("pins", () => {}));
  await ada.subscribe("pins", () => {});
});

test("the example of aiohttp-json-rpc's documentation holds, line by line", real, async () => {
  await using place = await siteAndServer();
  const { site } = place;
  const superuser = userPassesTest((user: DjangoUser) => user.superuser);
  const change = permissionRequired("chatsite.change_message");
  const rpc = new JsonRpc()
    .use(django({ secretKey: SECRET_KEY, query: site.query }))
    .method("ping", { use: [loginRequired, change, superuser] }, () => "pong")
    .topic("foo", { guards: [loginRequired, change] });
  await using server = await serveHere(rpc);
  for (
    const [name, pings, topics] of [
      ["root", "pong", ["foo"]],
      ["ada", -32601, ["foo"]],
      ["bob", -32601, []],
    ] as const
  ) {
    await using client = await withSession(server.ws, await site.login(name));
    assertEquals(await client.call("ping").catch((error) => error.code), pings, name);
    assertEquals(await client.getTopics(), topics, name);
  }
  await using visitor = await withSession(server.ws, "");
  assertEquals(await visitor.getTopics(), []);
});

for (const engine of ["db", "cached_db", "signed_cookies"] as const) {
  test(`django() reads sessions of the engine ${engine}, and refuses bad ones`, real, async () => {
    const SESSION_ENGINE = `django.contrib.sessions.backends.${engine}`;
    await using place = await siteAndServer({ SESSION_ENGINE }, { sessionEngine: engine });
    const { site, server } = place;
    const session = await site.login("ada");
    assertEquals(await nameOf(server, session), "ada");
    for (
      const bad of [
        ...["", "x", `${session}x`, session.slice(1), session.toUpperCase(), "a".repeat(5000)],
        ...["' OR 1=1 --", "*".repeat(32), "a".repeat(32)],
      ]
    ) assertEquals(await nameOf(server, bad), null, bad.slice(0, 80));
    // The session is still there, and one with a lot in it is compressed.
    assertEquals(await nameOf(server, session), "ada");
    const big = await site.python(`
store = import_module(settings.SESSION_ENGINE).SessionStore
session = store()
session.update({"_auth_user_id": "1", "_auth_user_hash": ada.get_session_auth_hash(), "text": "x" * 900})
session["_auth_user_backend"] = "django.contrib.auth.backends.ModelBackend"
session.save()
result = session.session_key`) as string;
    assertEquals(await nameOf(server, big), "ada");
  });
}

test("django() refuses a session that has expired", real, async () => {
  await using place = await siteAndServer();
  const { site, server } = place;
  const session = await site.login("ada");
  await site.python(
    "Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))",
  );
  assertEquals(await nameOf(server, session), null);
});

test(
  "django() refuses a signed cookie that is too old, signed for another purpose, or with another key",
  real,
  async () => {
    await using place = await siteAndServer({
      SESSION_ENGINE: "django.contrib.sessions.backends.signed_cookies",
    }, { sessionEngine: "signed_cookies" });
    const { site, server } = place;
    const sign = (age: number, salt: string, key: string) =>
      site.python(`
from unittest import mock
import time
data = {"_auth_user_id": "1", "_auth_user_hash": ada.get_session_auth_hash()}
data["_auth_user_backend"] = "django.contrib.auth.backends.ModelBackend"
with mock.patch("time.time", return_value=time.time() - ${age}):
    result = signing.dumps(data, key=${key}, salt="${salt}", compress=True)`) as Promise<string>;
    const salt = "django.contrib.sessions.backends.signed_cookies";
    const day = 24 * 60 * 60;
    assertEquals(await nameOf(server, await sign(0, salt, "None")), "ada");
    assertEquals(await nameOf(server, await sign(13 * day, salt, "None")), "ada");
    assertEquals(await nameOf(server, await sign(15 * day, salt, "None")), null);
    assertEquals(await nameOf(server, await sign(0, "django.core.signing", "None")), null);
    assertEquals(await nameOf(server, await sign(0, salt, '"another key"')), null);
  },
);

test(
  "django() refuses the sessions of another key, says so once, and accepts fallback keys",
  real,
  async () => {
    await using place = await siteAndServer({}, { secretKey: "another key" });
    const { site, server, log } = place;
    const session = await site.login("ada");
    for (let times = 0; times < 3; times++) {
      await using client = await withSession(server.ws, session);
      assertEquals(await client.call("name"), null);
    }
    // The announcements of the site are refused as well, which is a matter for the debug level.
    assertEquals(log.lines.filter((line) => !line.startsWith("debug: ")), [
      "warn: A Django session has a bad signature: is `secretKey` the SECRET_KEY of the site?",
    ]);
    const rpc = new JsonRpc()
      .use(django({
        ...{ secretKey: "new key", secretKeyFallbacks: ["older", SECRET_KEY] },
        query: site.query,
      }))
      .method("name", (_params: unknown, { user }) => user?.name ?? null);
    await using beside = await serveHere(rpc);
    assertEquals(await nameOf(beside, session), "ada");
  },
);

test(
  "django() refuses a session of an inactive or deleted user, or of an older password",
  real,
  async () => {
    await using place = await siteAndServer();
    const { site, server } = place;
    const sessions: string[] = [];
    for (const name of ["ada", "bob", "root"]) sessions.push(await site.login(name));
    await site.python(`
User.objects.filter(username="ada").update(is_active=False)
User.objects.filter(username="bob").update(password=make_password("other"))
User.objects.filter(username="root").delete()`);
    for (const session of sessions) assertEquals(await nameOf(server, session), null);
  },
);

test("django() accepts only the authentication backends that it is told", real, async () => {
  const backend = "django.contrib.auth.backends.ModelBackend";
  await using place = await siteAndServer({}, { authenticationBackends: ["another.Backend"] });
  const session = await place.site.login("ada");
  assertEquals(await nameOf(place.server, session), null);
  const rpc = new JsonRpc()
    .use(django({
      ...{ secretKey: SECRET_KEY, query: place.site.query, authenticationBackends: [backend] },
    }))
    .method("name", (_params: unknown, { user }) => user?.name ?? null);
  await using beside = await serveHere(rpc);
  assertEquals(await nameOf(beside, session), "ada");
});

test(
  "django() reads sessions of a site whose dates are local time (USE_TZ = False)",
  real,
  async () => {
    const zone = { USE_TZ: false, TIME_ZONE: "Asia/Tokyo" };
    await using place = await siteAndServer(zone, { timeZone: "Asia/Tokyo" });
    const { site, server } = place;
    const session = await site.login("ada");
    assertEquals(await nameOf(server, session), "ada");
    await site.python(
      "Session.objects.update(expire_date=timezone.now() - timedelta(seconds=2))",
    );
    assertEquals(await nameOf(server, session), null);
  },
);

// -- changes on the side of Django --

test("a logout at the site closes its connections at once, and no others", real, async () => {
  await using place = await siteAndServer();
  const { site, server } = place;
  const session = await site.login("ada");
  const elsewhere = await site.login("ada");
  const client = await withSession(server.ws, session);
  await using other = await withSession(server.ws, elsewhere);
  await using bob = await withSession(server.ws, await site.login("bob"));
  const end = ending(client);
  await logOut(site, session);
  assertEquals(await end, 4401);
  assertEquals(await nameOf(server, session), null);
  assertEquals([await other.call("name"), await bob.call("name")], ["ada", "bob"]);
});

test("a login as another user closes the connections of the session before", real, async () => {
  await using place = await siteAndServer();
  const { site, server } = place;
  const session = await site.login("ada");
  const client = await withSession(server.ws, session);
  const end = ending(client);
  await site.python(`
client = Client(HTTP_HOST="localhost")
client.cookies["sessionid"] = "${session}"
client.post("/login/", {"username": "bob", "password": "bob"})`);
  assertEquals(await end, 4401);
});

const ENDS: Readonly<Record<string, string>> = {
  "is deactivated": `ada.is_active = False; ada.save()`,
  "gets another password": `ada.set_password("other"); ada.save()`,
  "is deleted": `ada.delete()`,
};
for (const [what, code] of Object.entries(ENDS)) {
  test(`the connections of a user who ${what} close at once, and no others`, real, async () => {
    await using place = await siteAndServer();
    const { site, server } = place;
    const ada = await withSession(server.ws, await site.login("ada"));
    await using bob = await withSession(server.ws, await site.login("bob"));
    const end = ending(ada);
    await site.python(code);
    assertEquals(await end, 4401);
    assertEquals(await bob.call("name"), "bob");
  });
}

const LOSSES: Readonly<Record<string, string>> = {
  "a permission of a group": `editors.permissions.clear()`,
  "a group": `ada.groups.remove(editors)`,
  "a group that is deleted": `editors.delete(); editors = Group.objects.create(name="new")`,
  "a permission of their own":
    `ada.groups.clear(); ada.user_permissions.add(permission("change_message")); ada.user_permissions.clear()`,
};
for (const [what, code] of Object.entries(LOSSES)) {
  test(
    `a user who loses ${what} loses methods and topics at once, and stays connected`,
    real,
    async () => {
      await using place = await siteAndServer();
      const { site, server, rpc } = place;
      await using ada = await withSession(server.ws, await site.login("ada"));
      await ada.subscribe("pins", () => {});
      await ada.subscribe("news", () => {});
      assertEquals(await ada.call("pin"), "pinned");
      await site.python(code);
      await until(() => rpc.publish("pins", 1).deliveries === 0);
      await assertRejects(() => ada.call("pin"), RpcMethodNotFoundError);
      assertEquals([await ada.call("name"), await ada.getSubscriptions()], ["ada", ["news"]]);
      await site.python(
        `ada.groups.add(editors); editors.permissions.add(permission("change_message"))`,
      );
      await until(async () => await ada.call("pin").catch(() => "") === "pinned");
    },
  );
}

test("changes that Django does not announce hold after recheckMs", real, async () => {
  await using place = await siteAndServer({ RPC_URL: "http://127.0.0.1:9/rpc" }, { recheckMs: 50 });
  const { site, server, rpc } = place;
  await using ada = await withSession(server.ws, await site.login("ada"));
  const bob = await withSession(server.ws, await site.login("bob"));
  await ada.subscribe("pins", () => {});
  await site.python("Group.objects.all().delete()");
  await until(() => rpc.publish("pins", 1).deliveries === 0);
  assertEquals(await ada.call("name"), "ada");
  const end = ending(bob);
  await site.python(`Session.objects.all().delete()`);
  assertEquals(await end, 4401);
});

test("a change that is rolled back is not announced", real, async () => {
  await using place = await siteAndServer();
  const { site, server } = place;
  await using ada = await withSession(server.ws, await site.login("ada"));
  await site.python(`
from django.db import transaction
try:
    with transaction.atomic():
        ada.is_active = False
        ada.save()
        raise ValueError
except ValueError:
    pass`);
  assertEquals(await ada.call("name"), "ada");
});

async function logOut(site: DjangoSite, session: string): Promise<void> {
  await site.python(`
client = Client(HTTP_HOST="localhost")
client.cookies["sessionid"] = "${session}"
client.post("/logout/")`);
}

// -- announcements --

const CHANGED = '{"jsonrpc":"2.0","method":"django_changed","id":1}';

test("for a caller without the key the method of announcements does not exist", real, async () => {
  await using place = await siteAndServer();
  const { site, server } = place;
  await using ada = await withSession(server.ws, await site.login("ada"));
  const post = async (authorization: string, body = CHANGED) => {
    const headers = { "content-type": "application/json", authorization };
    const response = await fetch(server.url, { method: "POST", headers, body });
    const { error, result } = await response.json();
    return error?.code ?? result;
  };
  const change = { user: "1" };
  assertEquals(await post(`Django ${signLikeDjango(change, "x-jsonrpc.changed")}`), 1);
  for (
    const authorization of [
      ...["", "Django", "Django x:y:z", "Bearer x"],
      `Django ${signLikeDjango(change, "x-jsonrpc.changed", "another key")}`,
      `Django ${signLikeDjango(change, "django.core.signing")}`,
      `Django ${signLikeDjango({ user: 1 }, "x-jsonrpc.changed")}`,
      `Django ${signLikeDjango([], "x-jsonrpc.changed")}x`,
      `Django ${await site.python(OLD)}`,
    ]
  ) assertEquals(await post(authorization), -32601, authorization);
  const listed = await ada.call("get_methods") as string[];
  assertEquals(listed.includes("django_changed"), false);
  await assertRejects(() => ada.call("django_changed"), RpcMethodNotFoundError);
});

const OLD = `
from unittest import mock
import time
with mock.patch("time.time", return_value=time.time() - 61):
    result = signing.dumps({"user": "1"}, salt="x-jsonrpc.changed")`;

test("a session that is about to end is refused before Django has deleted it", real, async () => {
  await using place = await siteAndServer();
  const { site, server } = place;
  const session = await site.login("ada");
  const token = signLikeDjango({ ended: session }, "x-jsonrpc.changed");
  const headers = { "content-type": "application/json", authorization: `Django ${token}` };
  await (await fetch(server.url, { method: "POST", headers, body: CHANGED })).text();
  assertEquals(await nameOf(server, session), null);
});
