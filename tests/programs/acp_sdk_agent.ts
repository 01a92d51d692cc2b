/**
 * An agent as it is written on the official SDK of ACP. What a prompt says is what it does.
 */
import { agent, ndJsonStream, RequestError } from "@agentclientprotocol/sdk";
import process from "node:process";
import { Readable, Writable } from "node:stream";

const turns = new Map<string, AbortController>();

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

const app = agent({ name: "official" })
  .onRequest("initialize", ({ params }) => ({
    protocolVersion: params.protocolVersion,
    agentInfo: { name: "official", version: "1.0.0" },
    agentCapabilities: { loadSession: false },
    authMethods: [],
  }))
  .onRequest("session/new", ({ params }) => {
    turns.set(params.cwd, new AbortController());
    return { sessionId: params.cwd };
  })
  .onNotification("session/cancel", ({ params }) => turns.get(params.sessionId)?.abort())
  .onRequest("session/prompt", async ({ params: { sessionId, prompt }, client, signal }) => {
    const turn = new AbortController();
    turns.set(sessionId, turn);
    const say = (text: string) =>
      client.notify("session/update", {
        sessionId,
        update: { sessionUpdate: "agent_message_chunk", content: { type: "text", text } },
      });
    const [block] = prompt;
    const text = block?.type === "text" ? block.text : "";
    const ask = (cancellationSignal?: AbortSignal) =>
      client.request("session/request_permission", {
        sessionId,
        toolCall: { toolCallId: "call-1", title: "Delete everything" },
        options: [
          { optionId: "yes", name: "Allow", kind: "allow_once" },
          { optionId: "no", name: "Reject", kind: "reject_once" },
        ],
      }, cancellationSignal && { cancellationSignal });
    if (text === "permit") {
      const { outcome } = await ask();
      await say(outcome.outcome === "selected" ? outcome.optionId : outcome.outcome);
    } else if (text === "change your mind") {
      const controller = new AbortController();
      setTimeout(() => controller.abort(), 20);
      const code = await ask(controller.signal).catch((error: { code?: number }) => error.code);
      await say(String(code));
    } else if (text === "read") {
      const { content } = await client.request("fs/read_text_file", { sessionId, path: "/a.txt" });
      await say(content);
    } else if (text === "many") {
      for (let n = 0; n < 1000; n++) await say(`${n} `);
    } else if (text === "fail") {
      throw RequestError.invalidParams({ reason: "no" });
    } else {
      await say("waiting");
      await Promise.race([aborted(turn.signal), aborted(signal)]);
      if (signal.aborted) {
        // What an editor sees of a call that it has cancelled.
        await client.notify("_cancelled", { sessionId });
        signal.throwIfAborted();
      }
      return { stopReason: "cancelled" };
    }
    return { stopReason: "end_turn" };
  });

const connection = app.connect(ndJsonStream(
  Writable.toWeb(process.stdout) as WritableStream<Uint8Array>,
  Readable.toWeb(process.stdin) as unknown as ReadableStream<Uint8Array>,
));
await connection.closed;
