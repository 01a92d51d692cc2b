/**
 * JSON-RPC over HTTP: one POST, one answer.
 *
 * @module
 */

import { readText } from "./body.ts";
import { Dispatcher } from "./dispatch.ts";
import type { DispatchHost } from "./dispatch.ts";
import { ErrorCode, RpcConnectionError, RpcError } from "./errors.ts";
import { errorText, parseMessage } from "./protocol.ts";
import { Connection } from "./request.ts";
import type { Handshake } from "./request.ts";

/**
 * Answers one POST: 200 with the answer, 200 without a body where there is none to give, 413 and
 * 415 for what is not taken.
 *
 * @param request The POST.
 * @param handshake What the checks at the door found.
 * @param host The methods and limits.
 */
export async function answerPost(
  request: Request,
  handshake: Handshake,
  host: DispatchHost,
): Promise<Response> {
  if (!isJson(request.headers.get("content-type"))) {
    return new Response("Expected content-type: application/json", { status: 415 });
  }
  const { maxMessageBytes, maxDepth } = host.limits;
  const text = await readText(request, maxMessageBytes);
  if (text === undefined) return tooBig(maxMessageBytes);
  let message: unknown;
  try {
    message = parseMessage(text, maxDepth);
  } catch (error) {
    return jsonResponse(errorText(null, error as RpcError));
  }
  const answer = await new Exchange(handshake, host).run(message);
  return answer === undefined ? new Response(null) : jsonResponse(answer);
}

/** The connection of one POST: it lasts until the answer. */
class Exchange extends Connection {
  readonly #host: DispatchHost;
  #open = true;

  constructor(handshake: Handshake, host: DispatchHost) {
    super(handshake, host.logger);
    this.#host = host;
  }

  override get isOpen(): boolean {
    return this.#open;
  }

  /** Runs the message, which may be a batch, and gives the text of its answer. */
  run(message: unknown): string | undefined | Promise<string | undefined> {
    let answer: string | undefined;
    let whenReplied: ((text: string | undefined) => void) | undefined;
    const reply = (text: string | undefined): void => {
      answer = text;
      this.close();
      whenReplied?.(text);
    };
    new Dispatcher(this.#host, this).handle(message, {
      reply(text, request) {
        reply(text);
        request?.answered();
      },
    });
    // Synchronous handlers have answered by now.
    if (!this.#open) return answer;
    return new Promise((resolve) => whenReplied = resolve);
  }

  override call<Result>(method: string): Promise<Result> {
    const message = `Cannot call "${method}": the caller came over HTTP, which has no way back`;
    return Promise.reject(new RpcConnectionError(message));
  }

  override notify(method: string): void {
    this.logger.debug(`Notification "${method}" dropped: the caller came over HTTP`);
  }

  override send(): void {}

  override close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.ended();
  }
}

function isJson(contentType: string | null): boolean {
  if (contentType === null) return false;
  const end = contentType.indexOf(";");
  const type = (end === -1 ? contentType : contentType.slice(0, end)).trim().toLowerCase();
  return type === "application/json" || type === "application/json-rpc" ||
    type === "application/jsonrequest";
}

function tooBig(maxBytes: number): Response {
  const error = new RpcError(
    ErrorCode.requestTooBig,
    `Request is over ${maxBytes} bytes (maxMessageBytes)`,
  );
  return new Response(errorText(null, error), { ...JSON_INIT, status: 413 });
}

function jsonResponse(text: string): Response {
  return new Response(text, JSON_INIT);
}

const JSON_INIT = { headers: { "content-type": "application/json" } };
