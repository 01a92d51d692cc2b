/**
 * Measures calls over WebSocket: a fixed number is in flight, and each answer is checked.
 */
import { Buffer } from "node:buffer";
import { BareSocket, frame } from "./bare_socket.ts";
import { DIALECTS } from "./dialects.ts";
import type { Answer, Dialect } from "./dialects.ts";
import type { Job, Outcome } from "./measure.ts";
import { measured, middle, pause } from "./measure.ts";

/** Runs one job. Rejects if an answer is wrong. */
export async function runCalls(job: Job): Promise<Outcome> {
  const script = new Script(job);
  const callers = await Promise.all(
    Array.from({ length: job.connections }, () => Caller.connect(job, script)),
  );
  for (const caller of callers) caller.start();
  await pause(job.warmMs);
  for (const caller of callers) caller.laps = [];
  const outcome = await measured(job, () => sum(callers));
  const p50Ms = middle(callers.flatMap(({ laps }) => laps));
  await Promise.all(callers.map((caller) => caller.stop()));
  return { ...outcome, p50Ms };
}

function sum(callers: readonly Caller[]): number {
  return callers.reduce((total, { answered }) => total + answered, 0);
}

/** What all connections send, in frames that are made once, and what they expect. */
class Script {
  /** All frames in one buffer. */
  readonly frames: Buffer;
  readonly frameSize: number;
  /** The number of different texts; after the last one they repeat. */
  readonly length: number;
  readonly #dialect: Dialect;
  readonly #expected: string;
  readonly #batch: number;

  constructor({ method, dialect, window }: Job) {
    this.#dialect = DIALECTS[dialect] as Dialect;
    this.#batch = method === "batch" ? BATCH : 0;
    this.length = window * 4;
    const params = method === "echo" ? TEN_KILOBYTES : { a: 1, b: 2 };
    this.#expected = JSON.stringify(method === "echo" ? params : 3);
    const name = this.#batch > 0 ? "add" : method;
    const texts = Array.from({ length: this.length }, (_, index) => {
      const id = FIRST_ID + index;
      if (this.#batch === 0) return this.#dialect.encode(id, name, params);
      const entries = Array.from(
        { length: BATCH },
        (_, entry) => this.#dialect.encode(id * BATCH + entry, name, params),
      );
      return `[${entries.join(",")}]`;
    });
    const frames = texts.map(frame);
    this.frameSize = frames[0]?.length ?? 0;
    this.frames = Buffer.concat(frames);
  }

  /** The number of calls in one text. */
  get callsPerText(): number {
    return this.#batch || 1;
  }

  /** Throws if the answer is wrong. */
  check(text: string): void {
    const answers = this.#batch > 0 ? JSON.parse(text) as Answer[] : [this.#dialect.decode(text)];
    const right = answers.length === this.callsPerText &&
      answers.every(({ result, id }) =>
        Number.isSafeInteger(id) && JSON.stringify(result) === this.#expected
      );
    if (!right) throw new Error(`Expected ${this.#expected}, got ${text.slice(0, 200)}`);
  }
}

/** One connection that makes calls. */
class Caller {
  answered = 0;
  laps: number[] = [];
  readonly #socket: BareSocket;
  readonly #script: Script;
  readonly #window: number;
  #next = 0;
  #texts = 0;
  #fresh = 0;
  #size = 0;
  #inFlight = 0;
  #began = 0;
  #stopped: (() => void) | undefined;

  private constructor(socket: BareSocket, script: Script, window: number) {
    this.#socket = socket;
    this.#script = script;
    this.#window = window;
  }

  static async connect({ port, dialect, window }: Job, script: Script): Promise<Caller> {
    const { path, hello, greetings } = DIALECTS[dialect] as Dialect;
    let left = greetings;
    const { promise, resolve } = Promise.withResolvers<void>();
    const socket = await BareSocket.open(port, path, () => --left === 0 && resolve());
    for (const text of hello) socket.write(frame(text));
    if (greetings > 0) await promise;
    return new Caller(socket, script, window);
  }

  start(): void {
    this.#socket.ontext = (bytes, start, end) => this.#take(bytes, start, end);
    this.#socket.onturn = () => this.#turn();
    this.#send(this.#window);
  }

  /** Waits for the calls in flight, then ends the connection. */
  async stop(): Promise<void> {
    await new Promise<void>((resolve) => this.#stopped = resolve);
    this.#socket.end();
  }

  #take(bytes: Buffer, start: number, end: number): void {
    const number = this.#texts++;
    this.answered += this.#script.callsPerText;
    this.#fresh++;
    // All answers have the same length, since their ids have. Parse the first ones, then a sample.
    if (number === 0) this.#size = end - start;
    if (end - start !== this.#size || number < FIRST || number % SAMPLE === 0) {
      this.#script.check(bytes.toString("utf8", start, end));
    }
  }

  #turn(): void {
    const fresh = this.#fresh;
    this.#fresh = 0;
    this.#inFlight -= fresh;
    if (this.#inFlight < 0) throw new Error("More answers than calls");
    if (this.#window === 1 && fresh === 1) this.laps.push(performance.now() - this.#began);
    if (this.#stopped === undefined) this.#send(fresh);
    else if (this.#inFlight === 0) this.#stopped();
  }

  #send(count: number): void {
    if (this.#window === 1) this.#began = performance.now();
    this.#inFlight += count;
    const { frames, frameSize, length } = this.#script;
    for (let left = count; left > 0;) {
      const some = Math.min(left, length - this.#next);
      const start = this.#next * frameSize;
      this.#socket.write(frames.subarray(start, start + some * frameSize));
      this.#next = (this.#next + some) % length;
      left -= some;
    }
  }
}

const FIRST_ID = 1_000_000;
const BATCH = 100;
const FIRST = 200;
const SAMPLE = 101;
const TEN_KILOBYTES = {
  rows: Array.from({ length: 100 }, (_, row) => ({
    id: 10_000 + row,
    name: `device ${row} of the third hall`,
    values: [row / 8, row / 16, row * 3],
    on: row % 2 === 0,
  })),
};
