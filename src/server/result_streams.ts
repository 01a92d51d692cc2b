/**
 * Results that are streams. A client that asks for one by `rpc.stream` gets the items as notifications, never
 * more than it has granted credit for; any other caller gets them as one array.
 *
 * @module
 */

import { ErrorCode } from "../protocol/error_code.ts";
import { RpcError, RpcInvalidParamsError } from "../protocol/errors.ts";
import type { Limits } from "../protocol/limits.ts";
import { checkShape, RawJson } from "../protocol/message.ts";
import type { Connection } from "../core/connection.ts";
import { ANSWERED, REPLY, SETTLE } from "../core/internal.ts";
import type { Plugin } from "../core/plugin.ts";
import type { IncomingRequest } from "../core/request.ts";
import { abortRequest, afterAnswer, ServerRequest } from "../core/server_request.ts";
import type { ResponseSink, RpcRequest } from "../core/request.ts";
import { byteLength } from "../util/utf8.ts";
import { isStream, ItemReader } from "./item_reader.ts";
import type { MethodRegistry } from "./methods.ts";

/** The streams that the clients of one server read. */
export class ResultStreams {
  readonly #limits: Limits;
  readonly #methods: MethodRegistry;
  readonly #open = new Map<Connection, Map<number, Credit>>();

  /**
   * @param limits The limits that hold.
   * @param methods The methods whose results are streamed.
   */
  constructor(limits: Limits, methods: MethodRegistry) {
    this.#limits = limits;
    this.#methods = methods;
  }

  /** Makes the plugin with the methods that clients call. */
  plugin(): Plugin {
    return {
      name: "result streams",
      methods: {
        "rpc.stream": {
          document: {
            summary: "Calls a method whose result is a stream; items follow as rpc.item",
            structure: "by-name",
            params: [
              { name: "method", required: true, schema: { type: "string" } },
              { name: "params", schema: {} },
              { name: "token", required: true, schema: { type: "integer" } },
              { name: "credit", required: true, schema: COUNT },
            ],
            result: { type: "object", properties: { result: {} } },
          },
          handler: (params: unknown, request: RpcRequest) =>
            this.#run(params, request as IncomingRequest),
          socketOnly: true,
        },
        "rpc.credit": {
          document: {
            summary: "Lets a stream send more items",
            structure: "by-name",
            params: [
              { name: "token", required: true, schema: { type: "integer" } },
              { name: "credit", required: true, schema: COUNT },
            ],
            result: { type: "null" },
          },
          handler: (params: unknown, { connection }: RpcRequest) => this.#grant(params, connection),
          socketOnly: true,
        },
      },
      onUserChange: (connection) => {
        for (const { call } of this.#open.get(connection)?.values() ?? []) {
          if (!this.#methods.admits(call.method, connection)) abortRequest(call, FORBIDDEN);
        }
      },
    };
  }

  /** Calls the method, and answers when all items were sent: `{}`, or `{ result }` if it was no stream. */
  async #run(params: unknown, request: IncomingRequest): Promise<{ result?: unknown }> {
    const { token, credit, ...message } = parse(params);
    const { connection } = request;
    const open = this.#open.get(connection) ?? new Map<number, Credit>();
    if (open.has(token)) throw new RpcInvalidParamsError({ data: "The token is in use" });
    const call = innerCall(message, request);
    const stream = new Credit(call, credit);
    this.#open.set(connection, open.set(token, stream));
    try {
      const method = this.#methods.find(call.method);
      const invalid = method.scalarParams ? undefined : checkShape(call.params);
      if (invalid !== undefined) throw invalid;
      const result = await method.invoke(call.params, call);
      if (!isStream(result)) return { result: result ?? null };
      await this.#send(result, stream, token);
      return {};
    } finally {
      open.delete(token);
      if (open.size === 0) this.#open.delete(connection);
    }
  }

  async #send(items: AsyncIterable<unknown>, credit: Credit, token: number): Promise<void> {
    const { connection, signal } = credit.call;
    const reader = new ItemReader(items, signal);
    try {
      for (let sent = 1;; sent++) {
        if (!credit.take()) await reader.wait((go) => credit.whenGranted(go));
        const { done, value } = await reader.next();
        if (done) return reader.ended();
        connection.notify("rpc.item", { token, value: value ?? null });
        // A stream that never waits must not block other work.
        if (sent % ITEMS_PER_TURN === 0) await reader.wait((go) => setTimeout(go));
        while (connection.bufferedAmount > this.#limits.maxBufferedBytes / 2) {
          await reader.wait((go) => setTimeout(go, SLOW_MS));
        }
      }
    } finally {
      reader.close();
    }
  }

  #grant(params: unknown, connection: Connection): void {
    const { token, credit } = (params ?? {}) as { token: number; credit: unknown };
    if (!isCount(credit)) throw new RpcInvalidParamsError({ data: CREDIT });
    this.#open.get(connection)?.get(token)?.add(credit);
  }
}

