import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Buffer } from "node:buffer";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { JsonRpc, loginRequired } from "@x/jsonrpc";
import { passwd } from "@x/jsonrpc/passwd";
import type { PasswdOptions } from "@x/jsonrpc/passwd";
import { BasicCache } from "../../src/auth/passwd/basic.ts";
import type { BasicAttempt } from "../../src/auth/passwd/basic.ts";
import type { PasswdRecord } from "../../src/auth/passwd/table.ts";
import { silentLog } from "../helpers/log.ts";
import { rawUpgrade } from "../helpers/raw_client.ts";
import { serveHere } from "../helpers/server.ts";

function basic(name: string, password: string): string {
  return `Basic ${Buffer.from(`${name}:${password}`).toString("base64")}`;
}

/** A server with the users ann, who may do all, and Bö, who may do nothing. */
async function started(options: PasswdOptions = { basic: true }) {
  const folder = await mkdtemp(join(tmpdir(), "basic-"));
  const users = passwd(join(folder, "users.txt"), { rounds: 1000, ...options });
  await users.createUser("ann", "correct:horse", { superuser: true });
  await users.createUser("Bö", "pässwörd");
  const opened: unknown[] = [];
  const rpc = new JsonRpc({ logger: silentLog() }).use(users)
    .use({ name: "opened", onOpen: ({ user }) => opened.push((user as Named)?.name) })
    .method("whoami", { get: true }, (_: unknown, { user }) => user?.name ?? null)
    .method("secret", { use: [loginRequired] }, (_: unknown, { user }) => user.name)
    .topic("news", { guards: [loginRequired] });
  const server = await serveHere(rpc);
  function post(authorization: string | undefined, method = "whoami", params?: unknown) {
    const body = JSON.stringify({ jsonrpc: "2.0", method, params, id: 1 });
    const headers = { "content-type": "application/json", ...authorization && { authorization } };
    return fetch(server.url, { method: "POST", headers, body });
  }
  /** The result of a call by POST, or the code of its error. */
  async function call(...args: Parameters<typeof post>): Promise<unknown> {
    const response = await post(...args);
    if (response.status !== 200) return `${response.status} ${await response.text()}`;
    const { result, error } = await response.json();
    return error === undefined ? result : error.code;
  }
  const events = (authorization?: string) =>
    fetch(`${server.url}/?topics=news`, {
      headers: { accept: "text/event-stream", ...authorization && { authorization } },
    });
  async function stop(): Promise<void> {
    await server.stop();
    await rm(folder, { recursive: true });
  }
  return { ...server, rpc, users, opened, post, call, events, [Symbol.asyncDispose]: stop };
}

type Named = { name: string } | null;

const ANN = basic("ann", "correct:horse");
const REFUSED = "401 Wrong user or password";

test("HTTP Basic names the user of a POST, a GET and each entry of a batch", async () => {
  await using server = await started();
  assertEquals(await server.call(ANN), "ann");
  assertEquals(await server.call(ANN, "secret"), "ann");
  assertEquals(await server.call(basic("Bö", "pässwörd"), "secret"), "Bö");
  assertEquals(await server.call(ANN.replace("Basic", "bAsIc ")), "ann");
  const got = await fetch(`${server.url}/?method=whoami&id=1`, { headers: { authorization: ANN } });
  assertEquals((await got.json()).result, "ann");
  const batch = ["secret", "whoami"].map((method, id) => ({ jsonrpc: "2.0", method, id }));
  const headers = { "content-type": "application/json", authorization: ANN };
  const init = { method: "POST", headers, body: JSON.stringify(batch) };
  const answers = await (await fetch(server.url, init)).json();
  assertEquals(answers.map(({ result }: { result: unknown }) => result), ["ann", "ann"]);
});

test("without Basic credentials a request has no user; with wrong ones it gets 401", async () => {
  await using server = await started({ basic: { realm: "the lab" } });
  for (const none of [undefined, "Bearer x", "Basically x"]) {
    assertEquals([await server.call(none), await server.call(none, "secret")], [null, -32601]);
  }
  const notUtf8 = `Basic ${Buffer.from([0x61, 0x3a, 0xff]).toString("base64")}`;
  const noColon = `Basic ${Buffer.from("ann").toString("base64")}`;
  const wrong = [basic("ann", "wrong"), basic("nobody", "correct:horse"), basic("ann", "")];
  for (const bad of [...wrong, "Basic", "Basic !", noColon, notUtf8, `${ANN}, ${ANN}`]) {
    const response = await server.post(bad);
    assertEquals(`${response.status} ${await response.text()}`, REFUSED, bad);
    const challenge = response.headers.get("www-authenticate");
    assertEquals(challenge, 'Basic realm="the lab", charset="UTF-8"');
  }
});

