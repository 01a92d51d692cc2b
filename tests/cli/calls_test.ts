/**
 * The commands that ask once: call, notify, methods, topics, discover, types.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { JsonRpc, loginRequired } from "@x/jsonrpc";
import { aiohttpCheckout, startPython } from "../helpers/aiohttp.ts";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { needs } from "../helpers/needs.ts";
import { runtime, runtimeHere } from "../helpers/runtimes.ts";
import { scriptFile } from "../helpers/script_file.ts";
import { serveHere } from "../helpers/server.ts";
import { hostOf, run, start, withServer } from "./command_line.ts";

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

test("jsonrpc says its version, which is that of the package", async () => {
  const { version } = JSON.parse(readFileSync(new URL("../../deno.json", import.meta.url), "utf8"));
  for (const flag of ["--version", "-V"]) {
    const { code, out, err } = await run(flag);
    assertEquals([code, err], [0, ""]);
    assertMatch(out, /^jsonrpc \d+\.\d+\.\d+\S* \((?:Deno|Bun|Node) \d+\.\d+\.\d+.*\)\n$/);
    assertEquals(out.split(" ")[1], version);
  }
});

test("jsonrpc explains its usage, and refuses what makes no sense", async () => {
  const [help, ofCall, none, unknown, option, port, url, scheme] = await Promise.all([
    run("--help"),
    run("call", "--help"),
    run(),
    run("cal"),
    run("call", "--colour"),
    run("serve", "x.ts", "--port", "99999"),
    run("call"),
    run("call", "ftp://joe:swordfish@localhost/?token=hunter2", "add"),
  ]);
  assertEquals([help?.code, ofCall?.code, none?.code], [0, 0, 2]);
  assertMatch(help?.out ?? "", /^Usage: jsonrpc COMMAND/);
  // Without a command the help is no result: a script must not take it for one.
  assertEquals(none?.out, "");
  assertMatch(none?.err ?? "", /^Usage: jsonrpc COMMAND/);
  assertStringIncludes(ofCall?.out ?? "", "\nExamples:\n  jsonrpc call localhost:8000 add 1 2\n");
  const errors = [unknown, option, port, url, scheme].map((each) => [each?.code, each?.err]);
  assertEquals(errors, [
    [2, 'Unknown command "cal": see --help\n'],
    [2, "Unknown option '--colour'\n"],
    [2, 'Expected --port to be a number from 0 to 65535, got "99999"\n'],
    [2, "Missing URL\n"],
    [2, "Expected a ws:, wss:, http: or https: URL, or stdio:PROGRAM, got ftp:\n"],
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
    // Those that every server has come last.
    assertMatch(methods?.out ?? "", /^add\(a, b\) {2}Adds two numbers\necho\(…\)\n/);
    assert((JSON.parse(names?.out ?? "") as string[]).includes("add"));
    assert(!methods?.out.includes("whoami"), "it needs a user");
    assertEquals(topics?.out, "news\nclock\n");
    assertEquals(JSON.parse(document?.out ?? "").openrpc, "1.2.6");
  });
});

test("jsonrpc types writes declarations that a program can compile against", async () => {
  await withServer(async (server) => {
    const { code, out, err } = await run("types", hostOf(server));
    assertEquals([code, err], [0, ""]);
    assertStringIncludes(out, "export interface Api {\n  readonly methods: {\n");
    assertStringIncludes(out, '    /** Adds two numbers */\n    "add"(params?: ');
    assertStringIncludes(out, '    "echo"(params?: unknown): ');
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

test("jsonrpc says so if a server of another library does not say what it offers", async () => {
  await using file = await scriptFile(`import { createInterface } from "node:readline";
    for await (const line of createInterface({ input: process.stdin })) {
      const error = { code: -32601, message: "Method not found" };
      console.log(JSON.stringify({ jsonrpc: "2.0", id: JSON.parse(line).id, error }));
    }`.replace("import", 'import process from "node:process"; import'));
  const { command } = await runtime(runtimeHere);
  const target = `stdio:${[...command, file.path].join(" ")}`;
  const outcomes = await Promise.all(
    ["methods", "topics", "discover"].map((name) => run(name, target)),
  );
  const names = ["get_methods", "get_topics", "rpc.discover"];
  assertEquals(
    outcomes,
    names.map((name) => ({
      code: 1,
      out: "",
      err: `This server does not say what it offers: it has no method ${name}\n`,
    })),
  );
});

test("jsonrpc shows why a call was refused, if the server explains it", async () => {
  const rpc = new JsonRpc({ logger: silentLog(), explainRefusals: true })
    .method("secret", { use: [loginRequired] }, () => 1);
  await using server = await serveHere(rpc);
  const [refused, typo] = await Promise.all(
    ["secret", "secre"].map((name) => run("call", hostOf(server), name)),
  );
  const start = "Error -32601: Method not found\n";
  assertEquals(refused?.err, `${start}the guard loginRequired refuses it\n`);
  assertEquals(typo?.err, `${start}no method has this name; did you mean "secret"?\n`);
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