/**
 * Reads a stream for a caller that did not ask for one.
 *
 * @param items The stream. It is ended if the caller leaves, or if its items are too long.
 * @param request The call.
 * @param maxBytes How many bytes the items may have together.
 * @returns The items as an array.
 * @throws {RpcError} If they are longer.
 */
export async function collect(
  items: AsyncIterable<unknown>,
  { signal }: RpcRequest,
  maxBytes: number,
): Promise<RawJson> {
  const reader = new ItemReader(items, signal);
  const texts: string[] = [];
  let bytes = 0;
  try {
    for (;;) {
      const { done, value } = await reader.next();
      if (done) break;
      const text = JSON.stringify(value) ?? "null";
      bytes += byteLength(text) + 1;
      if (bytes > maxBytes) throw tooLong(maxBytes);
      texts.push(text);
    }
    reader.ended();
    return new RawJson(`[${texts.join()}]`);
  } finally {
    reader.close();
  }
}

function tooLong(maxBytes: number): RpcError {
  return new RpcError(
    ErrorCode.responseTooBig,
    `Response is over ${maxBytes} bytes (maxMessageBytes): read it with stream()`,
  );
}

/** How many items a client still takes of one stream. */
class Credit {
  /** The call that gives the stream. */
  readonly call: IncomingRequest;
  #left: number;
  #granted: (() => void) | undefined;

  constructor(call: IncomingRequest, credit: number) {
    this.call = call;
    this.#left = credit;
  }

  /** Uses up one; `false` if there is none. */
  take(): boolean {
    if (this.#left === 0) return false;
    this.#left--;
    return true;
  }

  /** Calls back when one is granted, which is then used up. */
  whenGranted(go: () => void): void {
    this.#granted = go;
  }

  add(credit: number): void {
    this.#left += credit;
    const granted = this.#granted;
    this.#granted = undefined;
    if (granted === undefined) return;
    this.#left--;
    granted();
  }
}

interface StreamParams {
  readonly method: string;
  readonly params: unknown;
  readonly token: number;
  readonly credit: number;
}

function parse(params: unknown): StreamParams {
  const { method, params: inner, token, credit } = (params ?? {}) as Partial<StreamParams>;
  if (typeof method !== "string") {
    throw new RpcInvalidParamsError({ data: "Expected `method` to be a text" });
  }
  if (!Number.isSafeInteger(token)) {
    throw new RpcInvalidParamsError({ data: "Expected `token` to be a whole number" });
  }
  if (!isCount(credit)) throw new RpcInvalidParamsError({ data: CREDIT });
  return { method, params: inner ?? undefined, token: token as number, credit };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0;
}

/** The call of the method itself, as its guards and its handler see it. It ends with the outer call. */
function innerCall(
  { method, params }: Pick<StreamParams, "method" | "params">,
  request: IncomingRequest,
): IncomingRequest {
  const { connection, id } = request;
  const message = { jsonrpc: "2.0", method, params, ...id !== undefined && { id } } as const;
  const call = new ServerRequest(connection, message, NOWHERE, 0);
  const { signal } = request;
  if (signal.aborted) abortRequest(call, signal.reason);
  else signal.addEventListener("abort", () => abortRequest(call, signal.reason), { once: true });
  afterAnswer(request, (succeeded) => {
    call[SETTLE](succeeded, undefined);
    call[ANSWERED]();
  });
  return call;
}

const NOWHERE: ResponseSink = { [REPLY]() {} };
const COUNT = { type: "integer", minimum: 1 };
const CREDIT = "Expected `credit` to be a whole number from 1";
const FORBIDDEN = new RpcError(
  ErrorCode.requestCancelled,
  "Stream ended: the user may not have it",
);
// Items that one stream may send before other work gets its turn.
const ITEMS_PER_TURN = 64;
// How often to look whether a slow peer has read on.
const SLOW_MS = 50;
