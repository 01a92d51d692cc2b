/**
 * Topics as server-sent events, for `EventSource` in browsers and for programs that only read.
 *
 * @see {@link https://html.spec.whatwg.org/multipage/server-sent-events.html}
 *
 * @module
 */

import type { Channel, Outgoing, Receiver, UpgradeContext } from "../../core/channel.ts";
import { textOf } from "../../core/channel.ts";
import { ErrorCode } from "../../protocol/error_code.ts";
import type { Message } from "../../protocol/message.ts";
import type { SubscribeAnswer } from "../../topics/subscribe.ts";
import { isWorkers } from "../../runtimes/workers.ts";
import { RecoveryText } from "../../topics/event.ts";
import { MAX_TIMER_MS } from "../../util/timer.ts";
import type { Timer } from "../../util/timer.ts";

/** The query of a request. Its URL may be invalid, since a Host header may be any text. */
export function searchOf({ url }: Request): URLSearchParams {
  const [, search = ""] = /\?([^#]*)/.exec(url) ?? [];
  return new URLSearchParams(search);
}

/**
 * Whether a request asks for an event stream.
 *
 * @param request The request.
 * @param search Its parsed query; `undefined` if it is no GET.
 */
export function isEventRequest(request: Request, search: URLSearchParams | undefined): boolean {
  return search?.has("topics") === true &&
    (request.headers.get("accept") ?? "").includes("text/event-stream");
}

/**
 * Refuses an event stream for now. `EventSource` never comes back after another status than 200, so this
 * is a stream that ends, and says when to come back.
 *
 * @param retryAfterMs Milliseconds until then.
 * @returns The response.
 * @see {@link https://html.spec.whatwg.org/multipage/server-sent-events.html#sse-processing-model}
 */
export function comeBackLater(retryAfterMs: number): Response {
  return new Response(`retry: ${Math.round(retryAfterMs)}\n\n`, { headers: HEADERS });
}

/**
 * Opens an event stream: a connection that only receives. `Last-Event-ID` recovers what it missed.
 *
 * @param request Names the topics, and with `last` how many kept events of each to begin with.
 * @param context Opens the connection.
 * @returns The stream; 404 if one of the topics does not exist for this peer, without saying which; 400
 * if no topic is named, or too many for `maxSubscriptions` or for an id, or if `last` is not a whole
 * number; 403, 429 or 503 if middleware around `subscribe` or the broker refuses.
 */
export function openEvents(
  request: Request,
  context: UpgradeContext,
): Response | Promise<Response> {
  const search = searchOf(request);
  const lists = search.getAll("topics");
  // A single `topics` is a list with commas; if it is repeated, each is one name, which may have commas.
  const topics = (lists.length === 1 ? (lists[0] as string).split(",") : lists)
    .filter((topic) => topic !== "");
  const lastEventId = request.headers.get("last-event-id") ?? search.get("lastEventId") ?? "";
  const channel = new EventChannel([...new Set(topics)]);
  return channel.open(context, new URLSearchParams(lastEventId), search.get("last") ?? "0");
}

/** Carries events to the peer. It drops messages that would need an answer. */
class EventChannel implements Channel {
  readonly oneWay = true;
  // A timer of the server would end with the request that set it.
  readonly watchesPeer = isWorkers();
  readonly #topics: readonly string[];
  readonly #body: ReadableStream<Uint8Array<ArrayBuffer>>;
  #controller!: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>;
  #receiver: Receiver | undefined;
  // The position of the peer in each topic, encoded: the parts of the next event id.
  readonly #positions = new Map<string, string>();
  readonly #response = Promise.withResolvers<Response>();
  #answered: Response | undefined;
  // What the runtime has not pulled yet. Not in the stream's own queue: that cannot be emptied without
  // an error.
  #queue: Uint8Array<ArrayBuffer>[] = [];
  #queuedBytes = 0;
  #whenWritten: (() => void) | undefined;
  #timer: Timer | undefined;
  #ending: readonly [code: number, reason: string] | undefined;
  #open = true;

  constructor(topics: readonly string[]) {
    this.#topics = topics;
    this.#body = new ReadableStream<Uint8Array<ArrayBuffer>>({
      start: (controller) => void (this.#controller = controller),
      pull: () => this.#pull(),
      cancel: () => this.#end(1001, "The reader is gone"),
    }, { highWaterMark: 0 });
  }

  get bufferedAmount(): number {
    return this.#queuedBytes;
  }

  /** Subscribes by a `subscribe` call, as any client does, so that middleware, guards and limits hold. */
  open(
    context: UpgradeContext,
    lastEventId: URLSearchParams,
    lastText: string,
  ): Response | Promise<Response> {
    const topics = this.#topics;
    // The call refuses -1.
    const count = /^\d+$/.test(lastText) ? Number(lastText) : -1;
    // A map, since each look into `URLSearchParams` reads all of them, and both lists may be long.
    const positions = new Map(lastEventId);
    const since = Object.fromEntries(
      topics.flatMap((topic) => positions.has(topic) ? [[topic, positions.get(topic)]] : []),
    );
    const receiver = this.#receiver = context.opened(this);
    const { heartbeatMs } = context;
    if (this.watchesPeer && heartbeatMs > 0 && heartbeatMs < MAX_TIMER_MS) {
      this.#timer = setInterval(() => this.ping(), heartbeatMs);
    }
    if (topics.length === 0) this.#refuse(400, "Expected `topics` to name topics");
    else {
      const last = Object.fromEntries(topics.map((topic) => [topic, count]));
      const params = { topics, recover: true, since, last };
      receiver.receive(JSON.stringify({ jsonrpc: "2.0", method: "subscribe", params, id: 0 }));
    }
    return this.#answered ?? this.#response.promise;
  }

  send(message: Outgoing): void {
    if (!this.#open || this.#ending !== undefined) return;
    if (message instanceof RecoveryText) return this.#event(message);
    const { method, params, id, result, error } = JSON.parse(textOf(message)) as Message;
    if (method === undefined) this.#answer(result as SubscribeAnswer | undefined, error);
    // A notification that a handler sends beside the topics.
    else if (id === undefined) {
      this.#write(block(lineOf(String(method)), JSON.stringify(params) ?? "null"));
    }
  }

  close(code: number, reason: string): void {
    if (!this.#open || this.#ending !== undefined) return;
    this.#respond(new Response("Closed", { status: 503 }));
    const [, retryAfterMs] = /^retry-after=(\d+)$/.exec(reason) ?? [];
    if (retryAfterMs !== undefined) this.#write(`retry: ${retryAfterMs}\n\n`);
    this.#ending = [code, reason];
    // A peer that does not read would never take the rest.
    if (code === 1013) this.terminate();
    else if (this.#whenWritten !== undefined) this.#whenWritten();
    else if (this.#queue.length === 0) queueMicrotask(() => this.terminate());
  }

  terminate(): void {
    if (!this.#open) return;
    this.#queue = [];
    this.#controller.close();
    this.#end(...this.#ending ?? [1006, "Terminated"]);
    this.#whenWritten?.();
  }

  ping(): void {
    const reads = this.bufferedAmount === 0;
    this.#write(":\n\n");
    if (reads) this.#receiver?.markAlive();
  }

  /** Handles the answer to `subscribe`. */
  #answer(answer: SubscribeAnswer | undefined, error: unknown): void {
    if (error !== undefined) {
      const { code, message, data } = error as Refusal;
      return this.#refuse(STATUS[code] ?? 403, message, data?.retryAfterMs);
    }
    const { subscriptions = [], positions = {}, recovered = {} } = answer ?? {};
    if (!this.#topics.every((topic) => subscriptions.includes(topic))) {
      return this.#refuse(404, "No such topic");
    }
    for (const [topic, position] of Object.entries(positions)) this.#move(topic, position);
    if (this.#id.length > MAX_ID_LENGTH) {
      return this.#refuse(400, `Too many topics: ids would be over ${MAX_ID_LENGTH} characters`);
    }
    this.#write(`id: ${this.#id}\n\n`);
    for (const topic of this.#topics) if (recovered[topic] === false) this.#gap(topic);
    this.#respond(new Response(this.#body, { headers: HEADERS }));
  }

  #event({ topic, position, data }: RecoveryText): void {
    this.#move(topic, position);
    if (data === undefined) this.#gap(topic);
    else this.#write(block(eventName(topic), data === "" ? "null" : data, this.#id));
  }

  #gap(topic: string): void {
    this.#write(block("gap", JSON.stringify({ topic }), this.#id));
  }

  #move(topic: string, position: string): void {
    this.#positions.set(topic, String(new URLSearchParams([[topic, position]])));
  }

  get #id(): string {
    return [...this.#positions.values()].join("&");
  }

  #write(text: string): void {
    if (!this.#open || this.#ending !== undefined) return;
    const bytes = encoder.encode(text);
    this.#queuedBytes += bytes.length;
    this.#queue.push(bytes);
    this.#whenWritten?.();
  }

  /** Called when the peer has read everything: gives it more at once, or as soon as there is more. */
  #pull(): Promise<void> | void {
    this.#receiver?.markAlive();
    if (this.#queue.length > 0) return this.#give();
    // Gives it after the wait: Workers let nothing but the request of the stream touch it, and this
    // goes on there, whichever request has published the event.
    return new Promise<void>((resolve) => this.#whenWritten = resolve).then(() => {
      this.#whenWritten = undefined;
      if (this.#open) this.#give();
    });
  }

  #give(): void {
    let length = 0;
    let count = 0;
    for (const { length: more } of this.#queue) {
      if (length >= CHUNK_BYTES) break;
      length += more;
      count++;
    }
    const parts = this.#queue.splice(0, count);
    this.#queuedBytes -= length;
    if (length > 0) this.#controller.enqueue(joined(parts, length));
    if (this.#ending !== undefined && this.#queue.length === 0) this.terminate();
  }

  #refuse(status: number, text: string, retryAfterMs = 0): void {
    const headers = { "retry-after": `${Math.ceil(retryAfterMs / 1000)}` };
    this.#respond(new Response(text, { status, ...retryAfterMs > 0 && { headers } }));
    this.#end(1008, text);
  }

  #respond(response: Response): void {
    if (this.#answered !== undefined) return;
    this.#answered = response;
    this.#response.resolve(response);
  }

  #end(code: number, reason: string): void {
    if (!this.#open) return;
    this.#open = false;
    clearInterval(this.#timer);
    this.#queuedBytes = 0;
    this.#receiver?.closed(code, reason);
  }
}

/** The error that answers a refused `subscribe`. */
interface Refusal {
  readonly code: number;
  readonly message: string;
  readonly data?: { readonly retryAfterMs?: number } | null;
}

const HEADERS = {
  "content-type": "text/event-stream",
  "cache-control": "no-store",
  // Without this nginx buffers events.
  "x-accel-buffering": "no",
};
const STATUS: Readonly<Record<number, number>> = {
  [-32601]: 404,
  [-32602]: 400,
  [-32603]: 500,
  [ErrorCode.tooManySubscriptions]: 400,
  [ErrorCode.serverBusy]: 503,
  [ErrorCode.limitExceeded]: 429,
};
const encoder = new TextEncoder();
// How many bytes one chunk of the body has, about.
const CHUNK_BYTES = 64 * 1024;
// The id comes back as a header, and many servers and proxies accept 8 or 16 KiB for all headers. The
// rest is left for positions, which grow a little.
const MAX_ID_LENGTH = 4096;
// Event names with a meaning of their own: two of EventSource, and "gap" of this module.
const TAKEN = ["open", "error", "gap"];

/** Joins parts that have this many bytes together. */
function joined(
  parts: readonly Uint8Array<ArrayBuffer>[],
  length: number,
): Uint8Array<ArrayBuffer> {
  if (parts.length === 1) return parts[0] as Uint8Array<ArrayBuffer>;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** The name of a topic's events: the topic, unless the name is taken. */
function eventName(topic: string): string {
  if (TAKEN.includes(topic)) return `topic:${topic}`;
  return lineOf(topic);
}

function lineOf(name: string): string {
  return name.replace(/[\r\n\0]/g, encodeURIComponent);
}

/** The text of one event. Each line of the data is a field of its own. */
function block(name: string, data: string, id?: string): string {
  const lines = data.split(/\r\n|\r|\n/).map((line) => `data: ${line}\n`).join("");
  return `event: ${name}\n${lines}${id === undefined ? "" : `id: ${id}\n`}\n`;
}
