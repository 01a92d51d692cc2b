/**
 * The command line as a person uses it: a program of its own, against real servers.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { connect, JsonRpc, loginRequired, RpcError } from "@x/jsonrpc";
import { session } from "@x/jsonrpc/session";
import { aiohttpCheckout, startPython } from "../helpers/aiohttp.ts";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { needs } from "../helpers/needs.ts";
import { runtime, runtimeHere } from "../helpers/runtimes.ts";
import { scriptFile } from "../helpers/script_file.ts";
import { serveHere } from "../helpers/server.ts";
import type { LocalServer } from "../helpers/server.ts";

const PROGRAM = fileURLToPath(new URL("../../src/cli/bin.ts", import.meta.url));

interface Outcome {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** A command that runs. */
interface Running {
  readonly ended: Promise<Outcome>;
  /** Its stdout so far. */
  out(): string;
  /** Its stderr so far. */
  err(): string;
  /** Sends Ctrl+C. */
  interrupt(): void;
}

/** Starts the command line. */
async function start(args: readonly string[], input = ""): Promise<Running> {
  const { command: [program, ...flags] } = await runtime(runtimeHere);
  const env = { ...process.env, NO_COLOR: "1", JSONRPC_PASSWORD: "secret" };
  const child = spawn(program, [...flags, PROGRAM, ...args], { env });
  let [out, err] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => out += text);
  child.stderr.setEncoding("utf8").on("data", (text: string) => err += text);
  child.stdin.end(input);
  return {
    ended: new Promise((resolve) => child.once("close", (code) => resolve({ code, out, err }))),
    out: () => out,
    err: () => err,
    interrupt: () => void process.kill(child.pid as number, "SIGINT"),
  };
}

async function run(...args: string[]): Promise<Outcome> {
  return await (await start(args)).ended;
}

const USERS: Readonly<Record<string, string>> = { "Bearer t0ken": "ada", "bearer.t0ken": "ada" };

interface Credentials {
  readonly username: string;
  readonly password: string;
}

function testServer() {
  const logger = silentLog();
  const noted: unknown[] = [];
  const rpc = new JsonRpc({ logger })
    .use(session(({ headers }) => {
      const protocol = headers.get("sec-websocket-protocol")?.split(", ").at(-1);
      const name = USERS[headers.get("authorization") ?? protocol ?? ""] ?? headers.get("x-user");
      return name === null ? null : { name };
    }))
    .method("add", { names: ["a", "b"], summary: "Adds two numbers" }, ({ a, b }: {
      a: number;
      b: number;
    }) => a + b)
    .method("echo", (params: unknown) => params)
    .method("note", (params: unknown) => void noted.push(params))
    .method("refuse", () => {
      throw new RpcError(402, "Not enough money", { data: { missing: 3 } });
    })
    .method("wait", (_params: unknown, request) => {
      request.progress("half");
      return new Promise(() => {});
    })
    .method("whoami", { use: [loginRequired] }, (_params: unknown, { user }) => user.name)
    .method("login", ({ username, password }: Credentials, { connection }) => {
      if (password === "secret") connection.login({ name: username });
      return password === "secret";
    })
    .topic("news", { retain: true })
    .topic("clock")
    .stream("count_subscribe", {
      unsubscribe: "count_unsubscribe",
      notification: "count_subscription",
    }, function* ([to]: [number]) {
      for (let item = 1; item <= to; item++) yield item;
    });
  return { rpc, noted };
}

async function withServer(
  use: (server: LocalServer, parts: ReturnType<typeof testServer>) => Promise<void>,
): Promise<void> {
  const parts = testServer();
  await using server = await serveHere(parts.rpc);
  await use(server, parts);
}

/** The rest of a WebSocket's URL, without its scheme. */
function hostOf({ ws }: LocalServer): string {
  return ws.slice("ws://".length);
}

