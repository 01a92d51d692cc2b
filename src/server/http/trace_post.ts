/**
 * Tracing POSTs and their answers.
 *
 * @module
 */

import type { Trace } from "../../core/trace.ts";
import type { ServerContext } from "../context.ts";
import { answerBody } from "./answer_body.ts";

/** Answers a POST, and traces its body and its answer. */
export async function tracePost(
  { trace, budget }: Pick<ServerContext, "budget"> & { readonly trace: Trace },
  request: Request,
  answer: (request: Request) => Promise<Response>,
): Promise<Response> {
  const number = trace.next();
  const copy = request.clone();
  const response = await answer(request);
  // The body was read within its limit by now, unless it was refused.
  if (request.bodyUsed && response.status === 200) trace.frame("in", number, await copy.text());
  else await copy.body?.cancel();
  if (response.headers.get("content-type") === "text/event-stream") {
    return traceStream(response, (text) => trace.frame("out", number, text));
  }
  const text = response.body === null ? "" : await response.text();
  if (text === "") return response;
  trace.frame("out", number, text);
  const { status, headers } = response;
  // Not a clone of the response: its runtime would keep what its caller has not read.
  return new Response(answerBody(text, budget).body, { status, headers });
}

/** Traces the events of an answer as they are read. */
function traceStream({ body, status, headers }: Response, frame: (text: string) => void): Response {
  const decoder = new TextDecoder();
  const traced = body?.pipeThrough(
    new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
      transform(bytes, controller) {
        // Each chunk is one event, or a sign of life.
        const lines = decoder.decode(bytes).split("\n").filter((line) => line.startsWith("data: "));
        if (lines.length > 0) frame(lines.map((line) => line.slice(6)).join("\n"));
        controller.enqueue(bytes);
      },
    }),
  );
  return new Response(traced ?? null, { status, headers });
}
