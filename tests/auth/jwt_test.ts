import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { exportJWK, exportSPKI, generateKeyPair, SignJWT } from "jose";
import type { CryptoKey, JWTPayload } from "jose";
import { test } from "node:test";
import {
  connect,
  JsonRpc,
  loginRequired,
  permissionRequired,
  RpcConnectionError,
  RpcInternalError,
  RpcInvalidParamsError,
  RpcMethodNotFoundError,
} from "@x/jsonrpc";
import type { JsonRpcClient, RpcRequest, StandardSocket } from "@x/jsonrpc";
import type { Plugin } from "@x/jsonrpc/plugin";
import { jwt } from "@x/jsonrpc/jwt";
import type { JwtKeys, JwtOptions } from "@x/jsonrpc/jwt";
import { linkedSockets } from "@x/jsonrpc/testing";
import { WebSocket as WsSocket } from "ws";
import { rawPost, rawUpgrade } from "../helpers/raw_client.ts";
import { deferred, quietMoment, unsettled, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";
import type { LocalServer } from "../helpers/server.ts";
import { bareClient } from "../helpers/wire.ts";
import type { WirePeer } from "../helpers/wire.ts";
import { freePort } from "../helpers/ports.ts";
import { spawnServer } from "../helpers/spawn_server.ts";
import { needs } from "../helpers/needs.ts";

const AUDIENCE = "https://rpc.example";
const ISSUER = "https://id.example";
const DAY = 24 * 60 * 60;

const secret = crypto.getRandomValues(new Uint8Array(64));
const rsa = await generateKeyPair("RS256", { extractable: true });
const pss = await generateKeyPair("PS256", { extractable: true });
const ec = await generateKeyPair("ES256", { extractable: true });
const ed = await generateKeyPair("EdDSA", { extractable: true });

const HS256: JwtKeys = { secret, algorithms: ["HS256"] };

/** Seconds of the epoch, as claims have them. */
function inSeconds(seconds: number): number {
  return Date.now() / 1000 + seconds;
}

/** The claims of a token that is good. */
function claims(more: JWTPayload = {}): JWTPayload {
  return { sub: "ada", iss: ISSUER, aud: AUDIENCE, exp: inSeconds(60), ...more };
}

/** The same without some. */
function claimsWithout(...names: string[]): JWTPayload {
  return Object.fromEntries(Object.entries(claims()).filter(([name]) => !names.includes(name)));
}

function sign(
  payload: JWTPayload = claims(),
  key: CryptoKey | Uint8Array = secret,
  header: { alg: string; [name: string]: unknown } = { alg: "HS256" },
): Promise<string> {
  return new SignJWT(payload).setProtectedHeader(header).sign(key);
}

function base64url(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** Something of everything, of which the backend decides who may use it. */
function testServer(options: Partial<JwtOptions<object>> = HS256) {
  const log = silentLog();
  const ran: string[] = [];
  const rpc = new JsonRpc({ logger: log })
    .use(jwt({ audience: AUDIENCE, issuer: ISSUER, ...options } as JwtOptions))
    .method("whoami", (_params: unknown, { user }) => user?.name ?? null)
    .method("ping", () => (ran.push("ping"), "pong"))
    .method("secret", { use: [loginRequired] }, () => (ran.push("secret"), 42))
    .method("operate", { use: [permissionRequired("operate")] }, () => true)
    .topic("news")
    .topic("secrets", { guards: [loginRequired] });
  return { rpc, log, ran };
}

/** A socket class that sends headers, as programs that are no browser can. */
function withHeaders(headers: Record<string, string>) {
  return class extends WsSocket {
    constructor(url: string, protocols?: string[]) {
      super(url, protocols ?? [], { headers });
    }
  } as unknown as new (url: string, protocols?: string[]) => StandardSocket;
}

/** How a connection ended, once it has. */
function ending(client: JsonRpcClient): Promise<{ code: number; reason: string }> {
  return new Promise((resolve) => {
    client.addEventListener("close", (event) => {
      const { code, reason } = event as Event & { code: number; reason: string };
      resolve({ code, reason });
    });
  });
}

// -- who gets in --

/** The ways to send a token. Each returns the user that the server then sees, or the refusal. */
const WAYS: Readonly<Record<string, (server: LocalServer, token: string) => Promise<unknown>>> = {
  "the header of an upgrade": async ({ ws }, token) => {
    const headers = { authorization: `Bearer ${token}` };
    const { status } = refusal(await rawUpgrade(ws, headers), token);
    if (status !== 101) return status;
    return await whoami(await connect(ws, { WebSocket: withHeaders(headers) }));
  },
  "a subprotocol": async ({ ws }, token) => {
    const offer = { "sec-websocket-protocol": `jsonrpc, bearer.${token}` };
    const response = refusal(await rawUpgrade(ws, offer), token);
    if (response.status !== 101) return response.status;
    assertEquals(response.headers.get("sec-websocket-protocol"), "jsonrpc");
    return await whoami(await connect(ws, { token }));
  },
  "the first message": async ({ ws }, token) => {
    const client = await connect(ws);
    const answer = await client.call("login", { token }).catch((error: unknown) => error);
    const known = await whoami(client);
    if (answer === true) return known;
    assertEquals(known, null);
    assert(answer instanceof RpcInvalidParamsError, String(answer));
    const { message, data } = answer as RpcInvalidParamsError;
    assertHidden(JSON.stringify([message, data]), token);
    return 401;
  },
  "the header of a POST": async ({ url }, token) => {
    const body = '{"jsonrpc":"2.0","method":"whoami","id":1}';
    const response = refusal(await rawPost(url, body, { authorization: `Bearer ${token}` }), token);
    return response.status === 200 ? JSON.parse(response.body).result : response.status;
  },
};

async function whoami(client: JsonRpcClient): Promise<unknown> {
  try {
    return await client.call("whoami");
  } finally {
    await client.close();
  }
}

function refusal<R extends { status: number; headers: Headers; body: string }>(
  response: R,
  token: string,
): R {
  assertHidden(response.body + JSON.stringify([...response.headers]), token);
  if (response.status === 401) {
    assertEquals(response.headers.get("www-authenticate"), 'Bearer error="invalid_token"');
  }
  return response;
}

/** Makes sure that no part of a token shows in a text. */
function assertHidden(text: string, token: string): void {
  for (const part of token.split(".")) {
    assert(part.length < 8 || !text.includes(part), `A token shows in: ${text}`);
  }
}

async function assertEachWay(server: LocalServer, token: string, expected: unknown): Promise<void> {
  for (const [way, come] of Object.entries(WAYS)) {
    assertEquals([way, await come(server, token)], [way, expected]);
  }
}

const jwkSet = {
  keys: [
    { ...await exportJWK(ec.publicKey), kid: "ec" },
    { ...await exportJWK(rsa.publicKey), kid: "rsa" },
    { ...await exportJWK(ed.publicKey), kid: "ed", use: "sig" },
  ],
};

const KEYS: Readonly<Record<string, readonly [JwtKeys, CryptoKey | Uint8Array, kid?: string]>> = {
  "a secret": [HS256, secret],
  "HS512 and a secret": [{ secret, algorithms: ["HS512"] }, secret],
  "a CryptoKey for RS256": [{ publicKey: rsa.publicKey, algorithms: ["RS256"] }, rsa.privateKey],
  "a CryptoKey for ES256": [{ publicKey: ec.publicKey, algorithms: ["ES256"] }, ec.privateKey],
  "a JWK for PS256": [
    { publicKey: await exportJWK(pss.publicKey), algorithms: ["PS256"] },
    pss.privateKey,
  ],
  "SPKI for RS256": [
    { publicKey: await exportSPKI(rsa.publicKey), algorithms: ["RS256"] },
    rsa.privateKey,
  ],
  "SPKI for EdDSA": [
    { publicKey: await exportSPKI(ed.publicKey), algorithms: ["EdDSA"] },
    ed.privateKey,
  ],
  "a JWKS for RS256": [{ jwks: jwkSet, algorithms: ["ES256", "RS256"] }, rsa.privateKey, "rsa"],
  "a JWKS for Ed25519": [{ jwks: jwkSet, algorithms: ["Ed25519"] }, ed.privateKey, "ed"],
};

for (const [what, [keys, key, kid]] of Object.entries(KEYS)) {
  test(`jwt() with ${what} accepts a good token in each way, and rejects one of another key`, async () => {
    const { rpc, log } = testServer(keys);
    await using server = await serveHere(rpc);
    const alg = keys.algorithms.at(-1) ?? "";
    const header = kid === undefined ? { alg } : { alg, kid };
    await assertEachWay(server, await sign(claims(), key, header), "ada");
    const other = key instanceof Uint8Array
      ? crypto.getRandomValues(new Uint8Array(64))
      : (await generateKeyPair(alg)).privateKey;
    await assertEachWay(server, await sign(claims(), other, header), 401);
    assertEquals(log.lines, []);
  });
}

test("jwt() fetches a JWKS once, and again for a key that is not in it", async () => {
  let fetched = 0;
  await using provider = await serveHere({ fetch: () => (fetched++, Response.json(jwkSet)) });
  const { rpc } = testServer({ jwks: new URL(`${provider.url}/jwks`), algorithms: ["ES256"] });
  await using server = await serveHere(rpc);
  assertEquals(fetched, 0);
  await assertEachWay(
    server,
    await sign(claims(), ec.privateKey, { alg: "ES256", kid: "ec" }),
    "ada",
  );
  assertEquals(fetched, 1);
  // Not with each of them: a client that makes up key ids must not make the server fetch all the time.
  await assertEachWay(
    server,
    await sign(claims(), ec.privateKey, { alg: "ES256", kid: "new" }),
    401,
  );
  assertEquals(fetched, 1);
});

test("jwt() refuses every token while the keys cannot be fetched, and logs no token", async () => {
  await using provider = await serveHere({ fetch: () => new Response("down", { status: 503 }) });
  const { rpc, log } = testServer({ jwks: new URL(provider.url), algorithms: ["ES256"] });
  await using server = await serveHere(rpc);
  const token = await sign(claims(), ec.privateKey, { alg: "ES256", kid: "ec" });
  const authorization = `Bearer ${token}`;
  assertEquals((await rawUpgrade(server.ws, { authorization })).status, 500);
  assertEquals((await rawPost(server.url, "{}", { authorization })).status, 500);
  await using client = await connect(server.ws);
  await assertRejects(() => client.call("login", { token }), RpcInternalError);
  assertEquals(await client.call("whoami"), null);
  assertEquals(log.lines.length, 3);
  assertHidden(log.text, token);
});

// -- who does not --

const [head = "", body = "", signature = ""] = (await sign()).split(".");
const spki = new TextEncoder().encode(await exportSPKI(rsa.publicKey));

const FORGERIES: Readonly<Record<string, readonly [token: string, keys?: JwtKeys]>> = {
  "nothing": [""],
  "no token": ["hello"],
  "two parts": [`${head}.${body}`],
  "four parts": [`${head}.${body}.${signature}.${signature}`],
  "five parts": [`${head}..${body}.${signature}.${signature}`],
  "three empty parts": [".."],
  "parts that are no base64": ["!.!.!"],
  "a header that is no JSON": [`${base64url("{alg")}.${body}.${signature}`],
  "a header that is null": [`${base64url(null)}.${body}.${signature}`],
  "a header without alg": [`${base64url({})}.${body}.${signature}`],
  "alg none without a signature": [`${base64url({ alg: "none" })}.${body}.`],
  "alg none with a signature": [`${base64url({ alg: "none" })}.${body}.${signature}`],
  "alg NoNe": [`${base64url({ alg: "NoNe" })}.${body}.`],
  "alg as a list": [`${base64url({ alg: ["HS256", "none"] })}.${body}.${signature}`],
  "no signature": [`${head}.${body}.`],
  "claims of another token": [`${head}.${base64url(claims({ sub: "root" }))}.${signature}`],
  "another algorithm with the same secret": [await sign(claims(), secret, { alg: "HS512" })],
  "the public key as the secret of HS256": [
    await sign(claims(), spki, { alg: "HS256" }),
    { publicKey: await exportSPKI(rsa.publicKey), algorithms: ["RS256"] },
  ],
  "the public key of a JWKS as the secret of HS256": [
    await sign(claims(), spki, { alg: "HS256", kid: "rsa" }),
    { jwks: jwkSet, algorithms: ["RS256"] },
  ],
  "a key of its own in its header": [
    await sign(claims(), pss.privateKey, { alg: "PS256", jwk: await exportJWK(pss.publicKey) }),
    { publicKey: await exportJWK(rsa.publicKey), algorithms: ["PS256"] },
  ],
  "a key that the set does not have": [
    await sign(claims(), ec.privateKey, { alg: "ES256", kid: "../../etc/passwd" }),
    { jwks: jwkSet, algorithms: ["ES256"] },
  ],
  "a kid of 8 KB": [await sign(claims(), secret, { alg: "HS256", kid: "k".repeat(8192) })],
  "a kid of 8 KB for a JWKS": [
    await sign(claims(), ec.privateKey, { alg: "ES256", kid: "k".repeat(8192) }),
    { jwks: jwkSet, algorithms: ["ES256"] },
  ],
  "a critical extension that nobody knows": [
    `${base64url({ alg: "HS256", crit: ["magic"], magic: 1 })}.${body}.${signature}`,
  ],
  "another audience": [await sign(claims({ aud: "https://other.example" }))],
  "other audiences": [await sign(claims({ aud: ["a", `${AUDIENCE}/`] }))],
  "no audience": [await sign(claimsWithout("aud"))],
  "another issuer": [await sign(claims({ iss: `${ISSUER}.evil.example` }))],
  "no issuer": [await sign(claimsWithout("iss"))],
  "an expiry that has passed": [await sign(claims({ exp: inSeconds(-1) }))],
  "no expiry": [await sign(claimsWithout("exp"))],
  "an expiry that is a text": [await sign({ ...claims(), exp: "2999" as unknown as number })],
  "a time that has not come": [await sign(claims({ nbf: inSeconds(30) }))],
  "no sub": [await sign(claimsWithout("sub"))],
  "an empty sub": [await sign(claims({ sub: "" }))],
  "claims that are a list": [await hmac(base64url({ alg: "HS256" }), base64url([1]))],
  "claims that are no JSON": [await hmac(base64url({ alg: "HS256" }), base64url("{"))],
};

/** Signs whatever there is. */
async function hmac(header: string, payload: string): Promise<string> {
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", secret, algorithm, false, ["sign"]);
  const input = new TextEncoder().encode(`${header}.${payload}`);
  const bytes = new Uint8Array(await crypto.subtle.sign("HMAC", key, input));
  return `${header}.${payload}.${base64url(String.fromCharCode(...bytes))}`;
}

for (const [what, [token, keys = HS256]] of Object.entries(FORGERIES)) {
  test(`jwt() rejects a token with ${what} in each way`, async () => {
    const { rpc, log } = testServer(keys);
    await using server = await serveHere(rpc);
    await assertEachWay(server, token, 401);
    assertEquals(log.lines, []);
  });
}

test("jwt() rejects a token from the millisecond of its expiry", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  for (const way of Object.values(WAYS)) {
    assertEquals(await way(server, await sign(claims({ exp: inSeconds(0) }))), 401);
  }
});

test("jwt() without an audience rejects tokens that name one, and accepts others", async () => {
  const rpc = new JsonRpc().use(jwt(HS256)).method("whoami", (_: unknown, { user }) => user?.name);
  await using server = await serveHere(rpc);
  await assertEachWay(server, await sign(), 401);
  await assertEachWay(server, await sign(claimsWithout("aud", "iss")), "ada");
});

test("jwt() accepts any of several audiences and issuers", async () => {
  const several = { audience: ["a", "b"], issuer: ["c", "d"] };
  const { rpc } = testServer({ ...HS256, ...several });
  await using server = await serveHere(rpc);
  await assertEachWay(server, await sign(claims({ aud: ["x", "b"], iss: "d" })), "ada");
  await assertEachWay(server, await sign(claims({ aud: "a", iss: "c" })), "ada");
  await assertEachWay(server, await sign(claims({ aud: "c", iss: "a" })), 401);
});

test("jwt() applies leewayMs to the start and the end of a token's time", async () => {
  const { rpc } = testServer({ ...HS256, leewayMs: 60_000 });
  await using server = await serveHere(rpc);
  const late = await sign(claims({ exp: inSeconds(-20) }));
  const early = await sign(claims({ nbf: inSeconds(30) }));
  await assertEachWay(server, late, "ada");
  await assertEachWay(server, early, "ada");
  await assertEachWay(server, await sign(claims({ exp: inSeconds(-61) })), 401);
  await assertEachWay(server, await sign(claims({ nbf: inSeconds(90) })), 401);
});

test("jwt() rejects two different tokens at once, and accepts one that is sent twice", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const [one, other] = [await sign(), await sign(claims({ sub: "bob" }))];
  const offer = (token: string) => ({
    authorization: `Bearer ${one}`,
    "sec-websocket-protocol": `jsonrpc, bearer.${token}`,
  });
  assertEquals((await rawUpgrade(server.ws, offer(other))).status, 401);
  assertEquals((await rawUpgrade(server.ws, offer(one))).status, 101);
  const twice = { "sec-websocket-protocol": `bearer.${one}, bearer.${other}` };
  assertEquals((await rawUpgrade(server.ws, twice)).status, 401);
  const joined = { authorization: `Bearer ${one}, Bearer ${other}` };
  assertEquals((await rawPost(server.url, "{}", joined)).status, 401);
});

