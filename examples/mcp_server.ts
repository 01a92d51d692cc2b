/**
 * A server of the Model Context Protocol with one tool, for agents: over standard input and output, or over
 * HTTP (Streamable HTTP) with `--http`.
 *
 *     deno run -A examples/mcp_server.ts
 *     deno run -A examples/mcp_server.ts --http
 */
import process from "node:process";
import { JsonRpc, RpcInvalidParamsError } from "@x/jsonrpc";
import { serve } from "@x/jsonrpc/node";
import { serveStdio } from "@x/jsonrpc/stdio";

const VERSIONS = ["2025-06-18", "2025-03-26"];

const tools = {
  add: {
    description: "Adds two numbers",
    inputSchema: {
      type: "object",
      properties: { a: { type: "number" }, b: { type: "number" } },
      required: ["a", "b"],
    },
    run: ({ a, b }: { a: number; b: number }) => a + b,
  },
};

const rpc = new JsonRpc({ separator: "/" })
  .method("initialize", ({ protocolVersion }: { protocolVersion: string }) => ({
    protocolVersion: VERSIONS.includes(protocolVersion) ? protocolVersion : VERSIONS[0],
    capabilities: { tools: {} },
    serverInfo: { name: "calculator", version: "1.0.0" },
  }))
  .method("ping", () => ({}))
  .method("notifications/initialized", () => {})
  .method("tools/list", () => ({
    tools: Object.entries(tools).map(([name, { description, inputSchema }]) => (
      { name, description, inputSchema }
    )),
  }))
  .method("tools/call", ({ name, arguments: given }: { name: string; arguments: never }) => {
    if (!Object.hasOwn(tools, name)) throw new RpcInvalidParamsError({ data: `No tool "${name}"` });
    const result = tools[name as keyof typeof tools].run(given);
    return { content: [{ type: "text", text: String(result) }] };
  });

if (process.argv.includes("--http")) {
  const port = Number(process.env.PORT ?? 8080);
  const server = await serve(rpc, { port, hostname: "127.0.0.1" });
  console.log(`LISTENING ${server.url}`);
} else {
  await serveStdio(rpc, { framing: "newline" }).closed;
}
