/**
 * A reader of server-sent events, which knows no more of them than their specification says.
 */
import { within } from "./raw_client.ts";

/** One event, with the id that held when it came. */
export interface ServerEvent {
  readonly event: string;
  readonly data: string;
  readonly id: string;
}

/** An open stream of events. */
export class EventReader {
  readonly response: Response;
  /** What a browser would send as Last-Event-ID. */
  lastEventId = "";
  readonly #controller: AbortController;
  readonly #reader: ReadableStreamDefaultReader<string> | undefined;
  #text = "";

  private constructor(response: Response, controller: AbortController) {
    this.response = response;
    this.#controller = controller;
    this.#reader = response.body
      ?.pipeThrough(
        new TextDecoderStream() as ReadableWritablePair<string, Uint8Array<ArrayBuffer>>,
      )
      .getReader();
  }

  /** Asks for topics, and waits for the status. */
  static async open(url: string, query: string, headers: HeadersInit = {}): Promise<EventReader> {
    const controller = new AbortController();
    const all = new Headers(headers);
    all.set("accept", "text/event-stream");
    const { signal } = controller;
    const response = await within(
      fetch(`${url}/?${query}`, { headers: all, signal }),
      "a response",
    );
    return new EventReader(response, controller);
  }

  /** The next event. Comments, and blocks without data, only move the id on. */
  async next(): Promise<ServerEvent> {
    for (;;) {
      const [event, data] = await this.block();
      if (data !== undefined) return { event, data, id: this.lastEventId };
    }
  }

  /** The next few. */
  async some(count: number): Promise<ServerEvent[]> {
    const events: ServerEvent[] = [];
    while (events.length < count) events.push(await this.next());
    return events;
  }

  /** The next block, whatever it says. */
  async block(): Promise<[event: string, data: string | undefined]> {
    let end: number;
    while ((end = this.#text.indexOf("\n\n")) === -1) {
      const chunk = await within(this.#read(), "an event");
      if (chunk === undefined) {
        throw new Error(`The stream ended after ${JSON.stringify(this.#text)}`);
      }
      this.#text += chunk;
    }
    const lines = this.#text.slice(0, end).split("\n");
    this.#text = this.#text.slice(end + 2);
    const data: string[] = [];
    let event = "message";
    for (const line of lines) {
      const [, name, value = ""] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
      if (name === "event") event = value;
      else if (name === "data") data.push(value);
      else if (name === "id") this.lastEventId = value;
    }
    return [event, data.length === 0 ? undefined : data.join("\n")];
  }

  /** Reads to the end of the stream. */
  async ended(): Promise<void> {
    while (await within(this.#read(), "the end of the stream") !== undefined);
  }

  /** Leaves, as a page does that is closed. */
  async leave(): Promise<void> {
    await this.#reader?.cancel().catch(() => {});
    this.#controller.abort();
  }

  /** The text of an answer that is no stream. */
  async text(): Promise<string> {
    for (let text = "";;) {
      const chunk = await this.#read();
      if (chunk === undefined) return text;
      text += chunk;
    }
  }

  async #read(): Promise<string | undefined> {
    const { done, value } = await this.#reader?.read() ?? { done: true, value: undefined };
    return done ? undefined : value;
  }
}
