/**
 * Answers to POSTs as server-sent events: progress and notifications of one call, then its answer.
 */
import { assertEquals, assertRejects } from "@std/assert";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";
import { JsonRpc, rawJson } from "@x/jsonrpc";
import type { JsonRpcOptions } from "@x/jsonrpc";
import { trace } from "@x/jsonrpc/trace";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { skipUnless } from "../helpers/needs.ts";
import { serveHere, serveOnNode } from "../helpers/server.ts";

const BOTH = "application/json, text/event-stream";

function serverOf(options: JsonRpcOptions = {}) {
  const aborted: unknown[] = [];
  const rpc = new JsonRpc({ logger: silentLog(), ...options })
    .method("add", ([a, b]: [number, number]) => a + b)
    .method("work", async ([steps]: [number], request) => {
      for (let step = 1; step <= steps; step++) {
        request.progress(step);
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      return "done";
    })
    .method("tell", (_params: unknown, request) => {
      request.notify("hello", ["you"]);
      return "told";
    })
    .method("fail", (_params: unknown, request) => {
      request.progress(1);
      throw new Error("Broken");
    })
    .method("wait", async (_params: unknown, request) => {
      request.signal.addEventListener("abort", () => aborted.push(request.method));
      request.progress("begun");
      await new Promise((resolve) => request.signal.addEventListener("abort", resolve));
    });
  return { rpc, aborted };
}

function post(url: string, body: unknown, accept = BOTH, init: RequestInit = {}) {
  return fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", accept },
    body: JSON.stringify(body),
    ...init,
  });
}

const call = (method: string, params: unknown, id = 1) => ({ jsonrpc: "2.0", method, params, id });

/** The messages of an event stream. */
async function messagesOf(response: Response): Promise<unknown[]> {
  const text = await response.text();
  return text.split("\n\n").filter((event) => event !== "" && event !== ":").map((event) => {
    const [name, data = ""] = event.split("\n");
    assertEquals(name, "event: message");
    return JSON.parse(data.slice("data: ".length));
  });
}

const progress = (value: unknown, token = 1) => ({
  jsonrpc: "2.0",
  method: "$/progress",
  params: { token, value },
});

for (const [where, serve] of [["this runtime", serveHere], ["./node", serveOnNode]] as const) {
  test(`a POST that accepts events gets progress, then the answer, on ${where}`, async () => {
    const { rpc } = serverOf();
    await using server = await serve(rpc);
    const response = await post(server.url, call("work", [3]));
    assertEquals(response.status, 200);
    assertEquals(response.headers.get("content-type"), "text/event-stream");
    assertEquals(response.headers.get("x-accel-buffering"), "no");
    assertEquals(await messagesOf(response), [
      progress(1),
      progress(2),
      progress(3),
      { jsonrpc: "2.0", result: "done", id: 1 },
    ]);
    await until(() => rpc.stats().requests === 0);
    assertEquals(rpc.stats().memoryBytes, 0);
  });

  test(`a reader of such an answer that leaves aborts the call, on ${where}`, async () => {
    const { rpc, aborted } = serverOf();
    await using server = await serve(rpc);
    const controller = new AbortController();
    const { signal } = controller;
    const response = await post(server.url, call("wait", []), BOTH, { signal });
    await response.body?.getReader().read();
    assertEquals(rpc.stats().requests, 1);
    controller.abort();
    await until(() => aborted.length === 1);
    await until(() => rpc.stats().requests === 0);
  });
}

test("a POST gets JSON if nothing comes before the answer, or if it does not name events", async () => {
  const { rpc } = serverOf();
  await using server = await serveHere(rpc);
  for (
    const [message, accept] of [
      [call("add", [1, 2]), BOTH],
      [call("work", [1]), "*/*"],
      [call("work", [1]), "application/json"],
      [call("work", [1]), "application/json, text/event-stream;q=0"],
      [call("tell", []), "text/*"],
    ] as const
  ) {
    const response = await post(server.url, message, accept);
    assertEquals(response.headers.get("content-type"), "application/json");
    assertEquals((await response.json()).id, 1);
  }
});

test("notifications of synchronous handlers, errors and batches come as events too", async () => {
  const { rpc } = serverOf();
  await using server = await serveHere(rpc);
  assertEquals(await messagesOf(await post(server.url, call("tell", []))), [
    { jsonrpc: "2.0", method: "hello", params: ["you"] },
    { jsonrpc: "2.0", result: "told", id: 1 },
  ]);
  assertEquals(await messagesOf(await post(server.url, call("fail", []))), [
    progress(1),
    { jsonrpc: "2.0", error: { code: -32603, message: "Internal error" }, id: 1 },
  ]);
  const batch = [call("add", [1, 2], 1), call("work", [1], 2)];
  assertEquals(await messagesOf(await post(server.url, batch)), [
    progress(1, 2),
    [{ jsonrpc: "2.0", result: 3, id: 1 }, { jsonrpc: "2.0", result: "done", id: 2 }],
  ]);
});

