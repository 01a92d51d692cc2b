import { assert, assertEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import type { Page } from "playwright-core";
import { JsonRpc } from "@x/jsonrpc";
import type { JsonRpcOptions } from "@x/jsonrpc";
import type { OriginOptions } from "../../src/server/origin.ts";
import type { Plugin } from "@x/jsonrpc/plugin";
import { withChromium } from "../helpers/chromium.ts";
import { rawPost, rawRequest, rawUpgrade } from "../helpers/raw_client.ts";
import type { RawResponse } from "../helpers/raw_client.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";
import type { LocalServer } from "../helpers/server.ts";
import { needs } from "../helpers/needs.ts";

const chromium = await needs("chromium");

const APP = "https://app.example";
const EVIL = "https://evil.example";
const PING = '{"jsonrpc":"2.0","method":"ping","id":1}';

/** A server that counts what ran. */
function testServer(options: JsonRpcOptions = {}) {
  const log = silentLog();
  const ran: string[] = [];
  const rpc = new JsonRpc({ logger: log, ...options })
    .method("ping", { get: true }, () => (ran.push("ping"), "pong"));
  return { rpc, log, ran };
}

/** What is there for a browser alone. */
function corsHeaders({ headers }: RawResponse): Record<string, string> {
  return Object.fromEntries(
    [...headers].filter(([name]) => name.startsWith("access-control-") || name === "vary")
      .map(([name, value]) => [name.replace("access-control-", ""), value.trim()]),
  );
}

/** The question that a browser asks before a POST of JSON from another origin. */
function preflight(url: string, origin: string): Promise<RawResponse> {
  const headers = {
    connection: "close",
    origin,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type",
  };
  return rawRequest(url, { method: "OPTIONS", headers });
}

/** A page's POST, its preflight, its GET of a method, and its upgrade: what each was answered. */
async function knock({ url, ws }: LocalServer, origin: string): Promise<RawResponse[]> {
  return [
    await preflight(url, origin),
    await rawPost(url, PING, { connection: "close", origin }),
    await rawRequest(url, {
      path: "/?method=ping&id=1",
      headers: { connection: "close", origin },
    }),
    await rawUpgrade(ws, { origin }),
  ];
}

const NAMED = (origin: string) => ({
  "allow-origin": origin,
  "allow-credentials": "true",
  vary: "origin",
});
const ASKED = {
  "allow-methods": "POST, GET",
  "allow-headers": "content-type, authorization",
  "max-age": "600",
};

interface Rule {
  readonly options: OriginOptions;
  readonly origin: string;
  readonly cors: Record<string, string>;
}

const LET_IN: Readonly<Record<string, Rule>> = {
  "its origin in a list": { options: { origins: [EVIL, APP] }, origin: APP, cors: NAMED(APP) },
  "an origin that a function allows": {
    options: { origins: (origin) => origin === APP },
    origin: APP,
    cors: NAMED(APP),
  },
  // Any page may ask, but none with the cookies of the person who looks at it.
  "an origin where all may": {
    options: { origins: "*" },
    origin: EVIL,
    cors: { "allow-origin": "*" },
  },
  "a listed origin that is null": {
    options: { origins: ["null"] },
    origin: "null",
    cors: NAMED("null"),
  },
};

for (const [what, { options, origin, cors }] of Object.entries(LET_IN)) {
  test(`a page with ${what} can read that the server is closing`, async () => {
    const { rpc, ran } = testServer(options);
    await using server = await serveHere(rpc);
    await rpc.close();
    const [asked, post, get] = await knock(server, origin) as [
      RawResponse,
      RawResponse,
      RawResponse,
    ];
    assertEquals([asked.status, post.status, get.status], [204, 503, 503]);
    assertEquals([corsHeaders(post), corsHeaders(get)], [cors, cors]);
    assertEquals(JSON.parse(post.body).error.data, { retry: true });
    assertEquals(ran, []);
  });
}

test("a foreign page cannot read that the server is closing", async () => {
  const { rpc } = testServer({ origins: [APP] });
  await using server = await serveHere(rpc);
  await rpc.close();
  const answers = await knock(server, EVIL);
  assertEquals(answers.map(({ status }) => status), [403, 403, 403, 503]);
  assertEquals(answers.map(corsHeaders), [{}, {}, {}, {}]);
});

for (const [what, { options, origin, cors }] of Object.entries(LET_IN)) {
  test(`a page with ${what} may post after its preflight, read the answer, and open a WebSocket`, async () => {
    const { rpc, log, ran } = testServer(options);
    await using server = await serveHere(rpc);
    const [asked, post, get, upgrade] = await knock(server, origin) as [
      RawResponse,
      RawResponse,
      RawResponse,
      RawResponse,
    ];
    assertEquals([asked.status, post.status, get.status, upgrade.status], [204, 200, 200, 101]);
    assertEquals(corsHeaders(asked), { ...cors, ...ASKED });
    assertEquals([corsHeaders(post), corsHeaders(get)], [cors, cors]);
    assertEquals(JSON.parse(post.body).result, "pong");
    assertEquals([ran, log.lines], [["ping", "ping"], []]);
  });
}

test("a page of the server's own origin is accepted by default, with http and with https", async () => {
  const { rpc } = testServer();
  await using server = await serveHere(rpc);
  for (const origin of [server.url, server.url.replace("http:", "https:")]) {
    const answers = await knock(server, origin);
    assertEquals(answers.map(({ status }) => status), [204, 200, 200, 101]);
    assertEquals(corsHeaders(answers[1] as RawResponse), NAMED(origin));
  }
});

test("a request without Origin is accepted, and gets no CORS headers", async () => {
  for (const origins of [undefined, [], [APP], "*"] as const) {
    const { rpc } = testServer(origins === undefined ? {} : { origins });
    await using server = await serveHere(rpc);
    const post = await rawPost(server.url, PING, { connection: "close" });
    assertEquals([post.status, corsHeaders(post)], [200, {}]);
    assertEquals((await rawUpgrade(server.ws)).status, 101);
    const asked = await rawRequest(server.url, {
      method: "OPTIONS",
      headers: { connection: "close" },
    });
    assertEquals([asked.status, corsHeaders(asked)], [405, {}]);
  }
});

const REFUSED: Readonly<Record<string, readonly [options: OriginOptions, origins: string[]]>> = {
  "by default": [{}, [EVIL, "null", "file://", "http://127.0.0.1", "http://localhost", "a b"]],
  "by a list": [{ origins: [APP] }, [EVIL, "null", `${APP}.evil.example`, `${APP}:444`, "*"]],
  "by an empty list": [{ origins: [] }, [APP, "null"]],
  "by a function": [{ origins: (origin) => origin === APP }, [EVIL, "null"]],
  "for its Host, though its origin may": [{ origins: "*", hosts: ["rpc.example"] }, [APP]],
};

for (const [how, [options, origins]] of Object.entries(REFUSED)) {
  test(`a page that is refused ${how} gets 403 and no CORS headers over WebSocket and HTTP, and nothing runs`, async () => {
    const { rpc, log, ran } = testServer(options);
    await using server = await serveHere(rpc);
    for (const origin of [...origins, ...how === "by default" ? [otherPort(server)] : []]) {
      for (const response of await knock(server, origin)) {
        assertEquals([origin, response.status, corsHeaders(response)], [origin, 403, {}]);
      }
    }
    assertEquals(ran, []);
    assert(log.lines.every((line) => /^warn: Refused (?:origin|host) "/.test(line)), log.text);
  });
}

function otherPort({ url }: LocalServer): string {
  const { port } = new URL(url);
  return url.replace(port, String(Number(port) - 1));
}

test("a preflight is answered before other checks, whose refusal of the POST its page can read", async () => {
  const asked: string[] = [];
  const backend: Plugin = {
    name: "test",
    handshake({ headers }) {
      asked.push(headers.get("authorization") ?? "nobody");
      return headers.has("authorization") ? undefined : new Response("Who?", { status: 401 });
    },
  };
  const { rpc, ran } = testServer({ origins: [APP] });
  rpc.use(backend);
  await using server = await serveHere(rpc);
  assertEquals((await preflight(server.url, APP)).status, 204);
  assertEquals(asked, []);
  const headers = { connection: "close", origin: APP };
  const refused = await rawPost(server.url, PING, headers);
  assertEquals([refused.status, corsHeaders(refused)], [401, NAMED(APP)]);
  const good = await rawPost(server.url, PING, { ...headers, authorization: "Bearer 1" });
  assertEquals([good.status, corsHeaders(good)], [200, NAMED(APP)]);
  assertEquals([asked, ran], [["nobody", "Bearer 1"], ["ping"]]);
});

test("a page that was accepted may also read refusals of its POST", async () => {
  const { rpc } = testServer({ origins: [APP], maxMessageBytes: 100 });
  await using server = await serveHere(rpc);
  const headers = { connection: "close", origin: APP };
  const responses = [
    await rawPost(server.url, PING, { ...headers, "content-type": "text/plain" }),
    await rawPost(server.url, " ".repeat(101), headers),
    await rawPost(server.url, "{", headers),
    await rawRequest(server.url, { headers }),
  ];
  assertEquals(responses.map(({ status }) => status), [415, 413, 200, 405]);
  for (const response of responses) assertEquals(corsHeaders(response), NAMED(APP));
});

test("an answer of a plugin keeps its `vary` header, beside the origin", async () => {
  const { rpc } = testServer({ origins: [APP] });
  rpc.use({ name: "test", fetch: () => new Response("a page", { headers: { vary: "cookie" } }) });
  const request = new Request("http://rpc.example/", { headers: { origin: APP } });
  const { headers } = await rpc.fetch(request);
  assertEquals(headers.get("vary"), "cookie, origin");
  assertEquals(headers.get("access-control-allow-origin"), APP);
});

const SITES: readonly (readonly [site: string, mode: string, dest: string, letIn: boolean])[] = [
  ["cross-site", "no-cors", "image", false],
  ["same-site", "no-cors", "script", false],
  ["cross-site", "navigate", "iframe", false],
  ["same-site", "navigate", "object", false],
  ["same-origin", "no-cors", "image", true],
  ["same-origin", "navigate", "iframe", true],
  ["none", "navigate", "document", true],
  ["cross-site", "navigate", "document", true], // a link
];

test("a page of another site that sends no origin can neither call by GET nor subscribe", async () => {
  const { rpc, ran } = testServer();
  rpc.topic("clock").use({ name: "test", fetch: () => new Response("a page") });
  await using server = await serveHere(rpc);
  for (const [site, mode, dest, letIn] of SITES) {
    const fetched = { "sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": dest };
    const headers = { connection: "close", ...fetched };
    const ask = async (path: string, accept = "*/*") =>
      (await rawRequest(server.url, { path, headers: { ...headers, accept } })).status;
    ran.length = 0;
    assertEquals(await ask("/?method=ping&id=1"), letIn ? 200 : 403);
    assertEquals(ran.length, letIn ? 1 : 0);
    assertEquals(await ask("/?topics=none", "text/event-stream"), letIn ? 404 : 403);
    assertEquals(await ask("/picture"), 200);
  }
});

const BROKEN: Readonly<Record<string, readonly [decide: () => unknown, status: number]>> = {
  "gives no boolean": [() => "yes", 403],
  "gives a promise": [() => Promise.resolve(true), 403],
  "gives a promise that rejects": [() => Promise.reject(new Error("origins broke")), 403],
  "throws": [() => {
    throw new Error("origins broke");
  }, 500],
};

for (const [what, [origins, status]] of Object.entries(BROKEN)) {
  test(`a function for origins that ${what} accepts no page, over WebSocket and HTTP`, async () => {
    const { rpc, log, ran } = testServer({ origins: origins as () => boolean });
    await using server = await serveHere(rpc);
    for (const response of await knock(server, APP)) {
      assertEquals([response.status, corsHeaders(response)], [status, {}]);
    }
    assertEquals([ran, log.lines.length], [[], 4]);
    assert(status === 403 || log.lines.every((line) => line.includes("origins broke")), log.text);
  });
}

// -- a real browser --

/** What a page of another site could do. */
interface Attempts {
  readonly post: unknown;
  readonly postWithCookies: unknown;
  readonly plainPost: unknown;
  readonly blindGet: unknown;
  readonly blindStream: unknown;
  readonly frame: unknown;
  readonly webSocket: unknown;
}

/** What is used of a page. */
interface MinimalDocument {
  readonly body: { append(element: unknown): void };
  createElement(name: "iframe"): { src: string; onload: (event: { type: string }) => void };
}

/** Serves an empty page, under a name that is another site than 127.0.0.1. */
async function elsewhere(): Promise<LocalServer & { readonly origin: string }> {
  const headers = { "content-type": "text/html" };
  const body = "<!doctype html><title>Elsewhere</title>";
  const server = await serveHere({ fetch: () => new Response(body, { headers }) });
  return { ...server, origin: server.url.replace("127.0.0.1", "elsewhere.localhost") };
}

/** Runs in the page: everything it needs is in here. */
async function attempt({ url, ws, ping }: LocalServer & { ping: string }): Promise<Attempts> {
  const post = async (init: RequestInit) => {
    try {
      return (await (await fetch(url, { method: "POST", body: ping, ...init })).json()).result;
    } catch (error) {
      return (error as Error).name;
    }
  };
  // Nor does it say here from where the page is.
  const blind = async (path: string, accept: string) => {
    const { type } = await fetch(url + path, {
      headers: { accept },
      mode: "no-cors",
      credentials: "include",
    });
    return type;
  };
  const frame = new Promise((resolve) => {
    const { document } = globalThis as unknown as { document: MinimalDocument };
    const iframe = document.createElement("iframe");
    iframe.onload = ({ type }) => resolve(type);
    iframe.src = `${url}/?method=ping&id=2`;
    document.body.append(iframe);
  });
  const headers = { "content-type": "application/json" };
  const webSocket = new Promise((resolve) => {
    const socket = new WebSocket(ws);
    socket.onopen = () => socket.send(ping);
    socket.onmessage = ({ data }) => resolve(JSON.parse(data).result);
    socket.onclose = ({ code }) => resolve(code);
  });
  return {
    post: await post({ headers }),
    postWithCookies: await post({ headers, credentials: "include" }),
    // Of this kind no browser asks first: it is sent, although the page may not read the answer.
    plainPost: await post({ headers: { "content-type": "text/plain" }, mode: "no-cors" }),
    blindGet: await blind("/?method=ping&id=1", "*/*"),
    blindStream: await blind("/?topics=clock", "text/event-stream"),
    frame: await frame,
    webSocket: await webSocket,
  };
}

function attempts(page: Page, { url, ws }: LocalServer): Promise<Attempts> {
  return page.evaluate(attempt, { url, ws, ping: PING } as LocalServer & { ping: string });
}

/** What a page of another site could do with a server of these options, and what ran there. */
async function attemptsWith(
  optionsFor: (origin: string) => OriginOptions,
): Promise<Attempts & { readonly ran: number; readonly streams: number }> {
  await using site = await elsewhere();
  const { rpc, ran } = testServer(optionsFor(site.origin));
  let streams = 0;
  rpc.topic("clock").use({
    name: "test",
    onOpen: ({ handshake }) => void (handshake.url.includes("topics") && streams++),
  });
  await using server = await serveHere(rpc);
  const found = await withChromium(async (visit) => {
    return await attempts(await visit(site.origin), server);
  });
  return { ...found, ran: ran.length, streams };
}

test(
  "a page of another site in Chromium is refused by default, and nothing runs",
  chromium,
  async () => {
    const found = await attemptsWith(() => ({}));
    assertEquals(found, {
      post: "TypeError",
      postWithCookies: "TypeError",
      plainPost: "SyntaxError",
      blindGet: "opaque",
      blindStream: "opaque",
      frame: "load",
      webSocket: 1006,
      ran: 0,
      streams: 0,
    });
  },
);

test(
  "a page of a listed origin in Chromium may post, also with cookies, and open a WebSocket",
  chromium,
  async () => {
    const found = await attemptsWith((origin) => ({ origins: [origin] }));
    assertEquals(found, {
      post: "pong",
      postWithCookies: "pong",
      plainPost: "SyntaxError",
      blindGet: "opaque",
      blindStream: "opaque",
      frame: "load",
      webSocket: "pong",
      ran: 3,
      streams: 0,
    });
  },
);

test(
  "any page in Chromium may post if all origins may, but not with cookies",
  chromium,
  async () => {
    const found = await attemptsWith(() => ({ origins: "*" }));
    assertEquals(found, {
      post: "pong",
      postWithCookies: "TypeError",
      plainPost: "SyntaxError",
      blindGet: "opaque",
      blindStream: "opaque",
      frame: "load",
      webSocket: "pong",
      ran: 4,
      streams: 1,
    });
  },
);

const ASKED_HEADERS = "traceparent, X-Request-Id";
const HEADERS: Readonly<Record<string, readonly [options: JsonRpcOptions, allowed: string]>> = {
  "by default all that it asks for": [{}, "content-type, authorization, traceparent, x-request-id"],
  "only what allowHeaders lists": [
    { allowHeaders: ["traceparent"] },
    "content-type, authorization, traceparent",
  ],
};

for (const [what, [options, allowed]] of Object.entries(HEADERS)) {
  test(`a page of an allowed origin may send ${what}`, async () => {
    const rpc = new JsonRpc({ origins: ["https://app.example"], logger: silentLog(), ...options });
    const headers = {
      origin: "https://app.example",
      "access-control-request-headers": ASKED_HEADERS,
    };
    const response = await rpc.fetch(new Request("http://x/", { method: "OPTIONS", headers }));
    assertEquals(response.headers.get("access-control-allow-headers"), allowed);
    const odd = { ...headers, "access-control-request-headers": "x y, <b>" };
    const other = await rpc.fetch(new Request("http://x/", { method: "OPTIONS", headers: odd }));
    const usual = other.headers.get("access-control-allow-headers") ?? "";
    assertEquals(usual.includes("<") || usual.includes("x y"), false);
  });
}

test("a page of an allowed origin may read the headers that exposeHeaders lists", async () => {
  const rpc = new JsonRpc({ origins: ["https://app.example"], exposeHeaders: ["x-version"] })
    .method("ping", () => "pong");
  const headers = { origin: "https://app.example", "content-type": "application/json" };
  const body = '{"jsonrpc":"2.0","method":"ping","id":1}';
  const response = await rpc.fetch(new Request("http://x/", { method: "POST", headers, body }));
  assertEquals(response.headers.get("access-control-expose-headers"), "x-version");
  assertThrows(() => new JsonRpc({ exposeHeaders: "x" as never }), TypeError, "exposeHeaders");
});