test("HTTP Basic names the user of a WebSocket and of an event stream", async () => {
  await using server = await started();
  const upgrade = async (authorization: string) =>
    (await rawUpgrade(server.url, { authorization })).status;
  assertEquals(await upgrade(ANN), 101);
  assertEquals(await upgrade(basic("ann", "wrong")), 401);
  const [refused, stream] = [await server.events(), await server.events(ANN)];
  await refused.body?.cancel();
  assertEquals([refused.status, stream.status], [404, 200]);
  const body = stream.body as ReadableStream<Uint8Array<ArrayBuffer>>;
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!text.includes("fresh")) {
    if (text === "") server.rpc.publish("news", "fresh");
    text += (await reader.read()).value ?? "";
  }
  assertEquals(server.opened, ["ann", undefined, "ann"]);
  // What changes a user reaches those who came by HTTP Basic, too.
  await server.users.deleteUser("ann");
  while (!(await reader.read()).done);
  assertEquals(server.rpc.publish("news", "later").deliveries, 0);
});

test("HTTP Basic is off unless the program wants it", async () => {
  await using server = await started({});
  assertEquals([await server.call(ANN), await server.call(basic("ann", "x"))], [null, null]);
  assertEquals(await server.call(ANN, "create_user", ["cy", "x"]), -32601);
});

test("a changed password and a deleted account end a remembered Basic login at once", async () => {
  await using server = await started();
  assertEquals([await server.call(ANN), await server.call(ANN)], ["ann", "ann"]);
  await server.users.setPassword("ann", "new");
  assertEquals([await server.call(ANN), await server.call(basic("ann", "new"))], [REFUSED, "ann"]);
  await server.users.deleteUser("ann");
  assertEquals(await server.call(basic("ann", "new")), REFUSED);
  // The same password as before, but another account.
  await server.users.createUser("ann", "new");
  assertEquals(await server.call(basic("ann", "new")), "ann");
  assertEquals(await server.call(basic("ann", "new"), "create_user", ["cy", "x"]), -32601);
  await server.users.setPermissions("ann", { permissions: ["create_user"] });
  assertEquals(await server.call(basic("ann", "new"), "create_user", ["cy", "x"]), true);
});

test("wrong passwords by HTTP Basic are throttled together with those of login", async () => {
  await using server = await started({ basic: true, attempts: 2, firstWaitMs: 60_000 });
  assertEquals(await server.call(ANN), "ann");
  for (let count = 0; count < 2; count++) {
    assertEquals(await server.call(basic("ann", `guess ${count}`)), REFUSED);
  }
  // The right password, too: else one guess among many would be told.
  for (const password of ["guess", "correct:horse"]) {
    const response = await server.post(basic("ann", password));
    assertEquals(`${response.status} ${await response.text()}`, "429 Too many wrong passwords");
    assert(Number(response.headers.get("retry-after")) > 0);
  }
  const socket = new WebSocket(server.ws);
  const answer = await new Promise<string>((resolve) => {
    socket.onopen = () =>
      socket.send('{"jsonrpc":"2.0","method":"login","params":["ann","x"],"id":1}');
    socket.onmessage = ({ data }) => resolve(data);
  });
  assertEquals(JSON.parse(answer).error.code, -32005);
  socket.close();
});

test("over POST a user by HTTP Basic may manage users, and the own password", async () => {
  await using server = await started();
  const bob = basic("Bö", "pässwörd");
  assertEquals(await server.call(bob, "create_user", ["cy", "x"]), -32601);
  assertEquals(await server.call(bob, "set_password", { password: "new" }), -32602);
  const own = { password: "new", old_password: "wrong" };
  assertEquals(await server.call(bob, "set_password", own), false);
  assertEquals(await server.call(bob, "set_password", { ...own, old_password: "pässwörd" }), true);
  assertEquals([await server.call(bob), await server.call(basic("Bö", "new"))], [REFUSED, "Bö"]);
  assertEquals(await server.call(ANN, "create_user", ["cy", "x"]), true);
  assertEquals(await server.call(basic("cy", "x")), "cy");
  assertEquals(await server.call(ANN, "delete_user", ["cy"]), true);
  assertEquals(await server.call(undefined, "delete_user", ["ann"]), -32601);
  for (const method of ["login", "logout"]) {
    assertEquals(await server.call(ANN, method, ["ann", "correct:horse"]), -32601);
  }
});