test("jwt() reads the scheme Bearer in upper and lower case, and ignores other schemes", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const token = await sign();
  for (
    const [authorization, known] of [
      [`bearer ${token}`, "ada"],
      [`BEARER   ${token}`, "ada"],
      ["Basic YWRhOnNlY3JldA==", null],
      [`Bearerish ${token}`, null],
    ] as const
  ) {
    const request = '{"jsonrpc":"2.0","method":"whoami","id":1}';
    const response = await rawPost(server.url, request, { authorization });
    assertEquals(JSON.parse(response.body).result, known);
  }
  for (const authorization of ["Bearer", "Bearer ", "bearer\t"]) {
    assertEquals((await rawPost(server.url, "{}", { authorization })).status, 401);
  }
});

test("no log, answer or error of jwt() contains a token", async () => {
  const { rpc, log } = testServer();
  rpc.method("fail", (_params: unknown, { user }) => {
    throw new Error(`not for ${user?.name}`);
  });
  await using server = await serveHere(rpc);
  const token = await sign();
  await using client = await connect(server.ws, { token });
  await client.subscribe("secrets", () => {});
  const answers: unknown[] = [];
  for (const method of ["get_methods", "get_topics", "get_subscriptions", "rpc.discover"]) {
    answers.push(await client.call(method));
  }
  answers.push(await client.call("login", { token }), await client.call("login", [token]));
  await assertRejects(() => client.call("fail"), RpcInternalError);
  const bad = `${token}x`;
  const error = await assertRejects(() => connect(server.ws, { token: bad }), RpcConnectionError);
  for (const text of [JSON.stringify(answers), log.text, `${error} ${(error as Error).stack}`]) {
    assertHidden(text, token);
  }
});

