/**
 * Translates messages into a dialect of JSON-RPC and back.
 *
 * @module
 */

import { ErrorCode } from "../protocol/error_code.ts";
import { isRequest } from "../protocol/message.ts";
import { parseUntrusted } from "../protocol/untrusted.ts";

/** How a protocol on JSON-RPC names things. */
export interface Dialect {
  /** The notification that cancels a call. */
  readonly cancel: {
    /** Its method, such as `notifications/cancelled`. */
    readonly method: string;
    /** The member of its params that holds the id of the call. */
    readonly id: string;
    /**
     * Whether a call that was cancelled is answered all the same, with -32800. LSP and ACP want that, MCP
     * does not.
     *
     * @default {true}
     */
    readonly answered?: boolean;
  };
  /** The notification of progress, if the protocol has one. */
  readonly progress?: {
    /** Its method, such as `$/progress`. */
    readonly method: string;
    /** The member of its params that holds the token. */
    readonly token: string;
    /** The member that holds the value; without it, the members of the value stand beside the token. */
    readonly value?: string;
    /** Where the params of a call hold the token that the caller has chosen, such as `["_meta", "progressToken"]`. */
    readonly request: readonly string[];
  };
}

type Params = Record<string, unknown>;

interface Message {
  method?: unknown;
  id?: unknown;
  params?: unknown;
  error?: unknown;
}

/** Translates the messages of one connection. It parses only those that may have to change. */
export class Translator {
  readonly #dialect: Dialect;
  // The tokens that the other side has chosen, by the id of its call.
  readonly #tokens = new Map<unknown, unknown>();
  // Calls that the other side has cancelled, if it wants no answer to these.
  readonly #cancelled = new Set<unknown>();

  /** @param dialect What the other side speaks. */
  constructor(dialect: Dialect) {
    this.#dialect = dialect;
  }

