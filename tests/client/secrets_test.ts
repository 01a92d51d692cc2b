/**
 * What gives access to a server: errors and logs of clients name none of it.
 */
import { assert } from "@std/assert";
import { test } from "node:test";
import { inspect } from "node:util";
import { connect, JsonRpcClient } from "@x/jsonrpc";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";

const QUERY = "?token=hunter2";

/** What an error shows, with all its causes. */
async function shown(failing: Promise<unknown>): Promise<string> {
  const error = await failing.then(() => new Error("no error"), (error) => error);
  const text = `${error.message} ${inspect(error, { depth: 9 })}`;
  assert(!/hunter2|joe|swordfish/.test(text), text);
  return text;
}

/** A port that nothing listens on. */
async function freePort(): Promise<string> {
  const server = await serveHere({ fetch: () => new Response() });
  await server.stop();
  return new URL(server.url).host;
}

for (const scheme of ["ws", "http"]) {
  test(`an error of a ${scheme}: client names neither user nor password nor query of its URL`, async () => {
    const host = await freePort();
    for (
      const url of [`${scheme}://${host}/p${QUERY}`, `${scheme}://joe:swordfish@${host}/${QUERY}`]
    ) {
      const logger = silentLog();
      await using client = new JsonRpcClient(url, { logger, reconnect: false });
      const text = await shown(client.call("ping"));
      assert(text.includes(`${scheme}://${host} `), text);
      await shown(connect(url, { logger, reconnect: false }).then((each) => each.call("ping")));
      client.notify("note");
      await new Promise((resolve) => setTimeout(resolve, 50));
      assert(!/hunter2|joe|swordfish/.test(logger.text), logger.text);
    }
  });
}

test("what a server answers in place of a result is told without the URL of the client", async () => {
  for (
    const answer of [
      () => new Response("nothing here"),
      () => new Response(null, { status: 502 }),
      () => new Response("x".repeat(3000)),
    ]
  ) {
    await using server = await serveHere({ fetch: answer });
    const url = `${server.url}/${QUERY}`;
    await using client = new JsonRpcClient(url, { logger: silentLog(), maxMessageBytes: 2000 });
    await shown(client.call("ping"));
  }
});

test("a URL that cannot be used is not quoted, nor is a token that no header can hold", async () => {
  for (
    const url of [
      "ftp://joe:swordfish@x/",
      "ws://joe:swordfish@ x/",
      `ws://x:y${QUERY}`,
      `ws://127.0.0.1:9/${QUERY}#part`,
    ]
  ) {
    await shown(connect(url));
    await shown(connect(() => url, { reconnect: false }));
  }
  for (const token of ["hunter2=", "hunter2 ", "a'hunter2'", "hunter2\n1", "hunter2\u20ac"]) {
    await shown(connect("ws://127.0.0.1:9", { token, reconnect: false }));
  }
  const options = { token: "hunter2\n1", logger: silentLog() };
  await using client = new JsonRpcClient("http://127.0.0.1:9", options);
  await shown(client.call("ping"));
});
