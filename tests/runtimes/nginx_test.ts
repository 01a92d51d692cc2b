import { assertEquals, assertStringIncludes } from "@std/assert";
import { test } from "node:test";
import { connect, JsonRpc } from "@x/jsonrpc";
import type { JsonRpcOptions } from "@x/jsonrpc";
import { withChromium } from "../helpers/chromium.ts";
import { rawPost, rawUpgrade } from "../helpers/raw_client.ts";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import type { Log } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";
import { startNginx } from "../helpers/nginx.ts";
import { needs } from "../helpers/needs.ts";

const nginx = await needs("nginx");
const nginxAndChromium = await needs("nginx", "chromium");

const PING = JSON.stringify({ jsonrpc: "2.0", method: "ping", id: 1 });

// What nginx tells the server as Host: `$host` is without the port that the browser went to.
for (const told of ["$host", "$http_host"]) {
  test(`through nginx with Host ${told}, calls and events pass both ways`, nginx, async () => {
    await behindNginx(told, {}, async (url, rpc) => {
      const over = await connect(url);
      assertEquals(await over.call("ping"), "pong");
      const client = await connect(url.replace("http:", "ws:"));
      client.method("name", () => "Ada");
      const received: unknown[] = [];
      await client.subscribe("news", (event) => received.push(event));
      assertEquals(await client.call("greet"), "Hello Ada");
      assertEquals(rpc.publish("news", "We are live").deliveries, 1);
      await until(() => received.length === 1);
      assertEquals(received, ["We are live"]);
      // More than the proxy's buffers hold, in both directions.
      const long = "x".repeat(500_000);
      assertEquals(await client.call("echo", [long]), [long]);
      assertEquals(await over.call("echo", [long]), [long]);
      await client.close();
      await until(() => rpc.connections.size === 0);
    });
  });

  test(
    `through nginx with Host ${told}, pages of the site pass and foreign ones do not`,
    nginx,
    async () => {
      await behindNginx(told, {}, async (url, _rpc, log) => {
        // With TLS the proxy is asked over https, and asks over http.
        for (const origin of ["http://app.example", "https://app.example"]) {
          await assertStatus(url, { host: "app.example", origin }, 101);
        }
        const foreign = [
          "https://evil.example",
          "https://evil.app.example",
          "https://app.example.evil.example",
          "null",
        ];
        for (const origin of foreign) {
          await assertStatus(url, { host: "app.example", origin }, 403);
          assertStringIncludes(log.text, `Refused origin "${origin}": add it to`);
        }
        // What is no browser sends none.
        await assertStatus(url, { host: "app.example" }, 101);
      });
    },
  );
}

test(
  "through nginx with Host $http_host, a site on its own port is distinguished from others",
  nginx,
  async () => {
    await behindNginx("$http_host", {}, async (url) => {
      const host = "app.example:8443";
      await assertStatus(url, { host, origin: "https://app.example:8443" }, 101);
      await assertStatus(url, { host, origin: "https://app.example" }, 403);
      await assertStatus(url, { host, origin: "https://app.example:3000" }, 403);
    });
  },
);

test(
  "through nginx with Host $host, a site on its own port has to be listed in origins",
  nginx,
  async () => {
    const site = { host: "app.example:8443", origin: "https://app.example:8443" };
    await behindNginx("$host", {}, async (url, _rpc, log) => {
      await assertStatus(url, site, 403);
      assertStringIncludes(log.text, 'Refused origin "https://app.example:8443": add it to');
    });
    await behindNginx("$host", { origins: ["https://app.example:8443"] }, async (url) => {
      await assertStatus(url, site, 101);
      await assertStatus(url, { ...site, origin: "https://app.example" }, 403);
    });
  },
);

test("hosts are compared with the Host header that nginx sends", nginx, async () => {
  await behindNginx("$http_host", { hosts: ["app.example"] }, async (url) => {
    await assertStatus(url, { host: "app.example" }, 101);
    await assertStatus(url, { host: "rebound.example" }, 403);
  });
});

test(
  "a page in Chromium reaches its own server through nginx, and no other",
  nginxAndChromium,
  async () => {
    await behindNginx(
      "$http_host",
      {},
      (own) =>
        behindNginx("$http_host", {}, (other) =>
          withChromium(async (visit) => {
            const page = await visit(own);
            await page.getByText("at home").waitFor();
            const script = (url: string) =>
              `new Promise((resolve) => {
          const socket = new WebSocket("${url.replace("http:", "ws:")}");
          socket.onopen = () => socket.send('${PING}');
          socket.onmessage = ({ data }) => resolve(JSON.parse(data).result);
          socket.onclose = () => resolve("refused");
        })`;
            assertEquals(await page.evaluate(script(own)), "pong");
            assertEquals(await page.evaluate(script(other)), "refused");
          })),
    );
  },
);

/** Serves on the running runtime, behind nginx. */
async function behindNginx(
  told: string,
  options: JsonRpcOptions,
  use: (url: string, rpc: Server, log: Log) => Promise<void>,
): Promise<void> {
  const log = silentLog();
  const rpc = newServer({ ...options, logger: log });
  await using server = await serveHere(rpc);
  const proxy = await startNginx(server.url, told);
  try {
    await use(proxy.url, rpc, log);
  } finally {
    await proxy.stop();
  }
}

type Server = ReturnType<typeof newServer>;

function newServer(options: JsonRpcOptions) {
  return new JsonRpc(options)
    .method("ping", () => "pong")
    .method("echo", (params: string[]) => params)
    .method("greet", async (_params: unknown, request) => `Hello ${await request.call("name")}`)
    .topic("news")
    .use({ name: "test", fetch: () => new Response("at home") });
}

/** The status of a WebSocket (101 if it opens) and of a POST (200 if it is answered). */
async function assertStatus(
  url: string,
  headers: Readonly<Record<string, string>>,
  status: 101 | 403,
): Promise<void> {
  // A refusal need not end the connection, unless asked to.
  const ending = { connection: "Upgrade, close" };
  assertEquals((await rawUpgrade(url, { ...ending, ...headers })).status, status);
  assertEquals(
    (await rawPost(url, PING, { connection: "close", ...headers })).status,
    status === 101 ? 200 : status,
  );
}
