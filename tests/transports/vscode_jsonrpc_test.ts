/**
 * The JSON-RPC library of language servers at the other end of standard input and output.
 */
import { assertEquals, assertRejects } from "@std/assert";
import { spawn } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  CancellationTokenSource,
  createMessageConnection,
  StreamMessageReader,
  StreamMessageWriter,
} from "vscode-jsonrpc/node";
import { connect } from "@x/jsonrpc";
import { spawned } from "@x/jsonrpc/stdio";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { needs } from "../helpers/needs.ts";
import { runtime } from "../helpers/runtimes.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const node = await needs("node");

for (const name of ["deno", "bun", "node"] as const) {
  test(
    `${name}: vscode-jsonrpc calls serveStdio(), is called by it, and cancels`,
    await needs(name),
    async () => {
      const [program, ...flags] = (await runtime(name)).command;
      const child = spawn(program, [...flags, "tests/programs/stdio_server.ts"], {
        cwd: root,
        stdio: ["pipe", "pipe", "inherit"],
      });
      const connection = createMessageConnection(
        new StreamMessageReader(child.stdout),
        new StreamMessageWriter(child.stdin),
      );
      connection.onRequest("confirm", ({ message }: { message: string }) => message === "Sure?");
      connection.listen();
      assertEquals(await connection.sendRequest("add", 1, 2), 3);
      assertEquals(await connection.sendRequest("ask", "Sure?"), true);
      assertEquals(await codeOf(connection.sendRequest("nothing")), -32601);
      const source = new CancellationTokenSource();
      const waiting = connection.sendRequest("wait", source.token);
      source.cancel();
      assertEquals(await codeOf(waiting), -32800);
      connection.dispose();
      child.stdin.end();
      await until(() => child.exitCode === 0);
    },
  );
}

test(
  "connect(spawned()) calls a server on vscode-jsonrpc, is called by it, and cancels",
  node,
  async () => {
    const [program, ...flags] = (await runtime("node")).command;
    const command = [program, ...flags, "tests/programs/vscode_server.ts"] as const;
    const client = await connect(
      spawned(command, { framing: "content-length", cwd: root, logger: silentLog() }),
      { logger: silentLog() },
    );
    client.method("confirm", ({ message }: { message: string }) => message === "Sure?");
    const noted: unknown[] = [];
    client.method("noted", (params: unknown) => void noted.push(params));
    client.method("cancelled", () => void noted.push("cancelled"));
    assertEquals(await client.call("add", { a: 1, b: 2 }), 3);
    assertEquals(await client.call("ask", { message: "Sure?" }), true);
    client.notify("note", { text: "ä" });
    await until(() => noted.length === 1);
    assertEquals(noted, [{ text: "ä" }]);
    const controller = new AbortController();
    const waiting = client.call("wait", {}, { signal: controller.signal });
    controller.abort(new Error("enough"));
    await assertRejects(() => waiting, Error, "enough");
    await until(() => noted.includes("cancelled"));
    await client.close();
  },
);

async function codeOf(call: Promise<unknown>): Promise<unknown> {
  return await call.catch((error: { code: number }) => error.code);
}
