/**
 * Commands against servers that answer what they like.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { JsonRpc, RpcError } from "@x/jsonrpc";
import { test } from "node:test";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere } from "../helpers/server.ts";
import { hostOf, run, start } from "./command_line.ts";

test("jsonrpc bench keeps and prints a few kinds of errors, each cut and without control characters", async () => {
  let count = 0;
  const rpc = new JsonRpc({ logger: silentLog() }).method("vary", () => {
    throw new RpcError(1, `\x1b[2J${count++} ${"x".repeat(100_000)}`);
  });
  await using server = await serveHere(rpc);
  const args = ["bench", hostOf(server), "vary", "--duration", "0.5"];
  const json = await run(...args, "--json");
  const { errors, calls } = JSON.parse(json.out) as {
    errors: Record<string, number>;
    calls: number;
  };
  assert(calls > 21, `${calls} calls`);
  const kinds = Object.keys(errors);
  assertEquals([kinds.length, kinds.at(-1)], [21, "other errors"]);
  assertEquals(Object.values(errors).reduce((sum, each) => sum + each), calls);
  assert(kinds.every((kind) => kind.length <= 201));
  const text = await run(...args);
  assert(text.out.length < 20_000, `${text.out.length} characters`);
  assert(!text.out.includes("\x1b"), text.out);
});

test("jsonrpc trace and call send the user and the password of their URL, over POST and WebSocket", async () => {
  const seen: (string | null)[] = [];
  const rpc = new JsonRpc({ logger: silentLog() })
    .use({
      name: "test",
      handshake: ({ headers }) => void seen.push(headers.get("authorization")),
    })
    .method("ping", () => "pong");
  await using server = await serveHere(rpc);
  const basic = `Basic ${btoa("joe:p@ss:w%rd")}`;
  const url = `http://joe:p%40ss:w%25rd@${hostOf(server)}`;
  const running = await start(["trace", url, "--port", "0"], null);
  try {
    await until(() => running.err().includes("Listening on"));
    const [, own = ""] = /Listening on (\S+):/.exec(running.err()) ?? [];
    const body = '{"jsonrpc":"2.0","method":"ping","id":1}';
    const post = (headers: Record<string, string>) =>
      fetch(own, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body,
      });
    assertStringIncludes(await (await post({})).text(), "pong");
    // What the client itself sends comes first.
    assertStringIncludes(await (await post({ authorization: "Bearer t" })).text(), "pong");
    const socket = new WebSocket(own.replace("http", "ws"));
    const answer = await new Promise((resolve, reject) => {
      socket.onopen = () => socket.send(body);
      socket.onmessage = ({ data }) => resolve(data);
      socket.onclose = reject;
    });
    assertStringIncludes(String(answer), "pong");
    socket.close();
    assertEquals(seen, [basic, "Bearer t", basic]);
    // The other commands too, unless they are told otherwise.
    for (const each of [url, url.replace("http", "ws")]) {
      assertEquals(await run("call", each, "ping"), { code: 0, out: '"pong"\n', err: "" });
      const own = await run("call", each, "ping", "-H", "Authorization: Bearer u");
      assertEquals([own.code, own.err], [0, ""]);
    }
    assertEquals(seen.slice(3), [basic, "Bearer u", basic, "Bearer u"]);
  } finally {
    running.interrupt();
  }
  await running.ended;
});
