/**
 * The option `dialect` of a server over POST: what a call sends in the events of its answer.
 */
import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { JsonRpc } from "@x/jsonrpc";
import { acp, lsp, mcp } from "@x/jsonrpc/dialect";
import type { Dialect } from "@x/jsonrpc/dialect";
import { trace } from "@x/jsonrpc/trace";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";

/** A server, and what it answers: its messages, and whether they came as events. */
function serverOf(dialect?: Dialect) {
  const log: unknown[] = [];
  const frames: unknown[] = [];
  const rpc = new JsonRpc({
    logger: silentLog(),
    trace: trace(({ direction, text }) => void (direction === "out" && frames.push(text))),
    ...dialect && { dialect },
  })
    .method("work", async (_params: unknown, request) => {
      request.progress({ progress: 1, total: 2 });
      await new Promise((resolve) => setTimeout(resolve, 1));
      request.progress({ progress: 2, total: 2 });
      return "done";
    })
    .method("tell", (_params: unknown, request) => {
      request.notify("notifications/message", { text: "hello" });
      return { method: "told" };
    })
    .method("wait", async (_params: unknown, { signal }) => {
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      log.push("aborted");
      signal.throwIfAborted();
    });
  return {
    log,
    frames,
    async post(message: unknown, accept = "application/json, text/event-stream") {
      const response = await rpc.fetch(
        new Request("http://localhost/rpc", {
          method: "POST",
          headers: { "content-type": "application/json", accept },
          body: typeof message === "string" ? message : JSON.stringify(message),
        }),
      );
      const text = await response.text();
      const isStream = response.headers.get("content-type") === "text/event-stream";
      const messages = isStream
        ? [...text.matchAll(/^data: (.*)$/gm)].map(([, data]) => JSON.parse(data as string))
        : text && JSON.parse(text);
      return { isStream, messages };
    },
  };
}

const call = (method: string, params: unknown = {}, id: unknown = 1) => ({
  jsonrpc: "2.0",
  method,
  params,
  id,
});
const notice = (method: string, params: unknown) => ({ jsonrpc: "2.0", method, params });
const answer = (result: unknown, id: unknown = 1) => ({ jsonrpc: "2.0", result, id });

const withMeta = (progressToken: unknown) => ({ _meta: { progressToken } });
const mcpProgress = (progressToken: unknown, progress: number) =>
  notice("notifications/progress", { progressToken, progress, total: 2 });

test("progress in the answer to a POST has the names of the dialect, and the caller's token", async () => {
  const { post, frames } = serverOf(mcp);
  for (const token of [7, "t", 0]) {
    assertEquals(await post(call("work", withMeta(token))), {
      isStream: true,
      messages: [mcpProgress(token, 1), mcpProgress(token, 2), answer("done")],
    });
  }
  // What the trace has is what was sent.
  assertEquals(JSON.parse(`${frames[0]}`), mcpProgress(7, 1));

  const { post: postLsp } = serverOf(lsp);
  const value = { progress: 1, total: 2 };
  const { messages } = await postLsp(call("work", { workDoneToken: "w" }));
  assertEquals(messages[0], notice("$/progress", { token: "w", value }));
});

test("a call by POST without a token, or in a dialect without progress, is answered with JSON", async () => {
  for (const dialect of [mcp, lsp, acp]) {
    const { post } = serverOf(dialect);
    const answered = await post(call("work"));
    assertEquals(answered, { isStream: false, messages: answer("done") });
  }
  const { post } = serverOf();
  assertEquals((await post(call("work"))).isStream, true);
});

test("other notifications pass as they are, with and without events", async () => {
  const { post } = serverOf(mcp);
  const told = answer({ method: "told" });
  assertEquals(await post(call("tell")), {
    isStream: true,
    messages: [notice("notifications/message", { text: "hello" }), told],
  });
  assertEquals(await post(call("tell"), "*/*"), { isStream: false, messages: told });
  assertEquals(await post(call("work", withMeta(1)), "application/json"), {
    isStream: false,
    messages: answer("done"),
  });
});

test("the calls of a batch by POST have tokens of their own", async () => {
  const { post } = serverOf(mcp);
  const { isStream, messages } = await post([
    call("work", withMeta("a"), 1),
    call("work", withMeta("b"), 2),
    call("work", {}, 3),
  ]);
  assertEquals(isStream, true);
  assertEquals(messages, [
    mcpProgress("a", 1),
    mcpProgress("b", 1),
    mcpProgress("a", 2),
    mcpProgress("b", 2),
    [answer("done", 1), answer("done", 2), answer("done", 3)],
  ]);
});

test("a call that its own batch cancels gets the answer that the dialect wants", async () => {
  const cancelled = { code: -32800, message: "Request cancelled" };
  for (
    const [dialect, params, isAnswered] of [
      [mcp, { requestId: 1 }, false],
      [lsp, { id: 1 }, true],
      [acp, { requestId: 1 }, true],
    ] as const
  ) {
    const { post, log } = serverOf(dialect);
    const cancel = notice(dialect.cancel.method, params);
    const error = { jsonrpc: "2.0", error: cancelled, id: 1 };
    const { messages: one } = await post([call("wait"), cancel]);
    assertEquals(one, isAnswered ? [error] : "");
    const { messages } = await post([call("wait"), cancel, call("work", {}, 2)]);
    assertEquals(messages, isAnswered ? [error, answer("done", 2)] : [answer("done", 2)]);
    await until(() => log.length === 2);
    // A cancel that comes alone finds no call: another caller may have one of that id.
    assertEquals((await post(cancel)).messages, "");
  }
});

test("the limits of a message hold before it is translated", async () => {
  const { post } = serverOf(mcp);
  const deep = `{"jsonrpc":"2.0","method":"work","id":1,"params":{"_meta":{"progressToken":${
    "[".repeat(500) + "]".repeat(500)
  }}}}`;
  const { messages } = await post(deep);
  assertEquals([messages.error.code, messages.id], [-32700, null]);
  assertEquals((await post('{"progressToken"')).messages.error.code, -32700);
});
