/**
 * What fails, with the exit code and the text that people and scripts get.
 */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { JsonRpc } from "@x/jsonrpc";
import { until } from "../helpers/deferred.ts";
import { serveHere } from "../helpers/server.ts";
import { hostOf, run, start, withServer } from "./command_line.ts";

const EXIT_CODES: [why: string, code: number, args: (host: string) => string[]][] = [
  ["an unknown method", 1, (host) => ["call", host, "missing"]],
  ["a method that is refused", 1, (host) => ["call", host, "whoami"]],
  ["an error of the method", 1, (host) => ["call", host, "refuse"]],
  ["a topic that there is not", 1, (host) => ["subscribe", host, "nowhere"]],
  ["a stream that there is not", 1, (host) => ["stream", host, "missing"]],
  ["PARAMS that are no JSON", 2, (host) => ["call", host, "add", "[1,"]],
  ["a file that is missing", 2, (host) => ["call", host, "add", "@/nowhere.json"]],
  ["a file without a name", 2, (host) => ["call", host, "add", "@"]],
  ["empty standard input", 2, (host) => ["call", host, "add", "-"]],
  ["an option without its value", 2, (host) => ["call", host, "add", "--timeout"]],
  ["an option with a value too many", 2, (host) => ["call", host, "add", "--json=1"]],
  ["a module that is missing", 2, () => ["serve", "/nowhere.ts", "--port", "0"]],
  ["a port that is taken", 2, (host) => ["trace", host, "--port", host.split(":")[1] ?? ""]],
  ["no server", 3, () => ["call", "127.0.0.1:9", "add"]],
  ["a program that is missing", 3, () => ["call", "stdio:/nowhere", "add"]],
  ["no answer in time", 4, (host) => ["call", host, "wait", "--timeout", "0.5"]],
];

test("jsonrpc has an exit code for each failure, and with --json prints JSON alone", async () => {
  await withServer(async (server) => {
    for (const [why, expected, args] of EXIT_CODES) {
      const { code, out, err } = await run(...args(hostOf(server)), "--json");
      assertEquals([code, out], [expected, ""], `${why}: ${err}`);
      const lines = err.trim().split("\n").map((line) => JSON.parse(line));
      // No stack of this program: the failure is not its own.
      assertMatch(lines.at(-1).message, /^[^\n]+$/, why);
    }
  });
});

test("jsonrpc call takes names of all letters, and JSON as values", async () => {
  await withServer(async (server) => {
    const { code, out } = await run(
      ...[
        "call",
        hostOf(server),
        "echo",
        "größe=1",
        'имя={"x": "ü y"}',
        "text=two words",
        "--json",
      ],
    );
    assertEquals([code, out], [0, '{"größe":1,"имя":{"x":"ü y"},"text":"two words"}\n']);
  });
});

test("jsonrpc calls methods and watches topics whose names have spaces", async () => {
  const rpc = new JsonRpc().method("größe messen", () => 7).topic("die küche", { retain: true });
  await using server = await serveHere(rpc);
  rpc.publish("die küche", "warm");
  const [called, watched] = await Promise.all([
    run("call", hostOf(server), "größe messen"),
    run("subscribe", hostOf(server), "die küche", "--once"),
  ]);
  assertEquals([called?.out, watched?.out], ["7\n", 'die küche "warm"\n']);
});

test("jsonrpc says so if a server answers with no document and no names", async () => {
  const answers = [null, 1, [], {}, { methods: null }, { methods: [null] }, { methods: [{}] }, {
    methods: [{ name: "add", params: [null] }],
  }];
  for (const answer of answers) {
    const rpc = new JsonRpc()
      .use({
        name: "other",
        middleware: ({ method }, next) => /^(?:rpc\.|get_)/.test(method) ? answer : next(),
      })
      .method("add", () => 3);
    await using server = await serveHere(rpc);
    const [methods, types, topics, repl] = await Promise.all([
      run("methods", hostOf(server)),
      run("types", hostOf(server)),
      run("topics", hostOf(server)),
      start(["repl", hostOf(server)], "add\n").then(({ ended }) => ended),
    ]);
    const err = "This server answers rpc.discover with no OpenRPC document\n";
    assertEquals([methods, types], [{ code: 1, out: "", err }, { code: 1, out: "", err }]);
    const isEmpty = Array.isArray(answer);
    assertEquals(topics?.code, isEmpty ? 0 : 1);
    if (!isEmpty) assertStringIncludes(topics?.err ?? "", "something else than names");
    assertEquals(repl, { code: 0, out: "3\n", err: "" });
  }
});

test("jsonrpc serve and trace end with Ctrl+C and exit code 0", async () => {
  const folder = await mkdtemp(join(tmpdir(), "cli-"));
  const file = join(folder, "math.js");
  await writeFile(file, "export const add = ([a, b]) => a + b;");
  for (const args of [["serve", file], ["trace", "127.0.0.1:9"]]) {
    const running = await start([...args, "--port", "0"]);
    await until(() => `${running.out()}${running.err()}`.includes("Listening on"));
    running.interrupt();
    assertEquals((await running.ended).code, 0);
  }
  await rm(folder, { recursive: true });
});
