/**
 * The commands between a client and a server: serve, trace, bridge, bench.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { connect } from "@x/jsonrpc";
import { childProcess } from "@x/jsonrpc/stdio";
import { until } from "../helpers/deferred.ts";
import { runtime, runtimeHere } from "../helpers/runtimes.ts";
import { scriptFile } from "../helpers/script_file.ts";
import { serveHere } from "../helpers/server.ts";
import { hostOf, PROGRAM, run, start, testServer, withServer } from "./command_line.ts";

test("jsonrpc bridge joins a program's standard input and output to a WebSocket", async () => {
  const { rpc } = testServer();
  const server = await serveHere(rpc);
  const { command } = await runtime(runtimeHere);
  const [program, ...flags] = [...command, PROGRAM, "bridge", hostOf(server), "--token", "t0ken"];
  for (const framing of ["newline", "content-length"] as const) {
    const child = spawn(program as string, flags, { stdio: ["pipe", "pipe", "inherit"] });
    const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
    const client = await connect(childProcess(child, { framing }));
    client.method("double", (n: number) => 2 * n);
    assertEquals(await client.call("whoami"), "ada");
    const text = "ä€😀\n".repeat(20_000);
    assertEquals(await client.call("echo", [text]), [text]);
    await client.subscribe("clock", () => {});
    await client.close();
    assertEquals(await ended, 0);
    await until(() => rpc.connections.size === 0);
  }
  const running = await start(["bridge", hostOf(server)], null);
  await until(() => rpc.connections.size === 1);
  await server.stop();
  const { code, err } = await running.ended;
  assertEquals(code, 3);
  assertMatch(err, /The connection to \S+ has ended \(1001 .*\)\n$/);
  const [gone, posting] = await Promise.all([
    start(["bridge", "127.0.0.1:9"], null).then(({ ended }) => ended),
    start(["bridge", "http://127.0.0.1:9"], null).then(({ ended }) => ended),
  ]);
  assertEquals([gone.code, posting.code], [3, 2]);
});

test("jsonrpc bridge answers calls that are piped into it, and ends with them", async () => {
  await withServer(async (server) => {
    const call = (method: string) =>
      `{"jsonrpc":"2.0","method":"${method}","params":[2,3],"id":1}\n`;
    const { ended } = await start(["bridge", hostOf(server)], call("add"));
    assertEquals(await ended, { code: 0, out: '{"jsonrpc":"2.0","result":5,"id":1}\n', err: "" });
    const waiting = await start(["bridge", hostOf(server), "--timeout", "0.5"], call("wait"));
    const { code, err } = await waiting.ended;
    assertEquals(code, 4, err);
    assertEquals(err, "The input has ended: 1 calls have no answer after --timeout\n");
    // As `printf` writes it.
    const unended = await start(
      ["bridge", hostOf(server)],
      call("add") + call("add").trim().replace(`"id":1`, `"id":2`),
    );
    const answer = '{"jsonrpc":"2.0","result":5,"id":1}\n';
    assertEquals(await unended.ended, {
      code: 0,
      out: answer + answer.replace(`"id":1`, `"id":2`),
      err: "",
    });
    const nothing = await start(["bridge", hostOf(server)], "");
    assertEquals(await nothing.ended, { code: 0, out: "", err: "" });
  });
});

test("jsonrpc bridge fails if it cannot read its input", async () => {
  await withServer(async (server) => {
    const add = '{"jsonrpc":"2.0","method":"add","params":[2,3],"id":1}\n';
    const inputs = [
      [`POST / HTTP/1.1\n\n${add}`, "1002 Expected JSON-RPC, got an HTTP request"],
      [add.slice(0, 30), "1006 The stream ended within a message"],
    ];
    for (const [input, why] of inputs) {
      const { ended } = await start(["bridge", hostOf(server)], input);
      const err = `The connection to standard input has ended (${why})\n`;
      assertEquals(await ended, { code: 3, out: "", err });
    }
  });
});

test("jsonrpc serve offers the functions of a module, or the server that it exports", async () => {
  const functions = "export const add = ([a, b]) => a + b; export const one = 1;";
  const library = JSON.stringify(import.meta.resolve("../../mod.ts"));
  const server = `import { JsonRpc } from ${library};
    export default new JsonRpc().method("add", ([a, b]) => a + b);`;
  for (const text of [functions, server]) {
    await using file = await scriptFile(text.replaceAll(": number", ""));
    const running = await start(["serve", file.path, "--port", "0"]);
    await until(() => running.out().includes("\n"));
    const [, url = ""] = /^Listening on (http:\S+)\n$/.exec(running.out()) ?? [];
    for (const target of [url, url.replace("http", "ws")]) {
      await using client = await connect(target);
      assertEquals(await client.call("add", [1, 2]), 3);
    }
    running.interrupt();
    assertEquals((await running.ended).code, 0);
  }
  await using nothing = await scriptFile("export const one = 1;");
  const empty = await run("serve", nothing.path, "--port", "0");
  assertEquals(empty.code, 2);
  assertMatch(empty.err, /^Cannot serve .*script\.ts: /);
});

test("jsonrpc serve makes up a server out of an OpenRPC document", async () => {
  const folder = await mkdtemp(join(tmpdir(), "cli-"));
  const [file, wrong] = [join(folder, "openrpc.json"), join(folder, "wrong.json")];
  const result = { name: "sum", schema: { type: "integer", minimum: 5 } };
  await writeFile(file, JSON.stringify({ methods: [{ name: "add", params: [], result }] }));
  await writeFile(wrong, "{}");
  const running = await start(["serve", file, "--port", "0", "--json"]);
  await until(() => running.out().includes("\n"));
  const { url } = JSON.parse(running.out());
  await using client = await connect(url);
  assertEquals(await client.call("add"), 5);
  running.interrupt();
  assertEquals((await running.ended).code, 0);
  const refused = await run("serve", wrong, "--port", "0");
  assertEquals([refused.code, refused.err], [
    2,
    `Cannot serve ${wrong}: it is no OpenRPC document\n`,
  ]);
  await rm(folder, { recursive: true });
});

test("jsonrpc trace passes WebSockets and POSTs on, and prints each text with secrets masked", async () => {
  await withServer(async (server) => {
    const running = await start(["trace", hostOf(server), "--port", "0"]);
    await until(() => running.err().includes("\n"));
    const [, url = ""] = /^Listening on (http:\S+): /.exec(running.err()) ?? [];
    await using client = await connect(url.replace("http", "ws"), { token: "t0ken" });
    client.method("hello", () => "hi");
    assertEquals(await client.call("whoami"), "ada");
    assertEquals(await client.call("login", { username: "bob", password: "secret" }), true);
    await using poster = await connect(url);
    assertEquals(await poster.call("add", [1, 2]), 3);
    await until(() => running.out().trim().split("\n").length === 6);
    const lines = running.out().trim().split("\n").map((line) => line.replace(/^[\d:.]{12} /, ""));
    assertEquals(lines, [
      '← #1 42 B {"jsonrpc":"2.0","method":"whoami","id":1}',
      '→ #1 39 B {"jsonrpc":"2.0","result":"ada","id":1}',
      '← #1 89 B {"jsonrpc":"2.0","method":"login","params":{"username":"bob","password":"***"},"id":2}',
      '→ #1 38 B {"jsonrpc":"2.0","result":true,"id":2}',
      '← #2 54 B {"jsonrpc":"2.0","method":"add","params":[1,2],"id":1}',
      '→ #2 35 B {"jsonrpc":"2.0","result":3,"id":1}',
    ]);
    running.interrupt();
    assertEquals((await running.ended).code, 0);
  });
});

test("jsonrpc bench prints throughput, latencies and errors", async () => {
  await withServer(async (server) => {
    const host = hostOf(server);
    const short = ["--duration", "0.3", "--connections", "3", "--in-flight", "2"];
    const text = await run("bench", host, "add", "a=1", "b=2", ...short);
    assertEquals(text.code, 0);
    assertMatch(
      text.out,
      /^add: 3 connections, 2 in flight each, 0\.\d s\n\d+ calls, \d+ per second\n/,
    );
    assertMatch(
      text.out,
      /\nlatency: mean [\d.e-]+ ms, p50 [\d.]+ ms, p90 [\d.]+ ms, p99 [\d.]+ ms, max [\d.]+ ms\n/,
    );
    assertStringIncludes(text.out, "█");
    const refused = await run("bench", host, "refuse", ...short, "--json");
    assertEquals(refused.code, 1);
    const json = JSON.parse(refused.out);
    assertEquals([json.connections, json.inFlight, json.errors["Not enough money"]], [
      3,
      2,
      json.calls,
    ]);
    assert(json.calls > 0 && json.latencyMs.p50 <= json.latencyMs.p99);
  });
});
