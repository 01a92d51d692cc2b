/**
 * With `origins: "*"` all pages get in, but without what a browser knows of the person who looks at them.
 */
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { JsonRpc } from "@x/jsonrpc";
import type { JsonRpcOptions } from "@x/jsonrpc";
import { cookie, session } from "@x/jsonrpc/session";
import { linkedSockets } from "@x/jsonrpc/testing";
import { silentLog } from "../helpers/log.ts";
import { rawPost, rawRequest, rawUpgrade } from "../helpers/raw_client.ts";
import type { RawRequest } from "../helpers/raw_client.ts";
import { serveHere, serveOnNode } from "../helpers/server.ts";

const CALL = '{"jsonrpc":"2.0","method":"ping","id":1}';
const BASIC = `Basic ${btoa("ada:secret")}`;

/** What backends saw of a request, and what open connections say of it later. */
function testServer(options: JsonRpcOptions = { origins: "*" }) {
  const log = silentLog();
  const seen: (string | null)[] = [];
  const rpc = new JsonRpc({ ...options, logger: log })
    .use(session((handshake) => {
      seen.push(handshake.headers.get("authorization"));
      const id = cookie(handshake, "sid");
      return id === undefined ? null : { id };
    }))
    .use({
      name: "later",
      onOpen: (connection) => void seen.push(connection.handshake.headers.get("cookie")),
    })
    .method("ping", { get: true }, (_, { user, connection }) => {
      seen.push(user && "a user", connection.handshake.headers.get("cookie"));
    })
    .topic("news");
  return { rpc, log, seen };
}

type Ask = (
  url: string,
  headers: NonNullable<RawRequest["headers"]>,
) => Promise<{ readonly status: number }>;

/** Each way in, and whether a page can set `Authorization` there itself, which is asked for before. */
const DOORS: Readonly<Record<string, readonly [ask: Ask, setsAuthorization: boolean]>> = {
  "an upgrade": [(url, headers) => rawUpgrade(url, headers), false],
  "a POST": [(url, headers) => rawPost(url, CALL, { connection: "close", ...headers }), true],
  "a GET": [(url, headers) => rawRequest(url, { path: "/?method=ping&id=1", headers }), false],
  "an event stream": [
    async (url, headers) => {
      const accept = "text/event-stream";
      const response = await fetch(`${url}/?topics=news`, {
        headers: { ...headers as Record<string, string>, accept },
      });
      await response.body?.cancel();
      return response;
    },
    false,
  ],
};

for (
  const [name, serve] of Object.entries({ "its own server": serveHere, "./node": serveOnNode })
) {
  for (const [door, [ask, setsAuthorization]] of Object.entries(DOORS)) {
    test(`origins "*": over ${door} of ${name} a foreign page comes without cookies`, async () => {
      const { rpc, seen, log } = testServer();
      await using server = await serve(rpc);
      for (const origin of ["https://evil.example", "null"]) {
        seen.length = 0;
        const { status } = await ask(server.url, { origin, cookie: "sid=1", authorization: BASIC });
        assert(status === 200 || status === 101, `${status}`);
        const [authorization, ...later] = seen;
        assertEquals(authorization, setsAuthorization ? BASIC : null);
        assert(later.length > 0);
        assertEquals(later.filter((each) => each !== null), [], origin);
      }
      assert(log.text.includes("https://evil.example"), log.text);
    });

    test(`origins "*": over ${door} of ${name} the own page and programs keep cookies`, async () => {
      const { rpc, seen } = testServer();
      await using server = await serve(rpc);
      for (const origin of [server.url, undefined]) {
        seen.length = 0;
        const headers = origin === undefined ? {} : { origin };
        await ask(server.url, { ...headers, cookie: "sid=1", authorization: BASIC });
        assertEquals(seen[0], BASIC);
        assert(seen.includes("sid=1"), JSON.stringify(seen));
      }
    });
  }

  test(`origins "*": a GET of ${name} without Origin has no cookies if another site's page made it`, async () => {
    const { rpc, seen } = testServer();
    await using server = await serve(rpc);
    const page = { "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors" };
    const headers = { cookie: "sid=1", authorization: BASIC, connection: "close" };
    const ask = (more: RawRequest["headers"]) =>
      rawRequest(server.url, { path: "/?method=ping&id=1", headers: { ...headers, ...more } });
    await ask(page);
    assertEquals(seen, [null, null, null]);
    seen.length = 0;
    await ask({ ...page, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document" });
    assertEquals(seen, [BASIC, "a user", "sid=1"]);
  });
}

test('origins "*": attach() with a request gives a foreign page no cookies', async () => {
  const { rpc, seen } = testServer();
  for (const origin of ["https://evil.example", "http://rpc.example"]) {
    seen.length = 0;
    const [, far] = linkedSockets();
    const headers = { host: "rpc.example", origin, cookie: "sid=1", authorization: BASIC };
    assertEquals(await rpc.attach(far, { request: { url: "/", headers } }), true);
    assertEquals(seen, origin === "http://rpc.example" ? [BASIC, "sid=1"] : [null, null]);
  }
  await rpc.close();
});

test('origins "*": a bearer token of a foreign page counts, as no browser adds one by itself', async () => {
  const { rpc, seen } = testServer();
  await using server = await serveHere(rpc);
  const headers = { origin: "https://evil.example", authorization: "Bearer x" };
  for (const [ask] of Object.values(DOORS)) {
    seen.length = 0;
    await ask(server.url, headers);
    assertEquals(seen[0], "Bearer x");
  }
});

test("pages that a list or a function of origins names keep their cookies", async () => {
  const origin = "https://app.example";
  for (const origins of [[origin], () => true]) {
    const { rpc, seen } = testServer({ origins });
    await using server = await serveHere(rpc);
    await rawUpgrade(server.url, { origin, cookie: "sid=1" });
    assertEquals(seen, [null, "sid=1"]);
  }
});
