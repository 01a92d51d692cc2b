/**
 * Many connections with some topics of their own each: all of them subscribe, hear an event, and leave.
 */
import { BareSocket, frame } from "./bare_socket.ts";
import type { Job, Outcome } from "./measure.ts";
import { residentBytes, Watch } from "./measure.ts";

/** Runs one job. Rejects where an event goes astray, or a topic is left behind. */
export async function runMany({ port, pid, connections, window }: Job): Promise<Outcome> {
  const before = residentBytes(pid);
  const watch = new Watch(pid);
  const members: Member[] = [];
  for (let index = 0; index < connections; index += OPENING) {
    members.push(
      ...await Promise.all(Array.from(
        { length: Math.min(OPENING, connections - index) },
        (_, offset) => Member.join(port, index + offset, window),
      )),
    );
  }
  const bytes = (residentBytes(pid) - before) / connections;
  const control = await Wire.open(port);
  const laps: number[] = [];
  for (let turn = 0; turn < EVENTS; turn++) {
    const member = members[turn * 7919 % connections] as Member; // a prime: all over the place
    const topic = `room.${member.index * window + turn % window}`;
    const start = performance.now();
    const [text] = await Promise.all([member.wire.next(), control.ask("publish", [topic])]);
    laps.push(performance.now() - start);
    const { method } = JSON.parse(text) as { method: string };
    if (method !== topic) throw new Error(`Expected an event of ${topic}, got ${text}`);
  }
  const outcome = watch.stop(connections * window, laps);
  for (const member of members) member.wire.end();
  await goneFrom(control, members.map(({ index }) => `room.${index * window}`));
  control.end();
  return { ...outcome, bytes };
}

/** Resolves when nobody hears these topics any more. Rejects where that takes too long. */
async function goneFrom(control: Wire, topics: readonly string[]): Promise<void> {
  const end = performance.now() + GONE_MS;
  for (const topic of topics) {
    while (JSON.parse(await control.ask("publish", [topic])).result !== 0) {
      if (performance.now() > end) throw new Error(`Somebody still hears ${topic}`);
    }
  }
}

class Member {
  readonly index: number;
  readonly wire: Wire;

  private constructor(index: number, wire: Wire) {
    this.index = index;
    this.wire = wire;
  }

  static async join(port: number, index: number, topics: number): Promise<Member> {
    const wire = await Wire.open(port);
    const names = Array.from({ length: topics }, (_, topic) => `room.${index * topics + topic}`);
    const answer = JSON.parse(await wire.ask("subscribe", names)) as { result: string[] };
    if (answer.result.length !== topics) throw new Error(`Not subscribed: ${answer.result}`);
    return new Member(index, wire);
  }
}

/** A connection that hears one text at a time. */
class Wire {
  readonly #socket: BareSocket;
  #waiting: ((text: string) => void) | undefined;

  private constructor(socket: BareSocket) {
    this.#socket = socket;
    socket.ontext = (bytes, start, end) => {
      const text = bytes.toString("utf8", start, end);
      if (this.#waiting === undefined) throw new Error(`Nobody waited for ${text}`);
      this.#waiting(text);
      this.#waiting = undefined;
    };
  }

  static async open(port: number): Promise<Wire> {
    return new Wire(await BareSocket.open(port));
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
