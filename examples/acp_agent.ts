/**
 * An agent of the Agent Client Protocol, as editors start them: it says each word of a prompt back, and asks
 * before it writes a file.
 *
 *     deno run -A examples/acp_agent.ts
 *
 * @see {@link https://agentclientprotocol.com}
 */
import { JsonRpc, RpcInvalidParamsError } from "@x/jsonrpc";
import { acp } from "@x/jsonrpc/dialect";
import { serveStdio } from "@x/jsonrpc/stdio";

interface Prompt {
  readonly sessionId: string;
  readonly prompt: readonly { readonly type: string; readonly text?: string }[];
}

/** The turns that run, by their session: `session/cancel` ends them. */
const sessions = new Map<string, AbortController>();

const rpc = new JsonRpc({ separator: "/", dialect: acp })
  .method("initialize", () => ({
    protocolVersion: 1,
    agentCapabilities: { loadSession: false },
    agentInfo: { name: "parrot", version: "1.0.0" },
    authMethods: [],
  }))
  .method("session/new", () => {
    const sessionId = crypto.randomUUID();
    sessions.set(sessionId, new AbortController());
    return { sessionId };
  })
  .method("session/prompt", async ({ sessionId, prompt }: Prompt, request) => {
    if (!sessions.has(sessionId)) throw new RpcInvalidParamsError({ data: "No such session" });
    const turn = new AbortController();
    sessions.set(sessionId, turn);
    // The editor cancels the turn, or the call itself.
    const signal = AbortSignal.any([turn.signal, request.signal]);
    const text = prompt.map((block) => block.text ?? "").join(" ");
    if (text.startsWith("write ")) {
      const path = text.slice("write ".length);
      await request.call("fs/write_text_file", { sessionId, path, content: "Hello\n" });
    }
    for (const word of text.split(" ")) {
      if (signal.aborted) return { stopReason: "cancelled" };
      const content = { type: "text", text: `${word} ` };
      const update = { sessionUpdate: "agent_message_chunk", content };
      request.notify("session/update", { sessionId, update });
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return { stopReason: "end_turn" };
  })
  .method("session/cancel", ({ sessionId }: { sessionId: string }) => {
    sessions.get(sessionId)?.abort();
  });

await serveStdio(rpc).closed;
