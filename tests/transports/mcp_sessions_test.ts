/**
 * The sessions of examples/mcp_sessions.ts, with the official SDK of MCP as the client.
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { test } from "node:test";
import { JsonRpc } from "@x/jsonrpc";
import { mcp } from "@x/jsonrpc/dialect";
import type { RpcRequest } from "@x/jsonrpc";
import { mcpSessions } from "../../examples/mcp_sessions.ts";
import { deferred, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";

const VERSION = "2025-11-25";

function sessionServer() {
  const aborted: string[] = [];
  const rpc = new JsonRpc({ separator: "/", dialect: mcp, logger: silentLog() })
    .method("initialize", ({ clientInfo }: { clientInfo: { name: string } }, { connection }) => {
      connection.state.name = clientInfo.name;
      return {
        protocolVersion: VERSION,
        capabilities: { tools: { listChanged: true } },
        serverInfo: { name: "sessions", version: "1.0.0" },
      };
    })
    .method("notifications/initialized", () => {})
    .method("ping", () => ({}))
    .method("tools/call", async (params: { name: string }, request: RpcRequest) => {
      if (params.name === "wait") {
        request.progress({ progress: 1 });
        await new Promise((resolve) => request.signal.addEventListener("abort", resolve));
        aborted.push(`${request.connection.state.name}`);
        request.signal.throwIfAborted();
      }
      const answer = await request.call<{ action: string }>("elicitation/create", {
        message: "Which?",
        requestedSchema: { type: "object", properties: {} },
      });
      return { content: [{ type: "text", text: answer.action }] };
    });
  rpc.use(mcpSessions(rpc, [VERSION]));
  return { rpc, aborted };
}

type Fetches = Pick<JsonRpc, "fetch">;

const post = async (rpc: Fetches, body: string, headers = {}): Promise<Response> =>
  await rpc.fetch(
    new Request("http://localhost/mcp", {
      method: "POST",
      headers: {
        accept: "application/json, text/event-stream",
        "content-type": "application/json",
        ...headers,
      },
      body,
    }),
  );

const callText = (method: string, id: unknown, params: object = {}) =>
  JSON.stringify({ jsonrpc: "2.0", method, id, params });

async function sdkClient(rpc: Fetches, name: string) {
  const transport = new StreamableHTTPClientTransport(new URL("http://localhost/mcp"), {
    fetch: (url: URL | string, init?: RequestInit) =>
      Promise.resolve(rpc.fetch(new Request(url, init))),
  });
  const capabilities = { elicitation: {} };
  const client = new Client({ name, version: "1.0.0" }, { capabilities });
  const errors: unknown[] = [];
  client.onerror = (error: unknown) => void errors.push(error);
  await client.connect(transport);
  return { client, transport, errors };
}

async function beginSession(rpc: Fetches): Promise<string> {
  const response = await post(rpc, callText("initialize", 0, { clientInfo: { name: "raw" } }));
  assertEquals(response.status, 200);
  await response.text();
  return response.headers.get("mcp-session-id") as string;
}
const eventsIn = (text: string) =>
  [...text.matchAll(/^data: (.*)$/gm)].map(([, data]) => JSON.parse(data as string));

test("a cancel in a POST of its own reaches the call of its session alone", async () => {
  const { rpc, aborted } = sessionServer();
  const one = await sdkClient(rpc, "one");
  const two = await sdkClient(rpc, "two");
  const begun = [deferred<void>(), deferred<void>()];
  const [cancel, other] = [new AbortController(), new AbortController()];
  // Both calls have the same id.
  const calls = [one, two].map(({ client }, index) =>
    client.callTool({ name: "wait" }, undefined, {
      signal: (index === 0 ? cancel : other).signal,
      onprogress: () => begun[index]?.resolve(),
    })
  );
  const rejected = calls.map((call) => assertRejects(() => call, Error, "enough"));
  await Promise.all(begun.map(({ promise }) => promise));
  cancel.abort("enough");
  await until(() => aborted.length > 0);
  await rejected[0];
  await two.client.ping();
  assertEquals(aborted, ["one"]);
  other.abort("enough");
  await until(() => aborted.length > 1);
  await rejected[1];
  assertEquals([one.errors, two.errors], [[], []]);
  await one.client.close();
  await two.client.close();
  await rpc.close();
});

test("a tool asks the client, and the server notifies it by the events of a GET", async () => {
  const { rpc } = sessionServer();
  const { client, transport, errors } = await sdkClient(rpc, "one");
  const { ElicitRequestSchema, ToolListChangedNotificationSchema } = await import(
    "@modelcontextprotocol/sdk/types.js"
  );
  client.setRequestHandler(ElicitRequestSchema, () => ({ action: "decline" }));
  const { content } = await client.callTool({ name: "ask" });
  assertEquals(content, [{ type: "text", text: "decline" }]);
  const changed = deferred<void>();
  client.setNotificationHandler(ToolListChangedNotificationSchema, () => changed.resolve());
  for (const each of rpc.connections) each.notify("notifications/tools/list_changed");
  await changed.promise;
  await transport.terminateSession();
  assertEquals(rpc.connections.size, 0);
  assertEquals(errors, []);
  await client.close();
  await rpc.close();
});

test("unknown and ended sessions are answered with 404, and take their calls with them", async () => {
  const { rpc, aborted } = sessionServer();
  const session = await beginSession(rpc);
  const headers = { "mcp-session-id": session };
  const waiting = await post(rpc, callText("tools/call", 1, { name: "wait" }), headers);
  const again = await post(rpc, callText("ping", 1), headers);
  assertEquals(again.status, 400);
  const version = { ...headers, "mcp-protocol-version": "1999-01-01" };
  assertEquals((await post(rpc, callText("ping", 2), version)).status, 400);
  const url = "http://localhost/mcp";
  const gone = await rpc.fetch(new Request(url, { method: "DELETE", headers }));
  assertEquals(gone.status, 204);
  assertEquals(await waiting.text(), "");
  await until(() => aborted.length === 1);
  assertEquals((await post(rpc, callText("ping", 3), headers)).status, 404);
  const events = { ...headers, accept: "text/event-stream" };
  assertEquals((await rpc.fetch(new Request(url, { headers: events }))).status, 404);
  assertEquals((await rpc.fetch(new Request(url, { method: "DELETE", headers }))).status, 404);
  // Without a session the server answers as ever.
  const { result } = await (await post(rpc, callText("ping", 4))).json();
  assertEquals(result, {});
  await rpc.close();
});

test("what is no call is answered within a session too, and each id comes back as it was", async () => {
  const { rpc } = sessionServer();
  const headers = { "mcp-session-id": await beginSession(rpc) };
  for (const id of [1, "1", "", -1, 1.5, 2 ** 53 - 1, "ä\n"]) {
    const [{ id: given, result }] = eventsIn(
      await (await post(rpc, callText("ping", id), headers)).text(),
    );
    assertEquals([given, result], [id, {}]);
  }
  for (const [id, code] of [[{}, -32600], [[1], -32600], [true, -32600]] as const) {
    const [{ error }] = eventsIn(
      await (await post(rpc, callText("ping", id), headers)).text(),
    );
    assertEquals(error.code, code);
  }
  // With the id `null` it is a call whose answer has no id either.
  const [{ result }] = eventsIn(
    await (await post(rpc, callText("ping", null), headers)).text(),
  );
  assertEquals(result, {});
  for (const body of ["[]", "5", "{}", `[${callText("ping", 1)}]`]) {
    assertEquals((await post(rpc, body, headers)).status, 400);
  }
  const plain = { ...headers, accept: "application/json" };
  assertEquals((await post(rpc, callText("ping", 1), plain)).status, 406);
  await rpc.close();
});

test("what is for a client without a GET waits for it, and the server's end ends all", async () => {
  const { rpc } = sessionServer();
  const headers = { "mcp-session-id": await beginSession(rpc), accept: "text/event-stream" };
  for (const each of rpc.connections) each.notify("notifications/message", { data: "early" });
  const url = "http://localhost/mcp";
  const first = await rpc.fetch(new Request(url, { headers }));
  const second = await rpc.fetch(new Request(url, { headers }));
  assertEquals(eventsIn(await first.text()).map(({ params }) => params), [{ data: "early" }]);
  const rest = second.text();
  await rpc.close();
  assertEquals(await rest, "");
  assert((await post(rpc, callText("ping", 1), headers)).status === 503);
});
