import { test } from "node:test";
import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { JsonRpc } from "@x/jsonrpc";
import type { JsonRpcOptions } from "@x/jsonrpc";
import type { OriginOptions } from "../../src/server/origin.ts";
import { rawRequest, rawUpgrade } from "../helpers/raw_client.ts";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";

function testServer(options: JsonRpcOptions = {}) {
  const logger = silentLog();
  return { logger, rpc: new JsonRpc({ logger, ...options }).method("ping", () => "pong") };
}

const PING = '{"jsonrpc":"2.0","method":"ping","id":1}';
const JSON_HEADERS = { "content-type": "application/json" };
const UPGRADE_HEADERS = {
  "connection": "Upgrade",
  "upgrade": "websocket",
  "sec-websocket-version": "13",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
};

/** Stands for a runtime, so that any host can be asked for: an upgrade is answered, not made. */
const anyRuntime = {
  runtime: { remoteAddress: () => undefined, upgrade: () => new Response("upgraded") },
};

/** What a POST and an upgrade are answered, in this order. */
async function knock(
  { fetch }: Pick<JsonRpc, "fetch">,
  host: string,
  origin?: string,
): Promise<[post: number, upgrade: number]> {
  const who = origin === undefined ? { host } : { host, origin };
  const [post, upgrade] = await Promise.all([
    fetch(
      new Request(`http://${host}/`, {
        method: "POST",
        headers: { ...JSON_HEADERS, ...who },
        body: PING,
      }),
      anyRuntime,
    ),
    fetch(new Request(`http://${host}/`, { headers: { ...UPGRADE_HEADERS, ...who } }), anyRuntime),
  ]);
  return [post.status, upgrade.status];
}

type Case = readonly [host: string, origin?: string];

interface Rule {
  readonly options: OriginOptions;
  readonly letIn: readonly Case[];
  readonly refused: readonly Case[];
}

const rules: Readonly<Record<string, Rule>> = {
  "no options": {
    options: {},
    letIn: [
      ["rpc.example:8080"],
      ["rpc.example:8080", "http://rpc.example:8080"],
      ["rpc.example:8080", "https://rpc.example:8080"],
      ["RPC.example:8080", "http://rpc.Example:8080"],
      ["rpc.example", "http://rpc.example"],
      ["rpc.example", "https://rpc.example"],
      ["rpc.example:80", "http://rpc.example"],
      ["rpc.example:443", "https://rpc.example"],
      ["rpc.example", "https://rpc.example:443"],
      ["rpc.example:80", "https://rpc.example:80"],
      ["rpc.example:443", "http://rpc.example:443"],
      // A proxy that ends TLS may name its own port behind it.
      ["rpc.example:80", "https://rpc.example"],
      ["[::1]:8080", "http://[::1]:8080"],
      ["127.0.0.1:8080", "http://127.0.0.1:8080"],
    ],
    refused: [
      ["rpc.example:8080", "http://evil.example:8080"],
      ["rpc.example:8080", "http://rpc.example"],
      ["rpc.example:8080", "http://rpc.example:8081"],
      ["rpc.example:8080", "http://rpc.example:80808"],
      ["rpc.example", "http://rpc.example:8080"],
      // The default port of the other scheme is another port, where another server may listen.
      ["rpc.example", "https://rpc.example:80"],
      ["rpc.example", "http://rpc.example:443"],
      ["rpc.example:443", "https://rpc.example:80"],
      ["rpc.example", "app://rpc.example"],
      ["rpc.example", "http://rpc.example.evil.example"],
      ["rpc.example", "http://www.rpc.example"],
      ["rpc.example", "http://rpc.example@evil.example"],
      ["rpc.example", "http://evil.example/rpc.example"],
      ["rpc.example", "rpc.example"],
      ["rpc.example", "//rpc.example"],
      ["rpc.example", "null"],
      ["rpc.example", "file://"],
      ["rpc.example", "https://"],
      ["127.0.0.1:8080", "http://localhost:8080"],
      ["[::1]:8080", "http://[::2]:8080"],
    ],
  },
  "a list of origins": {
    options: { origins: ["https://app.example", "http://localhost:3000"] },
    letIn: [
      ["rpc.example"],
      ["rpc.example", "https://app.example"],
      ["rpc.example", "http://localhost:3000"],
    ],
    refused: [
      ["rpc.example", "http://app.example"],
      ["rpc.example", "https://app.example:8443"],
      ["rpc.example", "https://x.app.example"],
      ["rpc.example", "https://app.example.evil.example"],
      ["rpc.example", "http://localhost"],
      ["rpc.example", "http://rpc.example"],
      ["rpc.example", "null"],
    ],
  },
  "an empty list of origins": {
    options: { origins: [] },
    letIn: [["rpc.example"]],
    refused: [["rpc.example", "http://rpc.example"], ["rpc.example", "null"]],
  },
  "origins of *": {
    options: { origins: "*" },
    letIn: [
      ["rpc.example"],
      ["rpc.example", "http://evil.example"],
      ["rpc.example", "null"],
    ],
    refused: [],
  },
  "a function for origins": {
    options: { origins: (origin) => origin.endsWith(".example") },
    letIn: [["rpc.test"], ["rpc.test", "https://any.example"]],
    refused: [["rpc.test", "https://any.test"], ["rpc.test", "https://rpc.test"]],
  },
  "a function for origins that gives no boolean": {
    options: { origins: (() => "yes") as unknown as () => boolean },
    letIn: [["rpc.example"]],
    refused: [["rpc.example", "http://rpc.example"]],
  },
  "a list of hosts": {
    options: { hosts: ["localhost:8080", "127.0.0.1:8080"] },
    letIn: [
      ["localhost:8080"],
      ["127.0.0.1:8080", "http://127.0.0.1:8080"],
    ],
    refused: [
      ["localhost"],
      ["evil.example:8080"],
      ["localhost.evil.example:8080"],
      ["evil.example:8080", "http://evil.example:8080"],
    ],
  },
  "hosts and origins": {
    options: { hosts: ["rpc.example"], origins: ["https://app.example"] },
    letIn: [["rpc.example"], ["rpc.example", "https://app.example"]],
    refused: [["evil.example", "https://app.example"], ["rpc.example", "https://evil.example"]],
  },
};