test("jwt() quotes nothing of a token that it rejects", async () => {
  const { rpc, log } = testServer();
  await using server = await serveHere(rpc);
  const [name, claim] = ["x-secret-extension", "https://secret.example"];
  const tokens = [
    `${base64url({ alg: "HS256", crit: [name], [name]: 1 })}.${body}.${signature}`,
    `${base64url({ alg: name })}.${body}.${signature}`,
    await sign(claims({ aud: claim })),
    await sign(claims({ iss: claim })),
  ];
  await using client = await connect(server.ws);
  for (const token of tokens) {
    const response = await rawPost(server.url, "{}", { authorization: `Bearer ${token}` });
    const error = await client.call("login", { token }).catch((error: unknown) => error);
    const { message, data } = error as RpcInvalidParamsError;
    const said = [response.body, ...response.headers, message, data, log.text].join();
    assert(response.status === 401 && !said.includes(name) && !said.includes(claim), said);
  }
});

test("jwt() adds no login over POST", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const token = await sign();
  await using client = await connect(server.url, { token });
  await assertRejects(() => client.call("login", { token }), RpcMethodNotFoundError);
  assertEquals((await client.getMethods()).includes("login"), false);
});

// -- users --

test("jwt() makes a user from sub, scope and permissions", async () => {
  const users: unknown[] = [];
  const { rpc } = testServer();
  rpc.method("user", (_: unknown, { user }) => void users.push(user));
  await using server = await serveHere(rpc);
  const scopes = [
    [{ scope: "read operate" }, ["read", "operate"]],
    [{ permissions: ["operate", 7, ""], scope: "  a  b " }, ["a", "b", "operate"]],
    [{ scope: ["operate", "x"] }, ["operate", "x"]],
    [{ scope: 7, permissions: "operate" }, []],
    // A user who may write a claim of this name must not become a superuser.
    [{ superuser: true, name: "root" }, []],
  ] as const;
  for (const [more, permissions] of scopes) {
    const payload = claims(more as JWTPayload);
    await using client = await connect(server.url, { token: await sign(payload) });
    await client.call("user");
    assertEquals(users.pop(), { name: "ada", permissions, claims: payload });
    const operates = client.call("operate");
    if ((permissions as readonly string[]).includes("operate")) assertEquals(await operates, true);
    else await assertRejects(() => operates, RpcMethodNotFoundError);
  }
});

