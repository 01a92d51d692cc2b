/**
 * The calls that pass through a bridge and are not answered yet.
 *
 * @module
 */

import { isResponse } from "../protocol/message.ts";
import type { Message } from "../protocol/message.ts";

/** The calls of one side, by id. */
export class OpenCalls {
  // How many calls have each id: a program may use one again before it is answered.
  readonly #ids = new Map<unknown, number>();
  #size = 0;
  #characters = 0;

  /** How many are not answered. */
  get size(): number {
    return this.#size;
  }

  /**
   * Notes the calls in a text of the side that makes them.
   *
   * @param messages What {@linkcode messagesIn} found in it.
   */
  note(messages: readonly Message[] | undefined): void {
    // The answer to what is no JSON has the id null.
    if (messages === undefined) return this.#add(null);
    for (const { method, id } of messages) {
      if (method !== undefined && id !== undefined) this.#add(toId(id));
    }
  }

  /**
   * Notes the answers in a text of the other side.
   *
   * @param messages What {@linkcode messagesIn} found in it.
   */
  settle(messages: readonly Message[] | undefined): void {
    if (this.#size === 0) return;
    for (const message of messages ?? []) if (isResponse(message)) this.#remove(message.id);
  }

  #add(id: unknown): void {
    const count = this.#ids.get(id) ?? 0;
    this.#ids.set(id, count + 1);
    this.#size++;
    if (count === 0) this.#characters += lengthOf(id);
    // A program may forget calls that nobody answers; so must the bridge.
    while (this.#ids.size > MAX_IDS || this.#characters > MAX_CHARACTERS) {
      const [oldest, calls] = this.#ids.entries().next().value as [unknown, number];
      this.#size -= calls;
      this.#forget(oldest);
    }
  }

  #remove(id: unknown): void {
    const count = this.#ids.get(id);
    if (count === undefined) return;
    this.#size--;
    if (count > 1) this.#ids.set(id, count - 1);
    else this.#forget(id);
  }

  #forget(id: unknown): void {
    this.#ids.delete(id);
    this.#characters -= lengthOf(id);
  }
}

/**
 * The messages in a text: itself, or the entries of a batch.
 *
 * @param text The text.
 * @returns The messages; `undefined` if the text is not JSON, or is neither an object nor an array.
 */
export function messagesIn(text: string): readonly Message[] | undefined {
  try {
    const parsed: unknown = JSON.parse(text);
    if (!isObject(parsed)) return undefined;
    return Array.isArray(parsed) ? parsed.filter(isObject) : [parsed];
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Message {
  return typeof value === "object" && value !== null;
}

/** The id in the answer: that of a call whose id is neither a text nor a number is null. */
function toId(id: unknown): unknown {
  return typeof id === "string" || typeof id === "number" ? id : null;
}

function lengthOf(id: unknown): number {
  return typeof id === "string" ? id.length : 0;
}

const MAX_IDS = 100_000;
const MAX_CHARACTERS = 1024 * 1024;
