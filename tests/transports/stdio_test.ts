/**
 * Servers on standard input and output, as programs of each runtime.
 */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { connect, RpcConnectionError } from "@x/jsonrpc";
import type { ClientOptions } from "@x/jsonrpc";
import { childProcess, spawned } from "@x/jsonrpc/stdio";
import type { SpawnOptions } from "@x/jsonrpc/stdio";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { needs } from "../helpers/needs.ts";
import { runtime } from "../helpers/runtimes.ts";
import type { RuntimeName } from "../helpers/runtimes.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const LARGE: ClientOptions = {
  maxMessageBytes: 16 * 1024 * 1024,
  maxBufferedBytes: 64 * 1024 * 1024,
  reconnect: false,
  logger: silentLog(),
};

async function commandOf(name: RuntimeName, ...args: string[]): Promise<[string, ...string[]]> {
  const [program, ...flags] = (await runtime(name)).command;
  return [program, ...flags, "tests/programs/stdio_server.ts", ...args];
}

async function start(name: RuntimeName, ...args: string[]): Promise<ChildProcess> {
  const [program, ...rest] = await commandOf(name, ...args);
  return spawn(program, rest, { cwd: root, stdio: ["pipe", "pipe", "pipe"] });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

for (const name of ["deno", "bun", "node"] as const) {
  const needed = await needs(name);

  for (const framing of ["newline", "content-length"] as const) {
    test(`${name}: serveStdio() answers and asks over ${framing}`, needed, async () => {
      const options: SpawnOptions = { framing, cwd: root };
      const client = await connect(spawned(await commandOf(name), options), LARGE);
      client.method("confirm", ({ message }: { message: string }) => message === "Sure?");
      assertEquals(await client.call("add", [1, 2]), 3);
      assertEquals(await client.call("ask", ["Sure?"]), true);
      const text = "ä€😀\n".repeat(200_000);
      assertEquals(await client.call("echo", [text]), [text]);
      const pid = await client.call("pid") as number;
      await client.close();
      await until(() => !isAlive(pid));
    });
  }

  test(
    `${name}: serveStdio() answers the calls that are under way when its input ends`,
    needed,
    async () => {
      const child = await start(name);
      let answers = "";
      child.stdout?.setEncoding("utf8").on("data", (chunk: string) => answers += chunk);
      const closed = new Promise((resolve) => child.once("close", resolve));
      const calls = [["later", [600]], ["add", [1, 2]], ["later", [50]]].map((
        [method, params],
        id,
      ) => JSON.stringify({ jsonrpc: "2.0", method, params, id }));
      child.stdin?.end(calls.join("\n") + "\n");
      assertEquals(await closed, 0);
      const ids = answers.trim().split("\n").map((line) => JSON.parse(line).id);
      assertEquals(ids, [1, 2, 0]);
    },
  );

  test(
    `${name}: serveStdio() keeps console.log out of standard output, and a stray line costs nothing`,
    needed,
    async () => {
      const child = await start(name);
      let errors = "";
      child.stderr?.setEncoding("utf8").on("data", (chunk: string) => errors += chunk);
      const logger = silentLog();
      const client = await connect(childProcess(child, { logger }), LARGE);
      assertEquals(await client.call("print", ["hello there"]), true);
      assertEquals(await client.call("add", [1, 2]), 3);
      await until(() => errors.split("hello there").length === 3);
      // Written past the console, on purpose.
      assertEquals(logger.text.split("hello there").length, 2);
      await client.close();
      await until(() => child.exitCode !== null || child.signalCode !== null);
    },
  );

  test(
    `${name}: serveStdio() answers all calls that came before the end of its input`,
    needed,
    async () => {
      const child = await start(name);
      const ids = Array.from({ length: 2000 }, (_, id) => id);
      const calls = ids.map((id) => JSON.stringify({ jsonrpc: "2.0", method: "work", id }));
      child.stdin?.end(`${calls.join("\n")}\n`);
      let output = "";
      for await (const chunk of child.stdout?.setEncoding("utf8") ?? []) output += chunk;
      assertEquals(output.trim().split("\n").map((line) => JSON.parse(line).id), ids);
    },
  );

  test(
    `${name}: a program that dies settles every call, also with 8 MB unwritten`,
    needed,
    async () => {
      const child = await start(name);
      const client = await connect(childProcess(child, { logger: silentLog() }), LARGE);
      assertEquals(await client.call("add", [1, 2]), 3);
      const waiting = client.call("wait");
      const dying = client.call("die", [3]);
      const unread = Array.from({ length: 8 }, () => client.call("echo", ["z".repeat(1_000_000)]));
      for (const call of [waiting, dying, ...unread]) {
        const error = await assertRejects(() => call, RpcConnectionError);
        assert(error.message.includes("code 3"), error.message);
      }
      await client.close();
    },
  );

  test(
    `${name}: a program that ignores the end of its input and SIGTERM gets SIGKILL`,
    needed,
    async () => {
      const child = await start(name, "--stubborn");
      const client = await connect(childProcess(child, { endMs: 50, terminateMs: 50 }), LARGE);
      assertEquals(await client.call("add", [1, 2]), 3);
      await client.close();
      await until(() => child.signalCode === "SIGKILL");
    },
  );

  test(`${name}: a client that reconnects starts the program again`, needed, async () => {
    const client = await connect(spawned(await commandOf(name), { cwd: root }), {
      ...LARGE,
      reconnect: { minMs: 1, maxMs: 10 },
    });
    const first = await client.call("pid");
    await assertRejects(() => client.call("die", [1]), RpcConnectionError);
    assert(await client.call("pid") !== first);
    await client.close();
  });
}

test("spawned() says which program it could not start", async () => {
  const error = await assertRejects(
    () => connect(spawned(["no-such-program-here"]), { ...LARGE }),
    RpcConnectionError,
  );
  assert(error.message.includes("no-such-program-here"), error.message);
});

for (const params of [[1, 2], ["x".repeat(200_000)]]) {
  test(`a call of ${JSON.stringify(params).length} characters rejects if the program has closed its input`, async () => {
    // It lives on, and its output stays open.
    const code = "exec <&-; echo '{}'; exec sleep 100";
    const child = spawn("sh", ["-c", code], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    await new Promise((resolve) => child.stdout?.once("readable", resolve));
    const client = await connect(childProcess(child, { endMs: 0 }), LARGE);
    const error = await assertRejects(() => client.call("add", params), RpcConnectionError);
    assertStringIncludes(error.message, "EPIPE");
    await client.close();
  });
}