test("jwt() calls toUser, which may reject the token, be asynchronous, or fail", async () => {
  const outcomes: Record<string, unknown> = { bob: { name: "Bob" }, nobody: null, wrong: true };
  const { rpc, log } = testServer({
    ...HS256,
    toUser: async ({ sub = "" }) => {
      await quietMoment();
      if (sub === "broken") throw new Error("The store is down");
      return outcomes[sub] as { name: string } | null;
    },
  });
  await using server = await serveHere(rpc);
  await assertEachWay(server, await sign(claims({ sub: "bob" })), "Bob");
  await assertEachWay(server, await sign(claims({ sub: "nobody" })), 401);
  assertEquals(log.lines, []);
  for (const sub of ["broken", "wrong"]) {
    const token = await sign(claims({ sub }));
    const authorization = `Bearer ${token}`;
    assertEquals((await rawUpgrade(server.ws, { authorization })).status, 500);
    assertEquals((await rawPost(server.url, "{}", { authorization })).status, 500);
    await using client = await connect(server.ws);
    await assertRejects(() => client.call("login", { token }), RpcInternalError);
    assertEquals(await client.call("whoami"), null);
    assertHidden(log.text, token);
  }
  assert(log.text.includes("The store is down") && log.text.includes("got a boolean"), log.text);
});

