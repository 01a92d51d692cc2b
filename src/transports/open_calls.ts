/**
 * The calls that pass through a bridge and are not answered yet.
 *
 * @module
 */

import { isResponse } from "../protocol/message.ts";
import type { Message } from "../protocol/message.ts";

/** The calls of one side. Texts that are no JSON are left to the ends of the bridge. */
export class OpenCalls {
  readonly #ids = new Set<unknown>();

  /** How many are not answered. */
  get size(): number {
    return this.#ids.size;
  }

  /** Notes the calls in a text of the side that makes them. */
  note(text: string): void {
    for (const { method, id } of messagesIn(text)) {
      if (method === undefined || id === undefined) continue;
      this.#ids.add(id);
      // A program may forget calls that nobody answers; so must the bridge.
      if (this.#ids.size > MAX_IDS) this.#ids.delete(this.#ids.values().next().value);
    }
  }

  /** Notes the answers in a text of the other side. */
  settle(text: string): void {
    if (this.#ids.size === 0) return;
    for (const message of messagesIn(text)) if (isResponse(message)) this.#ids.delete(message.id);
  }
}

function messagesIn(text: string): readonly Message[] {
  try {
    const parsed: unknown = JSON.parse(text);
    const messages: readonly unknown[] = Array.isArray(parsed) ? parsed : [parsed];
    return messages.filter((each): each is Message => typeof each === "object" && each !== null);
  } catch {
    return [];
  }
}

const MAX_IDS = 100_000;