test("503 with retry-after answers HTTP Basic while too many passwords wait", async () => {
  await using server = await started({ basic: true, rounds: 300_000, maxHashes: 1, maxWaiting: 1 });
  const names = ["u1", "u2", "u3", "u4", "u5", "u6"];
  const responses = await Promise.all(names.map((name) => server.post(basic(name, "x"))));
  const busy = responses.filter(({ status }) => status === 503);
  assert(busy.length > 0, String(responses.map(({ status }) => status)));
  assertEquals(busy[0]?.headers.get("retry-after"), "1");
  await Promise.all(responses.map((response) => response.text()));
});

test("options of HTTP Basic that cannot be used are refused", () => {
  for (const realm of ['a"b', "a\\b", "ö", "a\nb", 1 as unknown as string]) {
    assertThrows(() => passwd("x", { basic: { realm } }), TypeError, "basic.realm");
  }
  assertThrows(() => passwd("x", { basic: { cacheMs: -1 } }), RangeError, "basic.cacheMs");
});

// -- the memory of right passwords --

/** A cache whose checks are counted. "right" is the password of every account. */
function counted(ms: number) {
  const cache = new BasicCache(ms);
  let [checks, isCurrent] = [0, true];
  const record = {} as PasswdRecord;
  async function get(password: string, attempt: Partial<BasicAttempt> = {}): Promise<boolean> {
    const found = await cache.get({
      account: "ann",
      address: "::1",
      password,
      isCurrent: () => isCurrent,
      check: () => Promise.resolve((checks++, password === "right" ? record : undefined)),
      ...attempt,
    });
    return found !== undefined;
  }
  const changed = (): void => void (isCurrent = false);
  return { get, changed, count: () => checks };
}

test("a right password is checked once, also for requests at the same time", async () => {
  const { get, count } = counted(60_000);
  assertEquals(await Promise.all([get("right"), get("right")]), [true, true]);
  assertEquals([await get("right"), count()], [true, 1]);
});

test("a right password is checked again for another address, another account, a changed user", async () => {
  const { get, count, changed } = counted(60_000);
  await get("right");
  await get("right", { address: "::2" });
  await get("right", { account: "bob" });
  assertEquals(count(), 3);
  changed();
  await get("right");
  assertEquals(count(), 4);
});

test("a wrong password is never remembered, and ends what is remembered", async () => {
  const { get, count } = counted(60_000);
  assertEquals([await get("right"), await get("wrong"), await get("wrong")], [true, false, false]);
  assertEquals([await get("right"), count()], [true, 4]);
});

test("a password that could not be checked is not remembered", async () => {
  const { get, count } = counted(60_000);
  const check = () => Promise.reject(new Error("busy"));
  await assertRejects(() => get("right", { check }), Error, "busy");
  assertEquals([await get("right"), count()], [true, 1]);
});

test("with cacheMs 0 each request checks its password, and 1,000 logins are remembered at most", async () => {
  const none = counted(0);
  assertEquals([await none.get("right"), await none.get("right"), none.count()], [true, true, 2]);
  const { get, count } = counted(60_000);
  for (let index = 0; index <= 1000; index++) await get("right", { account: `${index}` });
  await get("right", { account: "1" });
  assertEquals(count(), 1001);
  await get("right", { account: "0" });
  assertEquals(count(), 1002);
});

test("a new password over POST answers without a login for the next connection", async () => {
  const tokens = { secret: "a secret of the server that has 32 bytes and more" };
  await using server = await started({ basic: true, tokens });
  const params = { password: "new", old_password: "correct:horse" };
  const response = await fetch(server.url, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      authorization: ANN,
    },
    body: JSON.stringify({ jsonrpc: "2.0", method: "set_password", params, id: 1 }),
  });
  assertEquals(await response.text(), '{"jsonrpc":"2.0","result":true,"id":1}');
  assertEquals(await server.call(basic("ann", "new")), "ann");
});