  /** What this side sends; `undefined` if the other side must not get it. */
  out(text: string): string | undefined {
    const { progress } = this.#dialect;
    const mayCall = progress !== undefined && text.includes('"method"');
    const mayAnswer = this.#tokens.size > 0 || this.#cancelled.size > 0;
    if (!mayCall && !mayAnswer && !text.includes('"$/')) return text;
    return this.#each(text, (message) => {
      const { method, params, id } = message;
      if (method === "$/cancelRequest") return this.#cancelOut(params);
      if (method === "$/progress") return this.#progressOut(message);
      if (method === undefined) return this.#answerOut(message);
      if (id === undefined || progress === undefined) return message;
      return { ...message, params: withToken(params, progress.request, id) };
    });
  }

  /** What this side sends last: an answer, or a batch of them. No other call waits for its own. */
  last(text: string): string | undefined {
    return this.#cancelled.size === 0 ? text : this.out(text);
  }

  /** What the other side sends. */
  in(text: string): string {
    const { cancel, progress } = this.#dialect;
    const last = progress?.request.at(-1);
    // If progress has the same name on both sides, it must be known which tokens are ids of calls.
    const may = [cancel.method, progress?.method, last, progress?.method === "$/progress" && "id"];
    if (!may.some((name) => name && text.includes(`"${name}"`))) return text;
    return this.#each(text, (message) => {
      const { method, params, id } = message;
      if (method === cancel.method) return this.#cancelIn(at(params, [cancel.id]));
      if (progress === undefined) return message;
      if (method === progress.method) {
        return notification("$/progress", progressIn(params, progress));
      }
      if (id !== undefined && isRequest(message)) this.#note(id, at(params, progress.request));
      return message;
    }) ?? "";
  }

  /** Remembers the token of a call, until the call is answered. A batch that is refused never is. */
  #note(id: unknown, token: unknown): void {
    if (!isShort(id)) return;
    this.#tokens.delete(id);
    this.#tokens.set(id, isShort(token) ? token : undefined);
    if (this.#tokens.size <= MAX_TOKENS) return;
    for (const oldest of this.#tokens.keys()) return void this.#tokens.delete(oldest);
  }

  #cancelIn(id: unknown): Message {
    if (this.#dialect.cancel.answered === false && isShort(id)) {
      this.#cancelled.add(id);
      // The call may have been answered already: forget the oldest, so that this cannot grow for ever.
      for (const oldest of this.#cancelled) {
        if (this.#cancelled.size <= MAX_TOKENS) break;
        this.#cancelled.delete(oldest);
      }
    }
    return notification("$/cancelRequest", { id });
  }

  #answerOut(message: Message): Message | undefined {
    const { id, error } = message;
    this.#tokens.delete(id);
    const wasCancelled = this.#cancelled.delete(id);
    return wasCancelled && at(error, ["code"]) === ErrorCode.requestCancelled ? undefined : message;
  }

  #cancelOut(params: unknown): Message {
    const { method, id } = this.#dialect.cancel;
    return notification(method, { [id]: at(params, ["id"]) });
  }

  #progressOut(message: Message): Message | undefined {
    const { progress } = this.#dialect;
    const { token: id, value } = message.params as { token: unknown; value: unknown };
    const token = this.#tokens.get(id);
    // A notification of the program's own, for a token that it has agreed on.
    if (!this.#tokens.has(id) && progress?.method === message.method) return message;
    // A caller that has chosen no token wants no progress.
    if (progress === undefined || token === undefined) return undefined;
    const rest = progress.value === undefined
      ? asRecord(value, "progress")
      : { [progress.value]: value };
    return notification(progress.method, { [progress.token]: token, ...rest });
  }

  /** Translates a message, or those of a batch. What is no JSON, or too deep, is left as it is. */
  #each(text: string, translate: (message: Message) => Message | undefined): string | undefined {
    let parsed: unknown;
    try {
      // What is deeper would make the engine fail, or take seconds, when it is encoded again.
      parsed = parseUntrusted(text, MAX_DEPTH);
    } catch {
      return text;
    }
    let changed = false;
    const one = (message: Message): Message | undefined => {
      if (!isRecord(message)) return message;
      const translated = translate(message);
      if (translated !== message) changed = true;
      return translated;
    };
    const whole = Array.isArray(parsed)
      ? parsed.map(one).filter((each) => each !== undefined)
      : one(parsed as Message);
    if (!changed) return text;
    const isNothing = whole === undefined || (Array.isArray(whole) && whole.length === 0);
    return isNothing ? undefined : JSON.stringify(whole);
  }
}

function progressIn(params: unknown, progress: NonNullable<Dialect["progress"]>): Params {
  const { [progress.token]: token, ...rest } = isRecord(params) ? params : {};
  return { token, value: progress.value === undefined ? rest : rest[progress.value] };
}

function notification(method: string, params: Params): Message {
  return { jsonrpc: "2.0", method, params } as Message;
}

/** The params with the id of the call as token, unless they have a token or a place for none. */
function withToken(params: unknown, path: readonly string[], id: unknown): unknown {
  const [first = "", ...rest] = path;
  const given = params === undefined ? {} : params;
  if (!isRecord(given)) return given;
  const inner = given[first];
  if (rest.length > 0) return { ...given, [first]: withToken(inner, rest, id) };
  return inner === undefined ? { ...given, [first]: id } : given;
}

function at(params: unknown, path: readonly string[]): unknown {
  let value = params;
  for (const name of path) value = isRecord(value) ? value[name] : undefined;
  return value;
}

function asRecord(value: unknown, name: string): Params {
  return isRecord(value) ? value : { [name]: value };
}

function isRecord(value: unknown): value is Params {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Whether a value can be an id or a token that is worth its memory. Strangers choose them. */
function isShort(value: unknown): boolean {
  return typeof value === "number" || (typeof value === "string" && value.length <= 256);
}

// More calls than that are under way on no connection.
const MAX_TOKENS = 10_000;
// Recursion this deep fits the stack of every engine. The session has a limit of its own.
const MAX_DEPTH = 1000;
