/**
 * The client as an editor: it drives an agent that was written on the official SDK of ACP.
 */
import { assertEquals, assertRejects } from "@std/assert";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { JsonRpcClient } from "@x/jsonrpc";
import type { RpcRequest } from "@x/jsonrpc";
import { acp, withDialect } from "@x/jsonrpc/dialect";
import { spawned } from "@x/jsonrpc/stdio";
import { until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { needs } from "../helpers/needs.ts";
import { runtime } from "../helpers/runtimes.ts";

interface Update {
  readonly update: { readonly sessionUpdate: string; readonly content: { readonly text: string } };
}

interface Permission {
  readonly options: readonly { readonly optionId: string; readonly kind: string }[];
}

for (const name of ["deno", "bun", "node"] as const) {
  test(
    `the client drives an agent on the official SDK of ACP, on ${name}`,
    await needs(name),
    async () => {
      const [program, ...flags] = (await runtime(name)).command;
      const command = [program, ...flags, "tests/programs/acp_sdk_agent.ts"] as const;
      const cwd = fileURLToPath(new URL("../..", import.meta.url));
      const logger = silentLog();
      await using client = new JsonRpcClient(withDialect(spawned(command, { cwd, logger }), acp), {
        logger,
      });
      let said = "";
      let asked = 0;
      const log: unknown[] = [];
      client.method("session/update", ({ update }: Update) => void (said += update.content.text));
      client.method(
        "fs/read_text_file",
        ({ path }: { path: string }) => ({ content: `<${path}>` }),
      );
      client.method(
        "_cancelled",
        ({ sessionId }: { sessionId: string }) => void log.push(sessionId),
      );
      client.method(
        "session/request_permission",
        async ({ options }: Permission, { signal }: RpcRequest) => {
          if (++asked === 1) {
            const { optionId } = options.find(({ kind }) => kind === "allow_once") ?? {};
            return { outcome: { outcome: "selected", optionId } };
          }
          // The user thinks about it, until the agent asks no longer.
          await new Promise((resolve) => signal.addEventListener("abort", resolve));
          log.push("asks no longer");
          return { outcome: { outcome: "cancelled" } };
        },
      );
      await client.connect();
      const initialized = await client.call("initialize", {
        protocolVersion: 1,
        clientCapabilities: { fs: { readTextFile: true, writeTextFile: false } },
      }) as { agentInfo: { name: string } };
      assertEquals(initialized.agentInfo.name, "official");
      const session = await client.call("session/new", { cwd: "/work", mcpServers: [] });
      const { sessionId } = session as { sessionId: string };
      const prompt = (text: string, signal?: AbortSignal): Promise<unknown> => {
        said = "";
        const params = { sessionId, prompt: [{ type: "text", text }] };
        return client.call("session/prompt", params, signal && { signal });
      };

      assertEquals([await prompt("permit"), said], [{ stopReason: "end_turn" }, "yes"]);
      assertEquals([await prompt("read"), said], [{ stopReason: "end_turn" }, "</a.txt>"]);
      // What came before the answer is there with the answer, in order.
      await prompt("many");
      assertEquals(said, Array.from({ length: 1000 }, (_, n) => `${n} `).join(""));
      const refused = await assertRejects(() => prompt("fail")) as {
        code?: number;
        data?: unknown;
      };
      assertEquals([refused.code, refused.data], [-32602, { reason: "no" }]);

      // The agent withdraws its question.
      assertEquals([await prompt("change your mind"), said], [
        { stopReason: "end_turn" },
        "-32800",
      ]);
      assertEquals(log, ["asks no longer"]);

      // The editor ends the turn, as the protocol has it.
      const ended = prompt("wait");
      await until(() => said === "waiting");
      client.notify("session/cancel", { sessionId });
      assertEquals(await ended, { stopReason: "cancelled" });

      // The editor cancels the call itself.
      const controller = new AbortController();
      const cancelled = prompt("wait", controller.signal);
      await until(() => said === "waiting");
      controller.abort(new Error("enough"));
      await assertRejects(() => cancelled, Error, "enough");
      await until(() => log.includes("/work"));
      assertEquals([await prompt("read"), said], [{ stopReason: "end_turn" }, "</a.txt>"]);
    },
  );
}
