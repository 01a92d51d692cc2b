/**
 * JSON-RPC messages as tests write them.
 */
import { assert, assertEquals } from "@std/assert";
import type { Message as AnyMessage } from "../../src/protocol/message.ts";

/** Whatever a message may hold; an error, where it has one, is an error. */
export interface Message extends AnyMessage {
  readonly error?: { readonly code: number; readonly message: string; readonly data?: unknown };
}

/** A request with an id. */
export function call(method: string, id: unknown, params?: unknown): Message {
  return { jsonrpc: "2.0", method, params, id };
}

/** A request without one. */
export function notice(method: string, params?: unknown): Message {
  return { jsonrpc: "2.0", method, params };
}

/** The answer to a call that went well; `null` is what a method gives that has nothing to say. */
export function result(id: unknown, value: unknown = null): Message {
  return { jsonrpc: "2.0", result: value, id };
}

/** The answer to a call that did not, with the words of the specification. */
export function failure(id: unknown, code: keyof typeof MESSAGES): Message {
  return { jsonrpc: "2.0", error: { code, message: MESSAGES[code] }, id };
}

const MESSAGES = {
  [-32700]: "Parse error",
  [-32600]: "Invalid Request",
  [-32601]: "Method not found",
  [-32602]: "Invalid params",
  [-32603]: "Internal error",
  [-32800]: "Request cancelled",
};

/** Passes on what is a JSON-RPC answer to the letter, or a batch of such. */
export function checked<T>(answer: T): T {
  if (!Array.isArray(answer)) {
    checkOne(answer as Message);
    return answer;
  }
  assert(answer.length > 0, "answered an empty batch");
  answer.forEach(checkOne);
  return answer;
}

function checkOne(answer: Message): void {
  const { jsonrpc, id, error } = answer;
  assertEquals(jsonrpc, "2.0");
  assert(id === null || typeof id === "string" || typeof id === "number");
  const outcome = error === undefined ? "result" : "error";
  assertEquals(Object.keys(answer).sort(), ["id", "jsonrpc", outcome].sort());
  if (error === undefined) return;
  assert(Number.isInteger(error.code) && typeof error.message === "string");
  const { code: _code, message: _message, data: _data, ...more } = error;
  assertEquals(more, {});
}

/** The ids of a batch of answers. */
export function idsOf(answers: unknown): unknown[] {
  return (answers as Message[]).map(({ id }) => id);
}

/** The error codes of a batch of answers; `undefined` for those that went well. */
export function codesOf(answers: unknown): (number | undefined)[] {
  return (answers as Message[]).map(({ error }) => error?.code);
}