for (const [what, { options, letIn, refused }] of Object.entries(rules)) {
  test(`JsonRpc with ${what} accepts the right pages, over WebSocket and POST`, async () => {
    const { rpc, logger } = testServer(options);
    for (const [host, origin] of letIn) {
      assertEquals(await knock(rpc, host, origin), [200, 200], `${origin} at ${host}`);
    }
    assertEquals(logger.lines, []);
  });

  test(`JsonRpc with ${what} refuses all other pages with 403, over WebSocket and POST`, async () => {
    const { rpc, logger } = testServer(options);
    for (const [host, origin] of refused) {
      assertEquals(await knock(rpc, host, origin), [403, 403], `${origin} at ${host}`);
    }
    assertEquals(logger.lines.length, 2 * refused.length);
  });
}

test("JsonRpc says in its log how to allow an origin, and how to allow a host", async () => {
  const { rpc, logger } = testServer({ hosts: ["rpc.example"] });
  await knock(rpc, "rpc.example", "https://app.example");
  assertEquals(
    logger.lines[0],
    'warn: Refused origin "https://app.example": add it to the option `origins` to allow it',
  );
  await knock(rpc, "other.example");
  assertEquals(
    logger.lines[2],
    'warn: Refused host "other.example": add it to the option `hosts` to allow it',
  );
});

test("JsonRpc writes an origin into its log in one short line", async () => {
  const { rpc, logger } = testServer();
  await knock(rpc, "rpc.example", `https://${"x".repeat(10_000)}`);
  for (const line of logger.lines) assert(line.length < 400, `${line.length} characters`);
});

test("JsonRpc throws when a string takes the place of a list", () => {
  const nonsense: readonly (readonly [options: object, message: string])[] = [
    [{ origins: "https://app.example.com" }, "origins"],
    [{ origins: null }, "origins"],
    [{ origins: ["https://app.example", undefined] }, "origins"],
    [{ origins: new Set(["https://app.example"]) }, "origins"],
    [{ hosts: "localhost:8080" }, "hosts"],
    [{ hosts: "*" }, "hosts"],
    [{ hosts: null }, "hosts"],
    [{ hosts: [8080] }, "hosts"],
    [{ trustedProxies: "10.0.0.1" }, "trustedProxies"],
    [{ protocols: "graphql-ws" }, "protocols"],
  ];
  for (const [options, name] of nonsense) {
    assertThrows(() => testServer(options), TypeError, `Expected \`${name}\` to be`);
  }
  testServer(Object.freeze({ origins: Object.freeze([]), hosts: Object.freeze([]) }));
  testServer({ origins: undefined, hosts: undefined } as object);
});

test("JsonRpc refuses with 500 when the function for origins throws", async () => {
  const { rpc, logger } = testServer({
    origins: () => {
      throw new Error("secret detail");
    },
  });
  assertEquals(await knock(rpc, "rpc.example", "https://app.example"), [500, 500]);
  assertStringIncludes(logger.text, "secret detail");
});

test("JsonRpc answers a Host header that makes no URL, and reveals nothing", async () => {
  const { rpc, logger } = testServer();
  rpc.method("read", { get: true }, () => "pong").topic("news");
  await using server = await serveHere(rpc);
  for (const host of ["", "a b", "[::", "a/b?c", "a:b:c", undefined]) {
    for (const path of ["/?method=read&id=1", "/?topics=none", "/", "/#?method=read"]) {
      const headers = { host, accept: "text/event-stream" };
      for (const origin of [undefined, "http://a", "file://", "null"]) {
        const { status, body } = await rawRequest(server.url, {
          path,
          headers: { ...headers, origin },
        });
        assert(status < 500 && (status === 403 || status === 400 || origin === undefined), path);
        assert(!/ at |Invalid URL|origin\.ts/.test(body), body.slice(0, 300));
      }
    }
  }
  assert(!logger.text.includes("error:"), logger.text);
});