test("jsonrpc call prints the result, over WebSocket and POST, of params of each form", async () => {
  await withServer(async (server) => {
    const host = hostOf(server);
    const folder = await mkdtemp(join(tmpdir(), "cli-"));
    const file = join(folder, "params.json");
    await writeFile(file, '{"a": 3, "b": 4}');
    const calls: [string[], string][] = [
      [[host, "add", "a=1", "b=2"], "3\n"],
      [[server.ws, "add", '{"a": 1, "b": -2}'], "-1\n"],
      [[server.url, "add", "-1", "2"], "1\n"],
      [[host, "add", `@${file}`], "7\n"],
      [[host, "echo", "-1", "two", '"3"', "[4]", "--json"], '[-1,"two","3",[4]]\n'],
      [
        [host, "echo", 'a={"b":1}', "c=true=false"],
        '{\n  "a": {\n    "b": 1\n  },\n  "c": "true=false"\n}\n',
      ],
      [[host, "note"], "null\n"],
    ];
    const outcomes = await Promise.all(calls.map(([args]) => run("call", ...args)));
    assertEquals(outcomes, calls.map(([, out]) => ({ code: 0, out, err: "" })));
    const piped = await (await start(["call", host, "add", "-"], "[5, 6]")).ended;
    assertEquals(piped, { code: 0, out: "11\n", err: "" });
    await rm(folder, { recursive: true });
  });
});

test("jsonrpc call reports failures on stderr, each with its exit code", async () => {
  await withServer(async (server) => {
    const host = hostOf(server);
    const [refused, json, missing, late, usage] = await Promise.all([
      run("call", host, "refuse"),
      run("call", host, "refuse", "--json"),
      run("call", host, "missing"),
      run("call", host, "wait", "--timeout", "0.5"),
      run("call", host, "add", "{a: 1}"),
    ]);
    assertEquals(refused, {
      code: 1,
      out: "",
      err: 'Error 402: Not enough money\n{\n  "missing": 3\n}\n',
    });
    assertEquals(json.err, '{"code":402,"message":"Not enough money","data":{"missing":3}}\n');
    assertMatch(
      missing.err,
      /^Error -32601: Method not found\nThere is no such method, or this user/,
    );
    assertEquals([missing.code, late.code, usage.code], [1, 4, 2]);
    assertMatch(late.err, /^progress: "half"\n.*"wait" timed out/);
    assertMatch(usage.err, /^Expected JSON in the params: /);
  });
  const gone = await run("call", "127.0.0.1:9", "add");
  assertEquals([gone.code, gone.out], [3, ""]);
  assertMatch(gone.err, /^Cannot connect to ws:\/\/127\.0\.0\.1:9/);
});

test("jsonrpc explains its usage, and refuses what makes no sense", async () => {
  const [help, ofCall, none, unknown, option, port, url] = await Promise.all([
    run("--help"),
    run("call", "--help"),
    run(),
    run("cal"),
    run("call", "--colour"),
    run("serve", "x.ts", "--port", "99999"),
    run("call"),
  ]);
  assertEquals([help?.code, ofCall?.code, none?.code], [0, 0, 2]);
  assertMatch(help?.out ?? "", /^Usage: jsonrpc COMMAND/);
  assertStringIncludes(ofCall?.out ?? "", "\nExamples:\n  jsonrpc call localhost:8000 add 1 2\n");
  const errors = [unknown, option, port, url].map((each) => [each?.code, each?.err]);
  assertEquals(errors, [
    [2, 'Unknown command "cal": see --help\n'],
    [2, "Unknown option '--colour'\n"],
    [2, 'Expected --port to be a number from 0 to 65535, got "99999"\n'],
    [2, "Missing URL\n"],
  ]);
});

