/**
 * A reader of server-sent events that follows their specification and nothing else.
 */
import { within } from "./raw_client.ts";

/** One event, with the id of the stream at that point. */
export interface ServerEvent {
  readonly event: string;
  readonly data: string;
  readonly id: string;
}

/** An open stream of events. */
export class EventReader {
  readonly response: Response;
  /** The value that a browser would send as Last-Event-ID. */
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

  /** Requests topics, and waits for the status. */
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

  /** Gives the next event. Comments, and blocks without data, only advance the id. */
  async next(): Promise<ServerEvent> {
    for (;;) {
      const [event, data] = await this.block();
      if (data !== undefined) return { event, data, id: this.lastEventId };
    }
  }

  /** Gives the next few events. */
  async some(count: number): Promise<ServerEvent[]> {
    const events: ServerEvent[] = [];
    while (events.length < count) events.push(await this.next());
    return events;
  }

  /** Gives the next block, even one without data. */
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

  /** Aborts the stream, as a closed page does. */
  async leave(): Promise<void> {
    await this.#reader?.cancel().catch(() => {});
    this.#controller.abort();
  }

  /** The rest of the body, for responses that are no event stream. */
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
