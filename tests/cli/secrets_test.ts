/**
 * What gives access to a server: no command prints it.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { test } from "node:test";
import { until } from "../helpers/deferred.ts";
import { freePort } from "../helpers/ports.ts";
import { serveHere } from "../helpers/server.ts";
import { hostOf, start, testServer, withServer } from "./command_line.ts";

/** Adds to a scheme and a host what must not be shown. */
function secretUrl(scheme: string, host: string): string {
  return `${scheme}://joe:swordfish@${host}/?token=hunter2`;
}

function assertHidden(text: string): void {
  assert(!/joe|swordfish|hunter2/.test(text), text);
}

test("no command shows the user, password or query of a URL that it cannot reach", async () => {
  const host = `127.0.0.1:${await freePort()}`;
  const urls = [
    secretUrl("ws", host),
    secretUrl("http", host),
    `${secretUrl("ws", host)}#part`,
    secretUrl("ftp", host),
    `joe:swordfish@ ${host}`,
    "stdio:nosuchprogram --token hunter2",
  ];
  for (const url of urls) {
    const running = await Promise.all([start(["bridge", url]), start(["call", url, "ping"])]);
    for (const { ended } of running) {
      const { out, err } = await ended;
      assertHidden(out + err);
    }
  }
});

test("jsonrpc bridge and repl show no secret of the URL whose connection has ended", async () => {
  const { rpc } = testServer();
  const server = await serveHere(rpc);
  const url = secretUrl("ws", hostOf(server));
  const running = await Promise.all(["bridge", "repl"].map((name) => start([name, url], null)));
  await until(() => rpc.connections.size === 2);
  await server.stop();
  const [bridge, repl] = running;
  const { err, code } = await bridge!.ended;
  assertEquals(code, 3);
  assertStringIncludes(err, `The connection to ws://${hostOf(server)} has ended`);
  assertHidden(err);
  await until(() => repl!.err().includes("Connection lost"));
  assertHidden(repl!.err() + repl!.out());
  repl!.interrupt();
  await repl!.ended;
});

test("jsonrpc trace shows no secret of the URL that it passes on to, reached or not", async () => {
  await withServer(async (server) => {
    const closed = `127.0.0.1:${await freePort()}`;
    const targets = [
      { host: hostOf(server), url: `ws://${hostOf(server)}/?token=hunter2`, status: 200 },
      { host: closed, url: secretUrl("ws", closed), status: 502 },
    ];
    for (const { host, url, status } of targets) {
      const running = await start(["trace", url, "--port", "0"], null);
      try {
        await until(() => running.err().includes("Listening on"));
        const [, own = ""] = /Listening on (\S+):/.exec(running.err()) ?? [];
        assertStringIncludes(running.err(), `in place of ws://${host}\n`);
        const headers = { "content-type": "application/json" };
        const body = '{"jsonrpc":"2.0","method":"missing","id":1}';
        const response = await fetch(own, { method: "POST", headers, body });
        assertHidden(await response.text());
        assertEquals(response.status, status);
        const socket = new WebSocket(own.replace("http", "ws"));
        await new Promise((resolve) => {
          socket.onopen = () => socket.send(body);
          socket.onmessage = () => socket.close();
          socket.onclose = resolve;
        });
      } finally {
        running.interrupt();
      }
      const { out, err } = await running.ended;
      assertHidden(out + err);
    }
  });
});