test("jsonrpc presents a token, a header and a user", async () => {
  await withServer(async (server) => {
    const host = hostOf(server);
    const [byToken, byPost, byHeader, byUser, wrong, none] = await Promise.all([
      run("call", host, "whoami", "--token", "t0ken"),
      run("call", server.url, "whoami", "--token", "t0ken"),
      run("call", host, "whoami", "-H", "X-User: eve"),
      run("call", host, "whoami", "--user", "bob"),
      run("call", host, "whoami", "--user", "bob:wrong"),
      run("call", host, "whoami"),
    ]);
    const said = [byToken, byPost, byHeader, byUser].map((each) => each?.out);
    assertEquals(said, ['"ada"\n', '"ada"\n', '"eve"\n', '"bob"\n']);
    assertEquals([wrong?.code, none?.code], [3, 1]);
    assertStringIncludes(wrong?.err ?? "", "wrong user name or password of bob");
  });
});

test("jsonrpc notify, methods, topics and discover say what a server offers", async () => {
  await withServer(async (server, { noted }) => {
    const host = hostOf(server);
    const [notified, methods, names, topics, document] = await Promise.all([
      run("notify", host, "note", "1"),
      run("methods", host),
      run("methods", host, "--json"),
      run("topics", host),
      run("discover", host),
    ]);
    assertEquals(notified, { code: 0, out: "", err: "" });
    await until(() => noted.length === 1);
    assertStringIncludes(methods?.out ?? "", "\nadd(a, b)  Adds two numbers\necho()\n");
    assert((JSON.parse(names?.out ?? "") as string[]).includes("add"));
    assert(!methods?.out.includes("whoami"), "it needs a user");
    assertEquals(topics?.out, "news\nclock\n");
    assertEquals(JSON.parse(document?.out ?? "").openrpc, "1.2.6");
  });
});

test("jsonrpc subscribe prints events, also after the server has restarted", async () => {
  const { rpc } = testServer();
  const server = await serveHere(rpc);
  rpc.publish("news", { n: 0 });
  const last = await run("subscribe", hostOf(server), "news", "--last", "--json");
  assertEquals(last, { code: 0, out: '{"topic":"news","data":{"n":0}}\n', err: "" });
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
      run("stream", host, "count", "1"),
    ]);
    assertEquals([all?.out, some?.out, byName?.out], ["1\n2\n3\n", "1\n2\n", "1\n"]);
    assertEquals([unclear?.code, all?.code], [2, 0]);
    assertStringIncludes(unclear?.err ?? "", "Missing --unsubscribe");
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
    const json = JSON.parse((await run("bench", host, "refuse", ...short, "--json")).out);
    assertEquals([json.connections, json.inFlight, json.errors["Not enough money"]], [
      3,
      2,
      json.calls,
    ]);
    assert(json.calls > 0 && json.latencyMs.p50 <= json.latencyMs.p99);
  });
});

test("jsonrpc calls a program over its standard input and output", async () => {
  const stdio = JSON.stringify(import.meta.resolve("../../src/transports/stdio.ts"));
  const library = JSON.stringify(import.meta.resolve("../../mod.ts"));
  await using file = await scriptFile(`import { JsonRpc } from ${library};
    import { serveStdio } from ${stdio};
    await serveStdio(new JsonRpc().method("add", ([a, b]) => a + b)).closed;`);
  const { command } = await runtime(runtimeHere);
  const target = `stdio:${[...command, file.path].join(" ")}`;
  assertEquals(await run("call", target, "add", "1", "2"), { code: 0, out: "3\n", err: "" });
});

const aiohttp = await needs("aiohttp-json-rpc");

test("jsonrpc talks to the Python server of aiohttp-json-rpc", aiohttp, async () => {
  await using server = await startPython("aiohttp_server.py", aiohttpCheckout() as string);
  const [sum, methods, topics] = await Promise.all([
    run("call", server.url, "add", "1", "2"),
    run("methods", server.url),
    run("topics", server.url),
  ]);
  assertEquals(sum, { code: 0, out: "3\n", err: "" });
  assertStringIncludes(methods?.out ?? "", "add()\n");
  assertStringIncludes(topics?.out ?? "", "news\n");
});
