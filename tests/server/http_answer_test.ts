import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { test } from "node:test";
import { connect, JsonRpc } from "@x/jsonrpc";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";

function post(url: string, message: unknown): Promise<Response> {
  const headers = { "content-type": "application/json" };
  return fetch(url, { method: "POST", headers, body: JSON.stringify(message) });
}

test("a handler sets status and headers of the answer to its POST or GET", async () => {
  const logger = silentLog();
  const rpc = new JsonRpc({ logger })
    .method("login", ([sid]: [string], { connection: { response } }) => {
      response?.headers.append("set-cookie", `sid=${sid}; HttpOnly`);
      response?.headers.append("set-cookie", "theme=dark");
      return response !== undefined;
    })
    .method("gone", { get: true }, async (_params, { connection: { response } }) => {
      await Promise.resolve();
      if (response) response.status = 410;
      response?.headers.set("cache-control", "max-age=9");
      return "gone";
    })
    .method("wrong", (_params, { connection: { response } }) => {
      if (response) response.status = 204;
      return "a body";
    });
  await using server = await serveHere(rpc);
  const call = { jsonrpc: "2.0", method: "login", params: ["x"], id: 1 };
  for (const message of [call, [call]]) {
    const response = await post(server.url, message);
    const cookies = response.headers.getSetCookie();
    assertEquals([response.status, cookies], [200, ["sid=x; HttpOnly", "theme=dark"]]);
    assertEquals(response.headers.get("content-type"), "application/json");
    assertEquals([await response.json()].flat()[0].result, true);
  }
  const gone = await post(server.url, { jsonrpc: "2.0", method: "gone", id: 1 });
  assertEquals([gone.status, gone.headers.get("cache-control")], [410, "max-age=9"]);
  assertEquals((await gone.json()).result, "gone");
  const got = await fetch(`${server.url}/?method=gone&id=1`);
  assertEquals([got.status, (await got.json()).result], [410, "gone"]);
  // A status that cannot have a body: the answer goes out all the same.
  const wrong = await post(server.url, { jsonrpc: "2.0", method: "wrong", id: 1 });
  assertEquals([wrong.status, (await wrong.json()).result], [200, "a body"]);
  assertStringIncludes(logger.text, "Cannot answer with status 204");
  await using client = await connect(server.ws);
  assertEquals(await client.call("login", ["x"]), false);
});

test("notifications alone are answered with the status of the option", async () => {
  for (const notificationStatus of [undefined, 200, 202, 204] as const) {
    const options = notificationStatus && { notificationStatus };
    const rpc = new JsonRpc({ logger: silentLog(), ...options }).method("note", () => 1);
    await using server = await serveHere(rpc);
    const note = { jsonrpc: "2.0", method: "note" };
    for (const message of [note, [note, note]]) {
      const response = await post(server.url, message);
      assertEquals([response.status, await response.text()], [notificationStatus ?? 200, ""]);
    }
    const answered = await post(server.url, { ...note, id: 1 });
    assertEquals([answered.status, (await answered.json()).result], [200, 1]);
  }
  assertThrows(
    () => new JsonRpc({ notificationStatus: 500 as 200 }),
    RangeError,
    "Expected `notificationStatus` to be 200, 202 or 204, got `500`",
  );
});