// -- required --

test("jwt() that is not required lets peers without a token in, with no user", async () => {
  const { rpc } = testServer({ ...HS256, loginDeadlineMs: 1 });
  await using server = await serveHere(rpc);
  await using client = await connect(server.ws);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assertEquals(await client.call("whoami"), null);
  await assertRejects(() => client.call("secret"), RpcMethodNotFoundError);
  await using poster = await connect(server.url);
  assertEquals(await poster.call("whoami"), null);
});

test("jwt() that is required answers a POST without a token with 401 and a challenge", async () => {
  const { rpc, ran } = testServer({ ...HS256, required: true });
  await using server = await serveHere(rpc);
  const call = '{"jsonrpc":"2.0","method":"ping","id":1}';
  const response = await rawPost(server.url, call);
  assertEquals([response.status, response.headers.get("www-authenticate")], [401, "Bearer"]);
  const other = await rawPost(server.url, call, { authorization: "Basic YWRhOnNlY3JldA==" });
  assertEquals([other.status, other.headers.get("www-authenticate")], [401, "Bearer"]);
  // One that claims to be an upgrade gets no further.
  for (const connection of ["close", "upgrade"]) {
    const upgrade = { connection, upgrade: "websocket", "content-length": `${call.length}` };
    const { body } = await rawPost(server.url, call, upgrade);
    assertEquals(body.includes("pong"), false);
  }
  for (const upgrade of ["websocket", "h2c", "any"]) {
    const { status } = await rawPost(server.url, call, { connection: "close", upgrade });
    assertEquals(status, 401);
  }
  assertEquals(ran, []);
  await using client = await connect(server.url, { token: await sign() });
  assertEquals(await client.call("ping"), "pong");
});

test("jwt() that is required lets no plugin answer a request without a token", async () => {
  const { rpc } = testServer({ ...HS256, required: true });
  rpc.use({ name: "test", fetch: () => new Response("a page") });
  const offers = [{}, { upgrade: "h2c" }, { upgrade: "any", connection: "upgrade" }];
  for (const method of ["GET", "HEAD", "PUT", "DELETE"]) {
    for (const headers of offers as Record<string, string>[]) {
      const response = await rpc.fetch(new Request("http://127.0.0.1/", { method, headers }));
      assert([401, 426].includes(response.status), `${method}: ${response.status}`);
    }
  }
});

test("jwt() that is required offers only login to a WebSocket without a token", async () => {
  const { rpc, ran } = testServer({ ...HS256, required: true });
  rpc.stream("items", { unsubscribe: "items_end", notification: "item" }, () => {
    ran.push("items");
    return [];
  });
  await using server = await serveHere(rpc);
  await using client = await connect(server.ws);
  const names = ["ping", "whoami", "unknown", "get_methods", "get_topics", "get_subscriptions"];
  names.push("subscribe", "unsubscribe", "rpc.discover", "items", "items_end", "constructor");
  for (const name of names) {
    await assertRejects(() => client.call(name, ["news"]), RpcMethodNotFoundError);
    client.notify(name, ["news"]);
  }
  const batch = client.batch((b) => names.map((name) => b.call(name).catch((error) => error)));
  for (const error of await batch) assert(error instanceof RpcMethodNotFoundError);
  await assertRejects(() => client.subscribe("news", () => {}), RpcMethodNotFoundError);
  assertEquals([ran, rpc.publish("news", 1).deliveries], [[], 0]);
  assertEquals(await client.call("login", { token: await sign() }), true);
  assertEquals(await client.call("whoami"), "ada");
  assert((await client.getMethods()).includes("ping"));
});

