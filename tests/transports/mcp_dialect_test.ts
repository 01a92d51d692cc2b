/**
 * The dialect of the Model Context Protocol between this package and the protocol's official SDK: cancelling and
 * progress, for calls of either side, with the SDK as the client and as the server.
 */
import { assertEquals, assertRejects } from "@std/assert";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import {
  CallToolRequestSchema,
  CreateMessageRequestSchema,
} from "@modelcontextprotocol/sdk/types.js";
import { test } from "node:test";
import { connect, JsonRpc } from "@x/jsonrpc";
import { mcp, withDialect } from "@x/jsonrpc/dialect";
import { linkedSockets } from "@x/jsonrpc/testing";
import type { LinkedSocket } from "@x/jsonrpc/testing";
import { socketTransport } from "../../src/core/web_socket_channel.ts";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";

const INFO = { name: "test", version: "1.0.0" };
const MESSAGE = { role: "assistant", model: "m", content: { type: "text", text: "hi" } } as const;
const ASK = { messages: [], maxTokens: 10 };

/** What the SDK takes as a transport. Deno does not see the SDK's own types. */
interface SdkTransport {
  /** All messages that it got. */
  readonly received: unknown[];
  start(): Promise<void>;
  send(message: unknown): Promise<void>;
  close(): Promise<void>;
  onmessage?: (message: unknown) => void;
  onclose?: () => void;
}

interface Progress {
  readonly progress: number;
}

function sdkTransport(socket: LinkedSocket): SdkTransport {
  const received: unknown[] = [];
  const transport: SdkTransport = {
    received,
    start: () => Promise.resolve(),
    send: (message) => Promise.resolve(socket.send(JSON.stringify(message))),
    close: () => Promise.resolve(socket.close()),
  };
  socket.addEventListener("message", ({ data }) => {
    const message = JSON.parse(String(data));
    received.push(message);
    transport.onmessage?.(message);
  });
  socket.addEventListener("close", () => transport.onclose?.());
  return transport;
}

interface Asked {
  readonly params: unknown;
  readonly request: {
    call(method: never, params: never, options: object): Promise<unknown>;
    progress(value: unknown): void;
    readonly signal: AbortSignal;
  };
}

/** Reports progress twice, and waits until it is cancelled if the caller asks for that. */
async function work({ params, request }: Asked, log: unknown[]): Promise<void> {
  const { arguments: { wait = false } = {} } = params as { arguments?: { wait?: boolean } };
  request.progress({ progress: 1, total: 2, message: "one" });
  request.progress({ progress: 2, total: 2 });
  if (!wait) return;
  await new Promise<void>((resolve) => request.signal.addEventListener("abort", () => resolve()));
  log.push("aborted");
}

/** A server of this package, and the SDK's client. */
async function sdkClient() {
  const log: unknown[] = [];
  const rpc = new JsonRpc({ dialect: mcp, separator: "/", logger: silentLog() })
    .method("initialize", ({ protocolVersion }: { protocolVersion: string }) => ({
      protocolVersion,
      capabilities: { tools: {} },
      serverInfo: INFO,
    }))
    .method("notifications/initialized", () => {})
    .method("ping", () => ({}))
    .method("tools/call", async (params: { name: string }, request) => {
      if (params.name === "ask") return { content: [], asked: await ask(request, log) };
      await work({ params, request: request as unknown as Asked["request"] }, log);
      return { content: [{ type: "text", text: "done" }] };
    });
  const [near, far] = linkedSockets();
  rpc.attach(far);
  const client = new Client(INFO, { capabilities: { sampling: {} } });
  const errors: unknown[] = [];
  client.onerror = (error: unknown) => errors.push(error);
  const transport = sdkTransport(near);
  await client.connect(transport);
  return { client, transport, log, errors };
}

/** Asks the client for a message, and cancels it with the first progress if it never ends. */
async function ask(request: unknown, log: unknown[]): Promise<unknown> {
  const controller = new AbortController();
  const call = (request as Asked["request"]).call("sampling/createMessage" as never, ASK as never, {
    signal: controller.signal,
    onProgress(value: unknown) {
      log.push(value);
      if ((value as { message?: string }).message === "cancel me") controller.abort();
    },
  });
  return await call.catch((error) => String(error));
}

/** What handlers of the SDK get beside the request. */
interface Extra {
  readonly signal: AbortSignal;
  readonly _meta?: { readonly progressToken?: string | number };
  sendNotification(notification: unknown): Promise<void>;
}

/** Reports progress as a handler of the SDK does. */
async function sdkProgress({ _meta, sendNotification }: Extra, params: object): Promise<void> {
  const progressToken = _meta?.progressToken;
  const notification = { method: "notifications/progress", params: { progressToken, ...params } };
  await sendNotification(notification);
}

async function sdkAborted({ signal }: Extra): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
}

test("the SDK's client gets progress of a server in the MCP dialect by onprogress", async () => {
  const { client, errors } = await sdkClient();
  const seen: unknown[] = [];
  const params = { name: "work", arguments: {} };
  await client.callTool(params, undefined, { onprogress: (value: unknown) => seen.push(value) });
  assertEquals(seen, [{ progress: 1, total: 2, message: "one" }, { progress: 2, total: 2 }]);
  // A call without a token gets none.
  await client.callTool(params);
  assertEquals(errors, []);
  await client.close();
});

