/**
 * The commands that go on: subscribe, stream, repl.
 */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { JsonRpc } from "@x/jsonrpc";
import { until } from "../helpers/deferred.ts";
import { needs } from "../helpers/needs.ts";
import { programPath } from "../helpers/programs.ts";
import { runtime, runtimeHere } from "../helpers/runtimes.ts";
import { serveHere } from "../helpers/server.ts";
import { Terminal } from "../helpers/terminal.ts";
import { hostOf, PROGRAM, run, start, testServer, withServer } from "./command_line.ts";

const IN_TERMINAL = fileURLToPath(new URL("../programs/in_terminal.py", import.meta.url));
const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const python = await needs("python3");

test("jsonrpc subscribe prints events, also after the server has restarted", async () => {
  const { rpc } = testServer();
  const server = await serveHere(rpc);
  rpc.publish("news", { n: 0 });
  const once = await run("subscribe", hostOf(server), "news", "--once", "--json");
  assertEquals(once, { code: 0, out: '{"topic":"news","data":{"n":0}}\n', err: "" });
  const running = await start(["subscribe", hostOf(server), "news", "clock", "--count", "3"]);
  await until(() => [...rpc.subscribers(["clock"])].length === 1);
  rpc.publish("clock", "noon");
  await until(() => running.out().includes("clock"));
  await server.stop();
  const second = testServer().rpc;
  await using _again = await serveHere(second, Number(new URL(server.url).port));
  await until(() => second.subscribers(["clock"])[Symbol.iterator]().next().done === false);
  second.publish("clock", "night");
  const { code, out, err } = await running.ended;
  assertEquals([code, out], [0, 'news {"n":0}\nclock "noon"\nclock "night"\n']);
  assertMatch(err, /Connection lost: attempt 1 in \d+ ms\n/);
});

test("jsonrpc subscribe --last prints the newest events that a topic has kept first", async () => {
  const rpc = new JsonRpc().topic("chat", { history: { size: 10 } });
  await using server = await serveHere(rpc);
  for (const line of ["one", "two", "three"]) rpc.publish("chat", line);
  const host = hostOf(server);
  const once = await run("subscribe", host, "chat", "--last", "2", "--once", "--json");
  const lines = ["two", "three"].map((data) => `{"topic":"chat","data":"${data}"}\n`);
  assertEquals(once, { code: 0, out: lines.join(""), err: "" });
  const running = await start(["subscribe", host, "chat", "--last", "1", "--count", "2"]);
  await until(() => running.out().includes("three"));
  rpc.publish("chat", "four");
  const { code, out } = await running.ended;
  assertEquals([code, out], [0, 'chat "three"\nchat "four"\n']);
  const wrong = await run("subscribe", host, "chat", "--last", "1.5");
  assertEquals([wrong.code, wrong.err], [2, 'Expected --last to be a whole number, got "1.5"\n']);
});

test("jsonrpc subscribe ends with Ctrl+C, and says which topic there is not", async () => {
  await withServer(async (server, { rpc }) => {
    const running = await start(["subscribe", hostOf(server), "clock"]);
    await until(() => [...rpc.subscribers(["clock"])].length === 1);
    running.interrupt();
    assertEquals((await running.ended).code, 0);
    const missing = await run("subscribe", hostOf(server), "nowhere");
    assertEquals([missing.code, missing.out], [1, ""]);
    assertStringIncludes(missing.err, "nowhere");
  });
});

test("jsonrpc stream prints the items of a stream", async () => {
  await withServer(async (server) => {
    const host = hostOf(server);
    const named = ["--unsubscribe", "count_unsubscribe", "--notification", "count_subscription"];
    const [all, some, byName, unclear] = await Promise.all([
      run("stream", host, "count_subscribe", "3"),
      run("stream", host, "count_subscribe", "1000000", "--count", "2"),
      run("stream", host, "count_subscribe", "1", ...named),
      run("stream", host, "count", "1", "--notification", "count_item"),
    ]);
    assertEquals([all?.out, some?.out, byName?.out], ["1\n2\n3\n", "1\n2\n", "1\n"]);
    assertEquals([unclear?.code, all?.code], [2, 0]);
    assertStringIncludes(unclear?.err ?? "", "Missing --unsubscribe");
  });
});

test("jsonrpc ends quietly if what reads its output has seen enough", async () => {
  await withServer(async (server) => {
    const command = await start(["stream", hostOf(server), "count_subscribe", "100000000"]);
    await until(() => command.out().includes("\n2\n"));
    command.leave();
    const { code, err } = await command.ended;
    assertEquals([code, err], [0, ""]);
  });
});

test("jsonrpc repl runs line by line, and goes on after an error", async () => {
  await withServer(async (server, { rpc }) => {
    const lines = [
      "add a=1 b=2",
      "",
      'echo {"x": [1, 2]}',
      "missing",
      ".topics",
      ".subscribe clock",
    ];
    const input = [...lines, ".nothing", ".exit", "add 1 1"].join("\n");
    const { code, out, err } = await (await start(["repl", hostOf(server), "--json"], input)).ended;
    assertEquals([code, out], [0, '3\n{"x":[1,2]}\nnews\nclock\n']);
    assertStringIncludes(err, '"code":-32601');
    assertStringIncludes(err, "Unknown command .nothing");
    await until(() => rpc.connections.size === 0);
  });
});

test(
  "jsonrpc repl in a terminal completes names, keeps what is typed, and knows Ctrl+C",
  python,
  async () => {
    await withServer(async (server, { rpc }) => {
      const folder = await mkdtemp(join(tmpdir(), "jsonrpc-"));
      const history = join(folder, "history");
      const { command } = await runtime(runtimeHere);
      const program = [...command, PROGRAM, "repl", hostOf(server)];
      await using terminal = new Terminal([programPath("python3"), IN_TERMINAL, ...program], ROOT, {
        JSONRPC_HISTORY: history,
        NO_COLOR: "1",
        TERM: "xterm",
      });
      await terminal.prints("> ");
      // Each key for itself: a tabulator within pasted text completes nothing.
      terminal.press("ad");
      await terminal.prints("ad");
      terminal.press("\t");
      await terminal.prints("add ");
      terminal.press("1 2\r");
      await terminal.prints("\n3\r\n");
      terminal.press(".subscribe clock\r");
      await until(() => rpc.stats().subscriptions === 1);
      terminal.press("echo half");
      await terminal.prints("echo half");
      // The event stands above the line, and the line is there again.
      rpc.publish("clock", "noon");
      await terminal.prints('clock "noon"');
      await terminal.prints("> echo half");
      terminal.press("\x03");
      await terminal.prints("^C");
      terminal.press("wait\r");
      await terminal.prints('progress: "half"');
      terminal.press("\x03");
      await terminal.prints("Cancelled");
      terminal.press("login ada secret\r");
      await terminal.prints("\nfalse");
      terminal.press("\x03");
      await until(() => rpc.connections.size === 0);
      await terminal.end();
      assertEquals(await readFile(history, "utf8"), "add 1 2\n.subscribe clock\nwait\n");
      await rm(folder, { recursive: true });
    });
  },
);