test("jwt() that is required closes a WebSocket with 1008 that has not logged in within loginDeadlineMs", async () => {
  const { rpc, ran } = testServer({ ...HS256, required: true, loginDeadlineMs: 1500 });
  await using server = await serveHere(rpc);
  const token = await sign();
  await using early = await connect(server.ws, { token });
  const [silent, busy] = [await connect(server.ws), await connect(server.ws)];
  const ends = [ending(silent), ending(busy)];
  await busy.call("login", { token: "bad" }).catch(() => {});
  for (const end of ends) assertEquals(await end, { code: 1008, reason: "Login required" });
  await using late = await connect(server.ws);
  await late.call("login", { token });
  // Connections that come after these get a later deadline.
  assertEquals((await ending(await connect(server.ws))).code, 1008);
  assertEquals([await early.call("whoami"), await late.call("whoami")], ["ada", "ada"]);
  assertEquals(ran, []);
});

test("jwt() that is required accepts a user that the program has set, before or after the opening", async () => {
  const { rpc } = testServer({ ...HS256, required: true, loginDeadlineMs: 1500 });
  const bob = { name: "bob", permissions: [], claims: {} };
  const [near, far] = linkedSockets();
  rpc.attach(far, { user: bob });
  await using attached = await connect(near);
  await using server = await serveHere(rpc);
  await using late = await connect(server.ws);
  await until(() => rpc.connections.size === 2);
  for (const connection of rpc.connections) connection.login(bob);
  // Connections that come after these get a later deadline.
  assertEquals((await ending(await connect(server.ws))).code, 1008);
  assertEquals([await attached.call("whoami"), await late.call("whoami")], ["bob", "bob"]);
});

test("jwt() that is required ends the subscriptions of a connection that was logged out", async () => {
  const { rpc } = testServer({ ...HS256, required: true, loginDeadlineMs: 1500 });
  rpc.method("logout", (_: unknown, { connection }) => (connection.logout(), "bye"));
  await using server = await serveHere(rpc);
  const client = await connect(server.ws, { token: await sign() });
  const received: unknown[] = [];
  await client.subscribe("news", (data) => received.push(data));
  rpc.publish("news", "before");
  const end = ending(client);
  assertEquals(await client.call("logout"), "bye");
  assertEquals(rpc.publish("news", "after").deliveries, 0);
  await assertRejects(() => client.call("ping"), RpcMethodNotFoundError);
  assertEquals((await end).code, 1008);
  assertEquals(received, ["before"]);
});

// -- expiry --

test("jwt() closes with 4401 when the token expires, and delivers nothing after", async () => {
  const { rpc, ran } = testServer();
  await using server = await serveHere(rpc);
  const token = await sign(claims({ exp: inSeconds(3) }));
  const byHeader = withHeaders({ authorization: `Bearer ${token}` });
  const clients = [
    await connect(server.ws, { WebSocket: byHeader }),
    await connect(server.ws, { token }),
    await connect(server.ws),
  ];
  await clients[2]?.call("login", { token });
  await using other = await connect(server.ws, { token: await sign() });
  for (const client of clients) await client.subscribe("secrets", () => {});
  assertEquals(rpc.publish("secrets", 1).deliveries, 3);
  for (const end of clients.map(ending)) {
    assertEquals(await end, { code: 4401, reason: "Token expired" });
  }
  assertEquals(rpc.publish("secrets", 2).deliveries, 0);
  await using poster = await connect(server.url, { token });
  const refused = await assertRejects(() => poster.call("secret"), RpcConnectionError);
  assert((refused as Error).message.includes("expired"));
  assertEquals([ran, await other.call("whoami")], [[], "ada"]);
});

test("login replaces the token of an open connection, and its user", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const short = await sign(claims({ exp: inSeconds(3) }));
  await using client = await connect(server.ws, { token: short });
  const unrefreshed = await connect(server.ws, { token: short });
  const end = ending(unrefreshed);
  await client.subscribe("secrets", () => {});
  await client.call("login", { token: await sign(claims({ sub: "bob" })) });
  assertEquals((await end).code, 4401);
  assertEquals([await client.call("whoami"), rpc.publish("secrets", 1).deliveries], ["bob", 1]);
});

test("login with a bad token keeps the user, the subscriptions and the expiry", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const client = await connect(server.ws, {
    token: await sign(claims({ exp: inSeconds(3) })),
  });
  const end = ending(client);
  await client.subscribe("secrets", () => {});
  const bad = [
    { token: await sign(claims({ sub: "root", exp: inSeconds(-9) })) },
    { token: `${head}.${base64url(claims({ sub: "root" }))}.${signature}` },
    { token: 7 },
    {},
    [],
    [null],
    undefined,
  ];
  for (const params of bad) {
    await assertRejects(() => client.call("login", params), RpcInvalidParamsError);
  }
  assertEquals([await client.call("whoami"), rpc.publish("secrets", 1).deliveries], ["ada", 1]);
  assertEquals((await end).code, 4401);
});