test("JsonRpc reads the host from the URL if HTTP/2 sends no Host header", async () => {
  const { rpc } = testServer({ hosts: ["rpc.example"] });
  async function post(host: string, origin?: string): Promise<number> {
    const headers = origin === undefined ? JSON_HEADERS : { ...JSON_HEADERS, origin };
    const init = { method: "POST", headers, body: PING };
    return (await rpc.fetch(new Request(`https://${host}/`, init))).status;
  }
  assertEquals(await post("rpc.example"), 200);
  assertEquals(await post("rpc.example", "https://rpc.example"), 200);
  assertEquals(await post("rpc.example", "https://evil.example"), 403);
  assertEquals(await post("evil.example"), 403);
  assertEquals(await post("evil.example", "https://evil.example"), 403);
});

test("handshake.url has the requested host, also if the path looks like another", async () => {
  const { rpc } = testServer();
  const seen: string[] = [];
  rpc.use({ name: "test", handshake: ({ url }) => void seen.push(new URL(url).host) });
  await using server = await serveHere(rpc);
  for (const path of ["/", "//evil.example/", "///evil.example/", "/@evil.example/"]) {
    assertEquals((await rawRequest(server.url, { path, headers: UPGRADE_HEADERS })).status, 101);
    const headers = { ...JSON_HEADERS, "content-length": `${PING.length}` };
    const post = await rawRequest(server.url, { method: "POST", path, headers, body: PING });
    assertEquals(post.status, 200);
  }
  assertEquals(new Set(seen), new Set([new URL(server.url).host]));
});

test("a GET reads the query of any URL", async () => {
  const rpc = new JsonRpc().method("echo", { get: true }, (params: unknown) => params ?? null);
  const asked = 'method=echo&id=1&params=["%C3%BC","a+b","a%2Bb","%23"]';
  for (
    const url of [`http://a/?${asked}`, `http://a/b/?${asked}#?id=2`, `http://a/?&${asked}&id=3`]
  ) {
    const response = await rpc.fetch(new Request(url));
    assertEquals(await response.json(), {
      jsonrpc: "2.0",
      result: ["ü", "a b", "a+b", "#"],
      id: 1,
    });
  }
});

test("caches keep no answer to a GET, also if its params are no JSON", async () => {
  const rpc = new JsonRpc().method("echo", { get: true }, () => 1);
  for (const params of ["[1]", "{bad"]) {
    const response = await rpc.fetch(new Request(`http://a/?method=echo&id=1&params=${params}`));
    assertEquals(response.headers.get("cache-control"), "no-store", await response.text());
  }
});

test("JsonRpc refuses a foreign page over real sockets, and accepts its own", async () => {
  const { rpc, logger } = testServer();
  await using server = await serveHere(rpc);
  const upgrade = async (origin: string) => (await rawUpgrade(server.url, { origin })).status;
  const post = async (origin: string) => {
    const headers = { ...JSON_HEADERS, origin };
    const response = await fetch(server.url, { method: "POST", headers, body: PING });
    return [response.status, await response.text()];
  };
  assertEquals(await upgrade("http://evil.example"), 403);
  assertEquals(await post("http://evil.example"), [403, "Origin not allowed"]);
  assertEquals(await upgrade("null"), 403);
  assertEquals(logger.lines.length, 3);
  assertEquals(await upgrade(server.url), 101);
  assertEquals(await post(server.url), [200, '{"jsonrpc":"2.0","result":"pong","id":1}']);
  assertEquals(logger.lines.length, 3);
  await until(() => rpc.connections.size === 0);
});

test("JsonRpc runs nothing of a foreign page's request", async () => {
  let runs = 0;
  const rpc = new JsonRpc({ logger: silentLog() }).method("count", () => runs++)
    .use({ name: "test", handshake: () => void runs++ });
  await using server = await serveHere(rpc);
  const headers = { ...JSON_HEADERS, origin: "http://evil.example" };
  const body = PING.replace("ping", "count");
  const response = await fetch(server.url, { method: "POST", headers, body });
  assertEquals([response.status, runs], [403, 0]);
  await response.body?.cancel();
});

test("a server over TLS refuses the page of its own host that came without TLS", async () => {
  const { rpc } = testServer();
  const post = async (url: string, origin: string) => {
    const headers = { ...JSON_HEADERS, host: "rpc.example", origin };
    return (await rpc.fetch(new Request(url, { method: "POST", body: PING, headers }))).status;
  };
  assertEquals(await post("https://rpc.example/", "https://rpc.example"), 200);
  assertEquals(await post("https://rpc.example/", "http://rpc.example"), 403);
  // Behind a proxy that ends TLS, the server sees "http" although the page came over TLS.
  assertEquals(await post("http://rpc.example/", "https://rpc.example"), 200);
  assertEquals(await post("http://rpc.example/", "http://rpc.example"), 200);
  await rpc.close();
});
