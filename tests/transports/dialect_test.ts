/**
 * Dialects of JSON-RPC: with scripted peers, and with the libraries that others wrote for them.
 */
import { client as acpClient, ndJsonStream } from "@agentclientprotocol/sdk";
import { assertEquals, assertRejects } from "@std/assert";
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { Readable, Writable } from "node:stream";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  CancellationTokenSource,
  createMessageConnection,
  ProgressType,
  StreamMessageReader,
  StreamMessageWriter,
} from "vscode-jsonrpc/node";
import { connect, JsonRpc } from "@x/jsonrpc";
import { acp, lsp, mcp, withDialect } from "@x/jsonrpc/dialect";
import type { Dialect } from "@x/jsonrpc/dialect";
import { linkedSockets } from "@x/jsonrpc/testing";
import { trace } from "@x/jsonrpc/trace";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { needs } from "../helpers/needs.ts";
import { runtime } from "../helpers/runtimes.ts";
import { WirePeer } from "../helpers/wire.ts";
import { socketTransport } from "../../src/core/web_socket_channel.ts";

const node = await needs("node");

/** A server with a peer that the test plays. */
function serverOf(dialect: Dialect) {
  const log: unknown[] = [];
  const rpc = new JsonRpc({ dialect, logger: silentLog() })
    .method("ping", () => "pong")
    .method("work", async (_params: unknown, request) => {
      request.progress({ progress: 1, total: 2 });
      await new Promise((resolve) => request.signal.addEventListener("abort", resolve));
      log.push("aborted");
    })
    .method("index", (_params: unknown, request) => {
      request.notify("$/progress", { token: "indexing", value: 1 });
    })
    .method("ask", (_params: unknown, request) => {
      const controller = new AbortController();
      setTimeout(() => controller.abort(), 5);
      return request.call("slow", {}, { signal: controller.signal }).catch(() => "gave up");
    })
    .method("$/setTrace", ({ value }: { value: string }) => void log.push(value));
  const [near, far] = linkedSockets();
  rpc.attach(far);
  return { log, wire: new WirePeer(near) };
}

test("a server takes the cancel notification of its dialect, and sends it", async () => {
  const cancels: [Dialect, (id: unknown) => { method: string; params: unknown }][] = [
    [lsp, (id) => ({ method: "$/cancelRequest", params: { id } })],
    [mcp, (id) => ({ method: "notifications/cancelled", params: { requestId: id } })],
    [acp, (id) => ({ method: "$/cancel_request", params: { requestId: id } })],
  ];
  for (const [dialect, cancelOf] of cancels) {
    const { log, wire } = serverOf(dialect);
    wire.send({ jsonrpc: "2.0", method: "work", id: "a" });
    wire.send({ jsonrpc: "2.0", ...cancelOf("a") });
    // In MCP a call that was cancelled is not answered.
    if (dialect !== mcp) assertEquals((await wire.next()).error?.code, -32800);
    await until(() => log.includes("aborted"));
    wire.send({ jsonrpc: "2.0", method: "ask", id: 2 });
    const asked = await wire.next();
    assertEquals(await wire.next(), { jsonrpc: "2.0", ...cancelOf(asked.id) });
    assertEquals((await wire.next()).result, "gave up");
  }
});

test("a server answers all other calls of a batch whose cancelled call gets no answer", async () => {
  const { wire } = serverOf(mcp);
  const work = (id: string) => ({ jsonrpc: "2.0", method: "work", id });
  const cancel = (requestId: string) => {
    wire.send({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId } });
  };
  wire.send([work("a"), { jsonrpc: "2.0", method: "ping", id: "b" }]);
  cancel("a");
  assertEquals(await wire.next() as unknown, [{ jsonrpc: "2.0", result: "pong", id: "b" }]);
  // Nothing is left of this one, and a cancel of an answered call changes no later one.
  wire.send([work("c")]);
  cancel("c");
  cancel("b");
  wire.call("b", "ping");
  assertEquals(await wire.next(), { jsonrpc: "2.0", result: "pong", id: "b" });
});