test("a cancel of the SDK's client aborts the handler's signal, and gets no answer", async () => {
  const { client, transport, log, errors } = await sdkClient();
  const controller = new AbortController();
  const call = client.callTool({ name: "work", arguments: { wait: true } }, undefined, {
    signal: controller.signal,
    onprogress: ({ progress }: Progress) => progress === 2 && controller.abort("enough"),
  });
  await assertRejects(() => call, Error, "enough");
  await until(() => log.includes("aborted"));
  const answers = transport.received.length;
  // As the protocol says: whoever cancels wants no answer. Others get theirs.
  await client.ping();
  assertEquals([transport.received.length, errors], [answers + 1, []]);
  await client.close();
});

test("a server in the MCP dialect calls the SDK's client, gets its progress, and cancels", async () => {
  const { client, log, errors } = await sdkClient();
  let cancel = false;
  client.setRequestHandler(CreateMessageRequestSchema, async (_request: unknown, extra: Extra) => {
    await sdkProgress(extra, {
      progress: 1,
      message: cancel ? "cancel me" : "on",
    });
    if (cancel) {
      await sdkAborted(extra);
      log.push("the SDK has aborted");
    }
    return MESSAGE;
  });
  const asked = await client.callTool({ name: "ask", arguments: {} });
  assertEquals(asked["asked"], MESSAGE);
  assertEquals(log, [{ progress: 1, message: "on" }]);
  cancel = true;
  const cancelled = await client.callTool({ name: "ask", arguments: {} });
  assertEquals(String(cancelled["asked"]).includes("abort"), true);
  await until(() => log.includes("the SDK has aborted"));
  assertEquals(errors, []);
  await client.close();
});

interface Tool {
  readonly name: string;
  readonly arguments: { readonly cancel?: boolean; readonly wait?: boolean };
}

/** The SDK's server, and a client of this package. */
async function sdkServer() {
  const log: unknown[] = [];
  const server = new Server(INFO, { capabilities: { tools: {} } });
  const errors: unknown[] = [];
  server.onerror = (error: unknown) => errors.push(error);
  server.setRequestHandler(
    CallToolRequestSchema,
    async ({ params }: { params: Tool }, given: Extra) => {
      if (params.name === "ask") {
        const controller = new AbortController();
        const asked = server.createMessage(ASK, {
          signal: controller.signal,
          onprogress(value: Progress) {
            log.push(value);
            if (value.progress === 2 && params.arguments.cancel) controller.abort("enough");
          },
        });
        return { content: [], asked: await asked.catch(String) };
      }
      await sdkProgress(given, { progress: 1, total: 2 });
      if (params.arguments.wait) {
        await sdkAborted(given);
        log.push("the SDK has aborted");
      }
      return { content: [{ type: "text", text: "done" }] };
    },
  );
  const [near, far] = linkedSockets();
  await server.connect(sdkTransport(far));
  const client = await connect(withDialect(socketTransport(near), mcp), { logger: silentLog() });
  const wait = { value: false };
  client.method("sampling/createMessage", async (_params: unknown, request) => {
    const params = { arguments: { wait: wait.value } };
    await work({ params, request: request as unknown as Asked["request"] }, log);
    return MESSAGE;
  });
  await client.call("initialize", {
    protocolVersion: "2025-11-25",
    capabilities: { sampling: {} },
    clientInfo: INFO,
  });
  client.notify("notifications/initialized");
  return { client, server, log, errors, wait };
}

test("a client in the MCP dialect gets progress of the SDK's server, and its cancel arrives", async () => {
  const { client, server, log, errors } = await sdkServer();
  const seen: unknown[] = [];
  const params = { name: "work", arguments: {} };
  const done = await client.call("tools/call", params, { onProgress: (value) => seen.push(value) });
  assertEquals(done, { content: [{ type: "text", text: "done" }] });
  assertEquals(seen, [{ progress: 1, total: 2 }]);
  const controller = new AbortController();
  const call = client.call("tools/call", { name: "work", arguments: { wait: true } }, {
    signal: controller.signal,
    onProgress: () => controller.abort(new Error("enough")),
  });
  await assertRejects(() => call, Error, "enough");
  await until(() => log.includes("the SDK has aborted"));
  assertEquals(errors, []);
  await server.close();
  await client.close();
});

test("the SDK's server calls a client in the MCP dialect, gets its progress, and cancels", async () => {
  const { client, server, log, errors, wait } = await sdkServer();
  const asked = async (cancel: boolean) => {
    const params = { name: "ask", arguments: { cancel } };
    return (await client.call("tools/call", params) as { asked: unknown }).asked;
  };
  assertEquals(await asked(false), MESSAGE);
  assertEquals(log, [{ progress: 1, total: 2, message: "one" }, { progress: 2, total: 2 }]);
  wait.value = true;
  assertEquals(String(await asked(true)).includes("enough"), true);
  await until(() => log.includes("aborted"));
  await client.call("ping");
  assertEquals(errors, []);
  await server.close();
  await client.close();
});
