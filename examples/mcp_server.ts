/**
 * A server of the Model Context Protocol with two tools, for agents: over standard input and output, or over
 * HTTP (Streamable HTTP) with `--http`.
 *
 *     deno run -A examples/mcp_server.ts
 *     deno run -A examples/mcp_server.ts --http
 */
import process from "node:process";
import { JsonRpc, RpcInvalidParamsError } from "@x/jsonrpc";
import type { RpcRequest } from "@x/jsonrpc";
import { mcp } from "@x/jsonrpc/dialect";
import { serve } from "@x/jsonrpc/node";
import { serveStdio } from "@x/jsonrpc/stdio";
import { mcpSessions } from "./mcp_sessions.ts";

const VERSIONS = ["2025-11-25", "2025-06-18"];
const number = { type: "number" };

const tools: Record<string, { description: string; properties: object; run: typeof count }> = {
  add: {
    description: "Adds two numbers",
    properties: { a: number, b: number },
    run: ({ a = 0, b = 0 }) => Promise.resolve(a + b),
  },
  count: { description: "Counts, slowly", properties: { to: number }, run: count },
};

/** Counts, slowly. The client's cancel aborts the signal, and its `onprogress` gets the steps. */
async function count({ to = 0 }: Record<string, number>, request: RpcRequest): Promise<number> {
  for (let progress = 1; progress <= to; progress++) {
    if (request.signal.aborted) console.log(`Cancelled at ${progress}`); // to standard error
    request.signal.throwIfAborted();
    request.progress({ progress, total: to });
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return to;
}

const rpc = new JsonRpc({ separator: "/", dialect: mcp })
  .method("initialize", ({ protocolVersion }: { protocolVersion: string }) => ({
    protocolVersion: VERSIONS.includes(protocolVersion) ? protocolVersion : VERSIONS[0],
    capabilities: { tools: {} },
    serverInfo: { name: "calculator", version: "1.0.0" },
  }))
  .method("ping", () => ({}))
  .method("notifications/initialized", () => {})
  .method("tools/list", () => ({
    tools: Object.entries(tools).map(([name, { description, properties }]) => (
      { name, description, inputSchema: { type: "object", properties } }
    )),
  }))
  .method("tools/call", async (params: { name: string; arguments: never }, request) => {
    const tool = Object.hasOwn(tools, params.name) ? tools[params.name] : undefined;
    if (!tool) throw new RpcInvalidParamsError({ data: `No tool "${params.name}"` });
    return { content: [{ type: "text", text: String(await tool.run(params.arguments, request)) }] };
  });

if (process.argv.includes("--http")) {
  rpc.use(mcpSessions(rpc, VERSIONS));
  const port = Number(process.env.PORT ?? 8080);
  const server = await serve(rpc, { port, hostname: "127.0.0.1" });
  console.log(`LISTENING ${server.url}`);
} else {
  await serveStdio(rpc, { framing: "newline" }).closed;
}
