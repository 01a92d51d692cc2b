/**
 * JSON-RPC messages as tests write them.
 */
import { assert, assertEquals } from "@std/assert";
import type { Message as AnyMessage } from "../../src/protocol/message.ts";

/** The members of any message. */
export interface Message extends AnyMessage {
  readonly error?: { readonly code: number; readonly message: string; readonly data?: unknown };
}

/** Makes a request with an id. */
export function call(method: string, id: unknown, params?: unknown): Message {
  return { jsonrpc: "2.0", method, params, id };
}

/** Makes a notification. */
export function notice(method: string, params?: unknown): Message {
  return { jsonrpc: "2.0", method, params };
}

/** Makes the answer to a successful call; `null` is the result of a method that returns nothing. */
export function result(id: unknown, value: unknown = null): Message {
  return { jsonrpc: "2.0", result: value, id };
}

/** Makes the answer to a failed call, with the message that the specification gives. */
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

/** Asserts that a value is a valid JSON-RPC answer, or a batch of them; returns it. */
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

/** Gives the ids of a batch of answers. */
export function idsOf(answers: unknown): unknown[] {
  return (answers as Message[]).map(({ id }) => id);
}

/** Gives the error codes of a batch of answers; `undefined` for those with a result. */
export function codesOf(answers: unknown): (number | undefined)[] {
  return (answers as Message[]).map(({ error }) => error?.code);
}

/** Gives names of 250 characters, none twice. */
export function namesOf(count: number, start: string): string[] {
  return Array.from({ length: count }, (_, index) => `${start}x${index}`.padEnd(250, "x"));
}