test("jwt() checks the expiry before each call, since a timer may be late", async () => {
  const { rpc, ran } = testServer();
  const expiresAt = Date.now() + 2000;
  const [token, fresh] = [await sign(claims({ exp: expiresAt / 1000 })), await sign()];
  const wires = [bareClient(rpc), bareClient(rpc), bareClient(rpc)];
  for (const wire of wires) {
    wire.call(1, "login", { token });
    assertEquals((await wire.next()).result, true);
  }
  const [connection] = rpc.connections;
  // No timer runs meanwhile, nor before the messages arrive.
  while (Date.now() < expiresAt);
  const [lone, batch, refresh] = wires as [WirePeer, WirePeer, WirePeer];
  lone.call(2, "secret");
  batch.send([2, 3, 4].map((id) => ({ jsonrpc: "2.0", method: id < 4 ? "secret" : "ping", id })));
  refresh.call(2, "login", { token: fresh });
  for (let turn = 0; turn < 10; turn++) await Promise.resolve();
  assertEquals([ran, rpc.connections.size, connection?.user], [[], 0, null]);
  assertEquals(wires.map(({ received }) => received.length), [1, 1, 1]);
});

test("jwt() removes the user from calls that still run when the token expires", async () => {
  const { rpc } = testServer();
  const { promise: passed, resolve: open } = deferred<RpcRequest>();
  rpc.method("slow", async (_: unknown, request) => {
    open(request as RpcRequest);
    await new Promise((resolve) => request.signal.addEventListener("abort", resolve));
  });
  await using server = await serveHere(rpc);
  const client = await connect(server.ws, {
    token: await sign(claims({ exp: inSeconds(3) })),
  });
  const answer = client.call("slow");
  const request = await passed;
  assertEquals((request.user as { name: string }).name, "ada");
  await assertRejects(() => answer, RpcConnectionError);
  await until(() => request.signal.aborted);
  assertEquals(request.user, null);
});

test("jwt() closes a connection at an expiry that is further away than a timer can wait", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const tokens = [inSeconds(60 * DAY), inSeconds(1000 * 365 * DAY), 1e300];
  const clients = await Promise.all(
    tokens.map(async (exp) => connect(server.ws, { token: await sign(claims({ exp })) })),
  );
  await new Promise((resolve) => setTimeout(resolve, 100));
  for (const client of clients) {
    assertEquals(await client.call("whoami"), "ada");
    await client.close();
  }
});

test("jwt() does not close a connection that was logged out before its token expired", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const token = await sign(claims({ exp: inSeconds(3) }));
  await using client = await connect(server.ws, { token });
  for (const connection of rpc.connections) connection.logout();
  const other = await connect(server.ws, { token });
  assertEquals((await ending(other)).code, 4401);
  assertEquals(await client.call("whoami"), null);
});

test("connection.login() with a changed user keeps the token's expiry", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  const token = await sign(claims({ exp: inSeconds(3) }));
  const client = await connect(server.ws, { token });
  const end = ending(client);
  for (const connection of rpc.connections) {
    connection.login({ name: "ada", permissions: ["operate"], claims: {} });
  }
  assertEquals(await client.call("operate"), true);
  assertEquals((await end).code, 4401);
});

test("login that is answered after the connection has ended sets no timer", async () => {
  const { promise: passed, resolve: open } = deferred();
  const asked = deferred();
  const { rpc } = testServer({
    ...HS256,
    toUser: async () => {
      asked.resolve();
      await passed;
      return { name: "ada" };
    },
  });
  const wire = bareClient(rpc);
  wire.call(1, "login", { token: await sign() });
  const [connection] = rpc.connections;
  await asked.promise;
  wire.close();
  await until(() => rpc.connections.size === 0);
  open();
  await quietMoment();
  assertEquals([connection?.user, wire.received], [null, []]);
});

/** As much of a connection as a backend looks at; it never says that it has ended. */
function fakeConnection(user: unknown) {
  const closed: number[] = [];
  const connection = {
    handshake: { url: "", headers: new Headers(), remoteAddress: undefined, user },
    isOpen: true,
    user,
    logout() {},
    close: (code: number) => void closed.push(code),
  };
  return { connection: connection as unknown as RpcRequest["connection"], closed };
}

test("jwt() removes its timers with their connections", async () => {
  const backend: Plugin = jwt({ ...HS256, required: true, loginDeadlineMs: 50 });
  const [gone, stays] = [fakeConnection(null), fakeConnection(null)];
  backend.onOpen?.(gone.connection);
  backend.onClose?.(gone.connection);
  backend.onOpen?.(stays.connection);
  await until(() => stays.closed.length > 0);
  assertEquals([gone.closed, stays.closed], [[], [1008]]);
});

test("jwt() closes many connections at the same time, each of them once", async () => {
  const { rpc } = testServer();
  const token = await sign(claims({ exp: inSeconds(2) }));
  const wires = Array.from({ length: 200 }, () => bareClient(rpc));
  for (const wire of wires) wire.call(1, "login", { token });
  await Promise.all(wires.map((wire) => wire.next()));
  assertEquals(rpc.connections.size, 200);
  await until(() => rpc.connections.size === 0);
  assertEquals(await unsettled([rpc.close()]), []);
});

// -- options --