test("a reader that does not read is dropped, and its call aborted", async () => {
  const { rpc, aborted } = serverOf({ maxBufferedBytes: 10_000, heartbeatMs: 0 });
  rpc.method("flood", async (_params: unknown, request) => {
    request.signal.addEventListener("abort", () => aborted.push("flood"));
    while (!request.aborted) {
      request.progress("x".repeat(5000));
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  });
  const response = await rpc.fetch(
    new Request("http://localhost", {
      method: "POST",
      headers: { "content-type": "application/json", accept: BOTH },
      body: JSON.stringify(call("flood", [])),
    }),
  );
  await until(() => aborted.length === 1);
  await response.body?.cancel().catch(() => {});
  assertEquals([rpc.stats().requests, rpc.stats().memoryBytes], [0, 0]);
  await rpc.close();
});

test("the answer to a notification that takes too long ends with the method's timeoutMs", async () => {
  const { rpc } = serverOf();
  rpc.method("tell for ever", { timeoutMs: 20 }, (_params: unknown, request) => {
    request.notify("hello", []);
    return new Promise<void>(() => {});
  });
  await using server = await serveHere(rpc);
  const response = await post(server.url, { jsonrpc: "2.0", method: "tell for ever", params: [] });
  assertEquals(await messagesOf(response), [{ jsonrpc: "2.0", method: "hello", params: [] }]);
  await until(() => rpc.stats().requests === 0);
});

test("a server that closes waits for such an answer", async () => {
  const { rpc } = serverOf();
  await using server = await serveHere(rpc);
  const response = await post(server.url, call("work", [20]));
  const closed = rpc.close({ drainMs: 20_000 });
  assertEquals((await messagesOf(response)).at(-1), { jsonrpc: "2.0", result: "done", id: 1 });
  await closed;
});

test("a server that waits no longer ends such an answer", async () => {
  const { rpc, aborted } = serverOf();
  await using server = await serveHere(rpc);
  const response = await post(server.url, call("wait", []));
  const closed = rpc.close();
  assertEquals(await messagesOf(response), [progress("begun")]);
  await closed;
  assertEquals(aborted, ["wait"]);
});

test("an answer that nobody reads counts no more once the server is closed", async () => {
  for (const method of ["tell", "wait"]) {
    const { rpc } = serverOf();
    const response = await rpc.fetch(
      new Request("http://localhost", {
        method: "POST",
        headers: { "content-type": "application/json", accept: BOTH },
        body: JSON.stringify(call(method, [])),
      }),
    );
    assertEquals(rpc.stats().requests, 1);
    await rpc.close();
    assertEquals([rpc.stats().requests, rpc.stats().memoryBytes], [0, 0]);
    await assertRejects(() => response.text(), Error, "does not read (closing)");
  }
});

test("a silent answer has signs of life, and pages of other origins can read it", async () => {
  const { rpc } = serverOf({ heartbeatMs: 10, origins: ["https://app.example"] });
  rpc.method("slow", async (_params: unknown, request) => {
    request.progress(1);
    await new Promise((resolve) => setTimeout(resolve, 60));
  });
  await using server = await serveHere(rpc);
  const headers = {
    "content-type": "application/json",
    accept: BOTH,
    origin: "https://app.example",
  };
  const response = await post(server.url, call("slow", []), BOTH, { headers });
  assertEquals(response.headers.get("access-control-allow-origin"), "https://app.example");
  assertEquals((await response.text()).includes("\n\n:\n\n"), true);
});

test("an answer that is longer than maxBufferedBytes reaches a caller that reads", async () => {
  const { rpc } = serverOf({ maxBufferedBytes: 10_000 });
  rpc.method("long", (_params: unknown, request) => {
    request.progress(1);
    return "x".repeat(50_000);
  });
  await using server = await serveHere(rpc);
  const messages = await messagesOf(await post(server.url, call("long", [])));
  assertEquals(messages.length, 2);
  assertEquals((messages[1] as { result: string }).result.length, 50_000);
});

test("no text of a handler can make an event of its own, and a trace has each text whole", async () => {
  const traced: string[] = [];
  const { rpc } = serverOf({
    trace: trace(({ direction, text }) => direction === "out" && traced.push(text)),
  });
  const evil = "a\r\n\r\nevent: evil\ndata: {}\n\n\u2028b";
  rpc.method("inject", (_params: unknown, request) => {
    request.progress(evil);
    return rawJson('{\n\n"event":\r"raw"\r\n}');
  });
  await using server = await serveHere(rpc);
  const text = await (await post(server.url, call("inject", []))).text();
  const events = text.split("\n\n").filter((event) => event !== "").map((event) => {
    const [name, ...data] = event.split("\n");
    assertEquals(name, "event: message");
    return JSON.parse(data.map((line) => line.slice("data: ".length)).join("\n"));
  });
  const expected = [progress(evil), { jsonrpc: "2.0", result: { event: "raw" }, id: 1 }];
  assertEquals(events, expected);
  await until(() => traced.length === 2);
  assertEquals(traced.map((text) => JSON.parse(text)), expected);
});

const run = promisify(execFile);
const curl = await run("curl", ["--version"]).then(() => true, () => false);

test("curl reads the events", skipUnless(curl, "curl is not installed"), async () => {
  const { rpc } = serverOf();
  await using server = await serveHere(rpc);
  const headers = ["-H", "content-type: application/json", "-H", `accept: ${BOTH}`];
  const { stdout } = await run("curl", [
    ...["-sN", ...headers, "-d", JSON.stringify(call("work", [1])), server.url],
  ]);
  assertEquals(
    stdout,
    'event: message\ndata: {"jsonrpc":"2.0","method":"$/progress","params":{"token":1,"value":1}}\n\n' +
      'event: message\ndata: {"jsonrpc":"2.0","result":"done","id":1}\n\n',
  );
});
