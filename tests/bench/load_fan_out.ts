/**
 * Measures events to many subscribers, from the call that publishes them until the last one arrives.
 */
import type { Buffer } from "node:buffer";
import { BareSocket, frame } from "./bare_socket.ts";
import type { Job, Outcome } from "./measure.ts";
import { Watch } from "./measure.ts";

/** Runs one job. Rejects if an event is missing, wrong or out of order. */
export async function runFanOut(job: Job): Promise<Outcome> {
  const subscribers = new Subscribers(job.window);
  for (let left = job.connections; left > 0; left -= OPENING) {
    await Promise.all(
      Array.from({ length: Math.min(left, OPENING) }, () => subscribers.join(job.port)),
    );
  }
  const control = await BareSocket.open(job.port);
  for (let turn = 0; turn < WARM_UPS; turn++) await subscribers.burst(control);
  const laps: number[] = [];
  const watch = new Watch(job.pid);
  do {
    const start = performance.now();
    await subscribers.burst(control);
    laps.push(performance.now() - start);
  } while (laps.reduce((sum, lap) => sum + lap) < job.ms);
  const outcome = watch.stop(laps.length * job.window * job.connections, laps);
  control.end();
  subscribers.end();
  return outcome;
}

class Subscribers {
  readonly #all: Subscriber[] = [];
  readonly #events: number;
  readonly #call: Buffer;
  #burst = 0;
  #missing = 0;
  #whole: () => void = () => {};

  constructor(events: number) {
    this.#events = events;
    const call = { jsonrpc: "2.0", method: "burst", params: [events], id: 1 };
    this.#call = frame(JSON.stringify(call));
  }

  async join(port: number): Promise<void> {
    const subscriber = new Subscriber(await BareSocket.open(port));
    await subscriber.subscribe();
    const index = this.#all.push(subscriber) - 1;
    subscriber.onevent = (bytes, start, end) => {
      // Parse the events of every subscriber in the first burst, then those of one in turn.
      const whole = this.#burst === 1 || index === this.#burst % this.#all.length;
      subscriber.check(bytes, start, end, whole);
      if (--this.#missing === 0) this.#whole();
    };
  }

  /** Starts a burst, and resolves when all its events have arrived. */
  burst(control: BareSocket): Promise<void> {
    this.#burst++;
    this.#missing = this.#events * this.#all.length;
    return new Promise((resolve) => {
      this.#whole = resolve;
      control.write(this.#call);
    });
  }

  end(): void {
    for (const subscriber of this.#all) subscriber.end();
  }
}

class Subscriber {
  onevent: (bytes: Buffer, start: number, end: number) => void = () => {};
  readonly #socket: BareSocket;
  #received = 0;
  #size = 0;
  #first = 0;

  constructor(socket: BareSocket) {
    this.#socket = socket;
  }

  async subscribe(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#socket.ontext = () => resolve();
      this.#socket.write(frame(SUBSCRIBE));
    });
    this.#socket.ontext = (bytes, start, end) => this.onevent(bytes, start, end);
  }

  check(bytes: Buffer, start: number, end: number, whole: boolean): void {
    const number = this.#received++;
    if (number === 0) this.#size = end - start;
    if (end - start !== this.#size) throw new Error("Events of different lengths");
    if (!whole) return;
    const text = bytes.toString("utf8", start, end);
    const { method, params } = JSON.parse(text) as { method: string; params: { seq: number } };
    if (number === 0) this.#first = params.seq;
    if (method !== "news" || params.seq !== this.#first + number) {
      throw new Error(`Expected event ${this.#first + number}, got ${text}`);
    }
  }

  end(): void {
    this.#socket.end();
  }
}

const OPENING = 50;
const WARM_UPS = 2;
const SUBSCRIBE = JSON.stringify({
  jsonrpc: "2.0",
  method: "subscribe",
  params: ["news"],
  id: 1,
});