test("a server sends progress to the token that the caller has chosen, and to no other caller", async () => {
  const { wire } = serverOf(mcp);
  const params = { _meta: { progressToken: "mine" } };
  wire.send([
    { jsonrpc: "2.0", method: "work", id: 1 },
    { jsonrpc: "2.0", method: "work", params, id: 2 },
  ]);
  assertEquals(await wire.next(), {
    jsonrpc: "2.0",
    method: "notifications/progress",
    params: { progressToken: "mine", progress: 1, total: 2 },
  });
  const other = serverOf(lsp).wire;
  other.send({ jsonrpc: "2.0", method: "work", id: "none" });
  other.send({ jsonrpc: "2.0", method: "work", params: { workDoneToken: 7 }, id: 1 });
  assertEquals((await other.next()).params, { token: 7, value: { progress: 1, total: 2 } });
  // Progress that belongs to no call of the client.
  other.send({ jsonrpc: "2.0", method: "index" });
  assertEquals((await other.next()).params, { token: "indexing", value: 1 });
});

test("a handler can be registered for any $/ notification but that of cancelling", async () => {
  const { log, wire } = serverOf(lsp);
  wire.send({ jsonrpc: "2.0", method: "$/setTrace", params: { value: "verbose" } });
  wire.send({ jsonrpc: "2.0", method: "$/unknown", params: {} });
  wire.send({ jsonrpc: "2.0", method: "ping", id: 1 });
  assertEquals(await wire.next(), { jsonrpc: "2.0", result: "pong", id: 1 });
  assertEquals(log, ["verbose"]);
  const [near, far] = linkedSockets();
  const server = new WirePeer(far);
  await using client = await connect(near, { logger: silentLog() });
  client.method("$/progress", (params: unknown) => void log.push(params));
  client.method("$/logTrace", (params: unknown) => void log.push(params));
  server.send({ jsonrpc: "2.0", method: "$/progress", params: { token: "indexing", value: 3 } });
  server.send({ jsonrpc: "2.0", method: "$/logTrace", params: { message: "hi" } });
  await until(() => log.length === 3);
  assertEquals(log.slice(1), [{ token: "indexing", value: 3 }, { message: "hi" }]);
});

test("a client speaks a dialect: it chooses tokens, reads progress, and cancels", async () => {
  const [near, far] = linkedSockets();
  const server = new WirePeer(far);
  const transport = withDialect(socketTransport(near), mcp);
  await using client = await connect(transport, { logger: silentLog() });
  const seen: unknown[] = [];
  const controller = new AbortController();
  const call = client.call("tools/call", { name: "index" }, {
    signal: controller.signal,
    onProgress: (value) => seen.push(value),
  });
  const { id, params } = await server.next();
  assertEquals(params, { name: "index", _meta: { progressToken: id } });
  const progress = { progressToken: id, progress: 5, total: 10 };
  server.send({ jsonrpc: "2.0", method: "notifications/progress", params: progress });
  await until(() => seen.length === 1);
  assertEquals(seen, [{ progress: 5, total: 10 }]);
  controller.abort(new Error("enough"));
  await assertRejects(() => call, Error, "enough");
  assertEquals(await server.next(), {
    jsonrpc: "2.0",
    method: "notifications/cancelled",
    params: { requestId: id },
  });
  // Params by position have no place for a token.
  const plain = client.call("sum", [1, 2]);
  const asked = await server.next();
  assertEquals(asked.params, [1, 2]);
  server.send({ jsonrpc: "2.0", result: 3, id: asked.id });
  assertEquals(await plain, 3);
});

test("a client whose wire is traced still cancels its calls on the server", async () => {
  const [near, far] = linkedSockets();
  const server = new WirePeer(far);
  const transport = trace(() => {}).transport(socketTransport(near));
  await using client = await connect(transport, { logger: silentLog() });
  const controller = new AbortController();
  const call = client.call("slow", [], { signal: controller.signal });
  const { id } = await server.next();
  controller.abort(new Error("enough"));
  await assertRejects(() => call, Error, "enough");
  assertEquals((await server.next()).params, { id });
});

/** Starts an example. */
async function example(file: string): Promise<ChildProcess> {
  const [program, ...flags] = (await runtime("node")).command;
  return spawn(program, [...flags, `examples/${file}`], {
    cwd: fileURLToPath(new URL("../..", import.meta.url)),
    stdio: ["pipe", "pipe", "inherit"],
  });
}

