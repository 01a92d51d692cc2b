/**
 * Measures many connections with some topics of their own each: they subscribe, receive events, and leave.
 */
import { BareSocket, frame } from "./bare_socket.ts";
import type { Job, Outcome } from "./measure.ts";
import { residentBytes, Watch } from "./measure.ts";

/** Runs one job. Rejects if an event reaches the wrong connection, or if a subscription is left behind. */
export async function runMany({ port, pid, connections, window }: Job): Promise<Outcome> {
  const before = residentBytes(pid);
  const watch = new Watch(pid);
  const subscribers: Subscriber[] = [];
  for (let index = 0; index < connections; index += OPENING) {
    subscribers.push(
      ...await Promise.all(Array.from(
        { length: Math.min(OPENING, connections - index) },
        (_, offset) => Subscriber.join(port, index + offset, window),
      )),
    );
  }
  const bytes = (residentBytes(pid) - before) / connections;
  const control = await TextSocket.open(port);
  const laps: number[] = [];
  for (let turn = 0; turn < EVENTS; turn++) {
    const subscriber = subscribers[turn * 7919 % connections] as Subscriber; // a prime number: in no order
    const topic = `room.${subscriber.index * window + turn % window}`;
    const start = performance.now();
    const [text] = await Promise.all([subscriber.socket.next(), control.ask("publish", [topic])]);
    laps.push(performance.now() - start);
    const { method } = JSON.parse(text) as { method: string };
    if (method !== topic) throw new Error(`Expected an event of ${topic}, got ${text}`);
  }
  const outcome = watch.stop(connections * window, laps);
  for (const subscriber of subscribers) subscriber.socket.end();
  await goneFrom(control, subscribers.map(({ index }) => `room.${index * window}`));
  control.end();
  return { ...outcome, bytes };
}

/** Resolves when these topics have no subscriber any more. Rejects if that takes too long. */
async function goneFrom(control: TextSocket, topics: readonly string[]): Promise<void> {
  const end = performance.now() + GONE_MS;
  for (const topic of topics) {
    while (JSON.parse(await control.ask("publish", [topic])).result !== 0) {
      if (performance.now() > end) throw new Error(`${topic} still has a subscriber`);
    }
  }
}

class Subscriber {
  readonly index: number;
  readonly socket: TextSocket;

  private constructor(index: number, socket: TextSocket) {
    this.index = index;
    this.socket = socket;
  }

  static async join(port: number, index: number, topics: number): Promise<Subscriber> {
    const socket = await TextSocket.open(port);
    const names = Array.from({ length: topics }, (_, topic) => `room.${index * topics + topic}`);
    const answer = JSON.parse(await socket.ask("subscribe", names)) as { result: string[] };
    if (answer.result.length !== topics) throw new Error(`Not subscribed: ${answer.result}`);
    return new Subscriber(index, socket);
  }
}

/** A connection that waits for one text at a time. */
class TextSocket {
  readonly #socket: BareSocket;
  #waiting: ((text: string) => void) | undefined;

  private constructor(socket: BareSocket) {
    this.#socket = socket;
    socket.ontext = (bytes, start, end) => {
      const text = bytes.toString("utf8", start, end);
      if (this.#waiting === undefined) throw new Error(`Unexpected: ${text}`);
      this.#waiting(text);
      this.#waiting = undefined;
    };
  }

  static async open(port: number): Promise<TextSocket> {
    return new TextSocket(await BareSocket.open(port));
  }

  next(): Promise<string> {
    return new Promise((resolve) => this.#waiting = resolve);
  }

  ask(method: string, params: readonly string[]): Promise<string> {
    this.#socket.write(frame(JSON.stringify({ jsonrpc: "2.0", method, params, id: 1 })));
    return this.next();
  }

  end(): void {
    this.#socket.end();
  }
}

const OPENING = 50;
const EVENTS = 2000;
const GONE_MS = 30_000;
