/**
 * The client as an editor: it drives a language server that was written on vscode-jsonrpc.
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { JsonRpcClient } from "@x/jsonrpc";
import type { RpcRequest } from "@x/jsonrpc";
import { lsp, withDialect } from "@x/jsonrpc/dialect";
import { spawned } from "@x/jsonrpc/stdio";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { needs } from "../helpers/needs.ts";
import { runtime } from "../helpers/runtimes.ts";

interface Report {
  readonly kind: string;
  readonly percentage: number;
}

for (const name of ["deno", "bun", "node"] as const) {
  test(
    `the client drives a language server on vscode-jsonrpc, on ${name}`,
    await needs(name),
    async () => {
      const [program, ...flags] = (await runtime(name)).command;
      const server = spawned([program, ...flags, "tests/programs/vscode_language_server.ts"], {
        framing: "content-length",
        cwd: fileURLToPath(new URL("../..", import.meta.url)),
        logger: silentLog(),
      });
      const logger = silentLog();
      await using client = new JsonRpcClient(withDialect(server, lsp), {
        logger,
        reconnect: false,
      });
      const progress: unknown[] = [];
      const traces: unknown[] = [];
      const log: unknown[] = [];
      client.method("$/progress", (params: unknown) => void progress.push(params));
      client.method("$/logTrace", (params: unknown) => void traces.push(params));
      client.method("window/workDoneProgress/create", (params: unknown) => {
        log.push(params);
        return null;
      });
      client.method("workspace/applyEdit", async (_params: unknown, { signal }: RpcRequest) => {
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        log.push("withdrawn");
        return { applied: false };
      });
      await client.connect();
      assertEquals(await client.call("initialize", { processId: null, capabilities: {} }), {
        capabilities: { executeCommandProvider: {} },
      });
      client.notify("initialized", {});
      const run = (command: string, more: object = {}, options: object = {}): Promise<unknown> => {
        return client.call("workspace/executeCommand", { command, ...more }, options);
      };

      assertEquals(await run("quick"), "done");
      client.notify("$/setTrace", { value: "messages" });
      assertEquals(await run("quick"), "done");
      client.notify("$/setTrace", { value: "off" });
      assertEquals(await run("quick"), "done");
      assertEquals(traces, [{ message: "quick" }]);

      // Progress of a call, which the client then cancels.
      const controller = new AbortController();
      const reports: Report[] = [];
      const counting = run("count", {}, {
        signal: controller.signal,
        onProgress(report: Report) {
          reports.push(report);
          if (reports.length === 3) controller.abort(new Error("enough"));
        },
      });
      await assertRejects(() => counting, Error, "enough");
      assertEquals(reports.map(({ percentage }) => percentage), [0, 1, 2]);
      assertEquals(await run("quick"), "done");
      // What the server reports after it was cancelled goes to the handler of other progress, if anywhere.
      assert(progress.every((each) => (each as { value: Report }).value.kind === "report"));
      progress.length = 0;

      // A token of the caller's own: a result in parts.
      assertEquals(await run("partial", { partialResultToken: "p1" }), [3]);
      assertEquals(progress.splice(0), [{ token: "p1", value: [1, 2] }]);

      // Progress that the server began, and that the user stops.
      const indexing = run("index");
      await until(() => progress.length === 1);
      assertEquals(log.splice(0), [{ token: "indexing" }]);
      client.notify("window/workDoneProgress/cancel", { token: "indexing" });
      await indexing;
      assertEquals(progress.splice(0), [
        { token: "indexing", value: { kind: "begin", title: "Indexing" } },
        { token: "indexing", value: { kind: "end" } },
      ]);

      // The server withdraws its question.
      assertEquals(await run("edit"), -32800);
      assertEquals(log, ["withdrawn"]);

      const closed = new Promise((resolve) => client.addEventListener("close", resolve));
      assertEquals(await client.call("shutdown"), null);
      client.notify("exit");
      await closed;
    },
  );
}