const pem = await exportSPKI(rsa.publicKey);
const privateJwk = await exportJWK(rsa.privateKey);
const WRONG: Readonly<Record<string, readonly [object, typeof TypeError, message: string]>> = {
  "no key": [{ algorithms: ["HS256"] }, TypeError, "exactly one"],
  "a setting that is missing": [
    { secret: undefined, algorithms: ["HS256"] },
    TypeError,
    "exactly one",
  ],
  "two keys": [{ secret, publicKey: pem, algorithms: ["HS256"] }, TypeError, "got 2"],
  "no algorithms": [{ secret }, TypeError, "algorithms"],
  "an empty list of algorithms": [{ secret, algorithms: [] }, TypeError, "algorithms"],
  "algorithms as a text": [{ secret, algorithms: "HS256" }, TypeError, "algorithms"],
  "the algorithm none": [{ secret, algorithms: ["HS256", "none"] }, TypeError, "algorithms"],
  "none for a public key": [{ publicKey: pem, algorithms: ["none"] }, TypeError, "algorithms"],
  "HS256 for a public key": [{ publicKey: pem, algorithms: ["HS256"] }, TypeError, "algorithms"],
  "HS256 for a JWKS": [{ jwks: jwkSet, algorithms: ["HS256"] }, TypeError, "algorithms"],
  "RS256 for a secret": [{ secret, algorithms: ["RS256"] }, TypeError, "algorithms"],
  "a PEM as a secret": [{ secret: pem, algorithms: ["HS256"] }, TypeError, "PEM"],
  "a short secret": [{ secret: "hunter2", algorithms: ["HS256"] }, RangeError, "32 bytes"],
  "a secret too short for one of them": [
    { secret: "x".repeat(63), algorithms: ["HS256", "HS512"] },
    RangeError,
    "64 bytes",
  ],
  "a private CryptoKey": [
    { publicKey: rsa.privateKey, algorithms: ["RS256"] },
    TypeError,
    "public",
  ],
  "a private JWK": [{ publicKey: privateJwk, algorithms: ["RS256"] }, TypeError, "public"],
  "a secret JWK": [
    { publicKey: { kty: "oct", k: "c2VjcmV0" }, algorithms: ["RS256"] },
    TypeError,
    "public",
  ],
  "a text that is no SPKI": [{ publicKey: "MIIB", algorithms: ["RS256"] }, TypeError, "BEGIN"],
  "a JWKS that is none": [{ jwks: "https://x.example", algorithms: ["RS256"] }, TypeError, "jwks"],
  "an audience that is missing": [{ ...HS256, audience: undefined }, TypeError, "audience"],
  "an empty audience": [{ ...HS256, audience: "" }, TypeError, "audience"],
  "no audiences": [{ ...HS256, audience: [] }, TypeError, "audience"],
  "an issuer that is missing": [{ ...HS256, issuer: undefined }, TypeError, "issuer"],
  "issuers that are no text": [{ ...HS256, issuer: [7] }, TypeError, "issuer"],
  "too much leeway": [{ ...HS256, leewayMs: 60_001 }, RangeError, "leewayMs"],
  "leeway below 0": [{ ...HS256, leewayMs: -1 }, RangeError, "leewayMs"],
  "leeway that is no number": [{ ...HS256, leewayMs: NaN }, RangeError, "leewayMs"],
  "leeway as a text": [{ ...HS256, leewayMs: "9" }, RangeError, "leewayMs"],
  "a deadline as a text": [{ ...HS256, loginDeadlineMs: "9" }, RangeError, "loginDeadlineMs"],
  "no time to log in": [{ ...HS256, loginDeadlineMs: 0 }, RangeError, "loginDeadlineMs"],
};

test("jwt() throws if an option is wrong, and names it", () => {
  for (const [what, [options, error, message]] of Object.entries(WRONG)) {
    const thrown = assertThrows(() => jwt(options as JwtOptions), error, message, what) as Error;
    assert(!thrown.message.includes("hunter2"), thrown.message);
  }
});

test("jwt() never writes to its options, and ignores later changes of them", async () => {
  const bytes = crypto.getRandomValues(new Uint8Array(32));
  const algorithms = ["HS256"];
  const jwk = await exportJWK(rsa.publicKey);
  const backends = [
    Object.freeze({ secret: bytes, algorithms, audience: Object.freeze([AUDIENCE]) }),
    { publicKey: jwk, algorithms: ["RS256"], audience: AUDIENCE },
  ];
  const servers = backends.map((options) =>
    new JsonRpc().use(jwt(options)).method("ping", () => "pong")
  );
  const token = await sign(claims(), bytes.slice());
  algorithms[0] = "none";
  bytes.fill(0);
  const tokens = [token, await sign(claims(), rsa.privateKey, { alg: "RS256" })];
  for (const [index, rpc] of servers.entries()) {
    await using server = await serveHere(rpc);
    await using client = await connect(server.url, { token: tokens[index] ?? "" });
    assertEquals(await client.call("ping"), "pong");
  }
  assertEquals(Object.isFrozen(jwk), false);
});

// -- the example --

for (const name of ["deno", "bun", "node"] as const) {
  test(
    `examples/jwt.ts recognizes its callers, and a new token gives them more rights, on ${name}`,
    await needs(name),
    async () => {
      const PORT = String(await freePort());
      const server = await spawnServer(name, "examples/jwt.ts", [], { PORT });
      try {
        await until(() => server.output().includes("over POST"));
        assertEquals(server.output().split("\n").slice(1, 5), [
          "over WebSocket: hello, ada",
          "restart: Method not found",
          "restart: restarting",
          "over POST: hello, ada",
        ]);
      } finally {
        await server.stop();
      }
    },
  );
}