test("examples/acp_agent.ts is an agent for the official SDK", node, async () => {
  const child = await example("acp_agent.ts");
  const written: unknown[] = [];
  const stream = ndJsonStream(
    Writable.toWeb(child.stdin!) as WritableStream<Uint8Array>,
    Readable.toWeb(child.stdout!) as unknown as ReadableStream<Uint8Array>,
  );
  const editor = acpClient().onRequest("fs/write_text_file", ({ params }) => {
    written.push(params.path, params.content);
    return {};
  });
  await editor.connectWith(stream, async (agent) => {
    const { agentInfo } = await agent.request("initialize", {
      protocolVersion: 1,
      clientCapabilities: { fs: { writeTextFile: true, readTextFile: false } },
    });
    assertEquals(agentInfo?.name, "parrot");
    await agent.buildSession("/tmp").withSession(async (session) => {
      const said = async (): Promise<string> => {
        let text = "";
        for (;;) {
          const message = await session.nextUpdate();
          if (message.kind === "stop") return `${text}(${message.stopReason})`;
          const { update } = message;
          if (update.sessionUpdate === "agent_message_chunk" && update.content.type === "text") {
            text += update.content.text;
          }
        }
      };
      void session.prompt("hello to you");
      assertEquals(await said(), "hello to you (end_turn)");
      void session.prompt("write /tmp/greeting");
      assertEquals(await said(), "write /tmp/greeting (end_turn)");
      assertEquals(written, ["/tmp/greeting", "Hello\n"]);
      // The SDK sends `$/cancel_request`.
      const controller = new AbortController();
      const long = session.prompt("a ".repeat(1000), { cancellationSignal: controller.signal });
      await session.nextUpdate();
      controller.abort();
      const error = await assertRejects(() => long) as { code?: number };
      assertEquals(error.code, -32800);
    });
  });
  child.stdin!.end();
  await until(() => child.exitCode === 0);
});

test("examples/language_server.ts is a language server for vscode-jsonrpc", node, async () => {
  const child = await example("language_server.ts");
  const connection = createMessageConnection(
    new StreamMessageReader(child.stdout!),
    new StreamMessageWriter(child.stdin!),
  );
  const diagnostics: unknown[] = [];
  const traces: unknown[] = [];
  connection.onNotification(
    "textDocument/publishDiagnostics",
    (params) => void diagnostics.push(params),
  );
  connection.onNotification("$/logTrace", (params) => void traces.push(params));
  connection.listen();
  const { capabilities } = await connection.sendRequest<{ capabilities: object }>("initialize", {});
  assertEquals(capabilities, { textDocumentSync: 1, hoverProvider: true });
  await connection.sendNotification("initialized", {});
  await connection.sendNotification("$/setTrace", { value: "verbose" });
  const uri = "file:///a.txt";
  const textDocument = { uri, text: "one two\nthe the end" };
  await connection.sendNotification("textDocument/didOpen", { textDocument });
  const hover = { textDocument: { uri }, position: { line: 1, character: 8 } };
  assertEquals(await connection.sendRequest("textDocument/hover", hover), {
    contents: "end: 3 letters",
  });
  assertEquals(diagnostics, [{
    uri,
    diagnostics: [{
      range: { start: { line: 1, character: 0 }, end: { line: 1, character: 7 } },
      severity: 2,
      message: '"the" twice',
    }],
  }]);
  assertEquals(traces, [{ message: `checked ${uri}` }]);
  const source = new CancellationTokenSource();
  const reports: unknown[] = [];
  connection.onProgress(new ProgressType(), "work-1", (value) => {
    reports.push(value);
    if (reports.length === 3) source.cancel();
  });
  const params = { command: "count", workDoneToken: "work-1" };
  const work = connection.sendRequest("workspace/executeCommand", params, source.token);
  const error = await assertRejects(() => work) as { code?: number };
  assertEquals(error.code, -32800);
  assertEquals(reports.slice(0, 2), [
    { kind: "report", percentage: 0 },
    { kind: "report", percentage: 10 },
  ]);
  assertEquals(await connection.sendRequest("shutdown"), null);
  await connection.sendNotification("exit");
  await until(() => child.exitCode === 0);
  connection.dispose();
});
