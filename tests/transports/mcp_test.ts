/**
 * The official SDK of the Model Context Protocol as the client of examples/mcp_server.ts.
 */
import { assertEquals, assertRejects } from "@std/assert";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { connect } from "@x/jsonrpc/client";
import { mcp, withDialect } from "@x/jsonrpc/dialect";
import { httpTransport } from "@x/jsonrpc/http";
import { until } from "../helpers/deferred.ts";
import { needs } from "../helpers/needs.ts";
import { freePort } from "../helpers/ports.ts";
import { runtime } from "../helpers/runtimes.ts";
import { spawnServer } from "../helpers/spawn_server.ts";

const cwd = fileURLToPath(new URL("../..", import.meta.url));
const EXAMPLE = "examples/mcp_server.ts";

/**
 * Connects. The SDK drops progress that comes together with the answer to its call, as it does if this process
 * reads late: each message here comes in a turn of its own.
 */
async function connectPaced(client: Client, transport: Transport): Promise<void> {
  await client.connect(transport);
  const { onmessage } = transport;
  let last: Promise<unknown> = Promise.resolve();
  transport.onmessage = (...message: Parameters<NonNullable<typeof onmessage>>) => {
    last = last.then(() => onmessage?.(...message)).then(aTurn);
  };
}

function aTurn(): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, 0));
}

async function exercise(client: Client): Promise<void> {
  assertEquals(client.getServerVersion()?.name, "calculator");
  await client.ping();
  const { tools } = await client.listTools();
  assertEquals(tools.map(({ name }: { name: string }) => name), ["add", "count"]);
  const { content } = await client.callTool({ name: "add", arguments: { a: 1, b: 2 } });
  assertEquals(content, [{ type: "text", text: "3" }]);
  await assertRejects(() => client.callTool({ name: "none", arguments: {} }), Error, "-32602");
}

const counting = (to: number) => ({ name: "count", arguments: { to } });

async function exerciseProgress(client: Client): Promise<void> {
  const errors: unknown[] = [];
  client.onerror = (error: unknown) => errors.push(error);
  const seen: unknown[] = [];
  const onprogress = (value: unknown) => void seen.push(value);
  const { content } = await client.callTool(counting(2), undefined, { onprogress });
  assertEquals(content, [{ type: "text", text: "2" }]);
  assertEquals(seen.splice(0), [{ progress: 1, total: 2 }, { progress: 2, total: 2 }]);
  // Two at once, and one that has not asked for progress.
  const both = [counting(2), counting(1)].map((params) => {
    const own: unknown[] = [];
    const onprogress = (value: unknown) => void own.push(value);
    return client.callTool(params, undefined, { onprogress }).then(() => own.length);
  });
  assertEquals(await Promise.all(both), [2, 1]);
  await client.callTool(counting(1));
  assertEquals(errors, []);
}

/** Cancelling by a notification, which needs a connection that lasts, or a session. */
async function exerciseCancelling(client: Client): Promise<void> {
  const errors: unknown[] = [];
  client.onerror = (error: unknown) => errors.push(error);
  const count = (to: number, options: object) => client.callTool(counting(to), undefined, options);
  const controller = new AbortController();
  const { signal } = controller;
  const long = count(1e9, { signal, onprogress: () => controller.abort("enough") });
  await assertRejects(() => long, Error, "enough");
  await client.ping();
  // The next step may have been on its way while the cancel was: the protocol lets both sides expect that.
  assertEquals(errors.filter((error) => !`${error}`.includes("for an unknown token")), []);
}

for (const name of ["deno", "bun", "node"] as const) {
  const needed = await needs(name);

  test(
    `${name}: the SDK of MCP uses examples/mcp_server.ts over standard input and output`,
    needed,
    async () => {
      const [command, ...flags] = (await runtime(name)).command;
      const client = new Client({ name: "test", version: "1.0.0" });
      const env = process.env as Record<string, string>;
      const args = [...flags, EXAMPLE];
      const transport = new StdioClientTransport({ command, args, cwd, env, stderr: "pipe" });
      let log = "";
      transport.stderr?.on("data", (chunk: unknown) => log += chunk);
      await connectPaced(client, transport);
      await exercise(client);
      await exerciseProgress(client);
      await exerciseCancelling(client);
      await until(() => /Cancelled at \d/.test(log));
      await client.close();
    },
  );

  test(
    `${name}: the SDK of MCP uses examples/mcp_server.ts over Streamable HTTP`,
    needed,
    async () => {
      const PORT = String(await freePort());
      const server = await spawnServer(name, EXAMPLE, ["--http"], { PORT });
      try {
        const client = new Client({ name: "test", version: "1.0.0" });
        const transport = new StreamableHTTPClientTransport(new URL("/mcp", server.url));
        await connectPaced(client, transport);
        await exercise(client);
        await exerciseProgress(client);
        await exerciseCancelling(client);
        await until(() => /Cancelled at \d/.test(server.output()));
        const { sessionId } = transport;
        await transport.terminateSession();
        assertEquals(transport.sessionId, undefined);
        const headers = {
          accept: "application/json, text/event-stream",
          "content-type": "application/json",
          "mcp-session-id": `${sessionId}`,
        };
        const body = '{"jsonrpc":"2.0","method":"ping","id":1}';
        const response = await fetch(server.url, { method: "POST", headers, body });
        await response.body?.cancel();
        // A client that gets this initializes anew.
        assertEquals(response.status, 404);
        await client.close();
      } finally {
        await server.stop();
      }
    },
  );

  test(
    `${name}: a client of this package gets progress of an MCP server by POST`,
    needed,
    async () => {
      const PORT = String(await freePort());
      const server = await spawnServer(name, EXAMPLE, ["--http"], { PORT });
      try {
        const transport = httpTransport(new URL("/mcp", server.url));
        await using client = await connect(withDialect(transport, mcp));
        const seen: unknown[] = [];
        const onProgress = (value: unknown) => void seen.push(value);
        const result = await client.call("tools/call", counting(2), { onProgress });
        assertEquals(result, { content: [{ type: "text", text: "2" }] });
        assertEquals(seen, [{ progress: 1, total: 2 }, { progress: 2, total: 2 }]);
        const controller = new AbortController();
        const { signal } = controller;
        const long = client.call("tools/call", counting(1e9), {
          signal,
          onProgress: () => controller.abort(new Error("enough")),
        });
        await assertRejects(() => long, Error, "enough");
        await until(() => /Cancelled at \d/.test(server.output()));
      } finally {
        await server.stop();
      }
    },
  );
}
