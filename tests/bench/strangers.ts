/**
 * Strangers, in a thread of their own so that what they cost is not measured with what they cause. They
 * send bad frames, floods of calls that are refused, storms of subscriptions, and bodies that trickle, and
 * connect again when the server closes them. The message `true` begins it, `false` ends it.
 */
import { Buffer } from "node:buffer";
import { constants, setPriority } from "node:os";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { parentPort, workerData } from "node:worker_threads";
import { frame } from "./bare_socket.ts";
import type { Strangers } from "./measure.ts";

const STRANGERS = 50;
// A stranger does one step in this time, if the last one was answered: all of them 500 in a second, with
// 6,000 messages. More of them would only show that one core is full.
const STEP_MS = 100;
// Steps that a body trickles, before its stranger gives it up.
const POST_STEPS = 20;

const { port, how } = workerData as { readonly port: number; readonly how: Strangers };

interface Stranger {
  /** Connects, or does something. */
  step(): void;
  end(): void;
}

function message(method: string, params: unknown, id?: number): string {
  return JSON.stringify({ jsonrpc: "2.0", method, params, id });
}

const rooms = Array.from({ length: 20 }, (_, number) => `room.${number}`);
const unknown = Array.from({ length: 20 }, (_, id) => message(`no_such_${id}`, [], id));
const FRAMES: readonly (readonly Buffer[])[] = [
  // No JSON, no JSON-RPC, and deep.
  ["{", "[1,2", "nonsense", '{"a":1}', "[".repeat(2000) + "]".repeat(2000)].map(frame),
  // Calls that are refused, one by one and as a batch.
  unknown.map(frame),
  [frame(`[${unknown.join()}]`), frame(message("add", "text", 1))],
  // Subscribing and unsubscribing.
  [frame(message("subscribe", rooms, 1)), frame(message("unsubscribe", rooms, 2))],
  rooms.map((room, id) => frame(message(id % 2 === 0 ? "subscribe" : "unsubscribe", [room], id))),
  // Cancels of nothing, answers to nothing.
  unknown.map((_, id) => frame(message("$/cancelRequest", { id }))),
  unknown.map((_, id) => frame(JSON.stringify({ jsonrpc: "2.0", result: 1, id }))),
];
// Is always answered.
const LAST = frame(message("add", { a: 1, b: 2 }, 0));
const UPGRADE = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const POST = "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" +
  "Content-Length: 100000\r\n\r\n";

/** A stranger with a WebSocket and a body that trickles, who waits for answers. */
class Waiting implements Stranger {
  #web: Socket | undefined;
  #post: Socket | undefined;
  #isReady = false;
  #steps: number;

  constructor(number: number) {
    this.#steps = number;
  }

  step(): void {
    const step = this.#steps++;
    if (this.#web === undefined) return this.#connect();
    if (this.#isReady) {
      this.#isReady = false;
      this.#web.write(Buffer.concat([...FRAMES[step % FRAMES.length] ?? [], LAST]));
    }
    if (step % POST_STEPS === 0) {
      this.#post?.destroy();
      this.#post = open(POST, () => this.#post = undefined);
    } else this.#post?.write("[1,");
  }

  end(): void {
    this.#web?.destroy();
    this.#post?.destroy();
  }

  #connect(): void {
    this.#isReady = false;
    const socket = this.#web = open(UPGRADE, () => this.#web = undefined);
    socket.on("data", () => this.#isReady = true);
  }
}

function open(head: string, closed: () => void): Socket {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  socket.on("error", () => {}).once("close", closed);
  socket.write(head);
  return socket.resume();
}

/** A stranger who sends as fast as its connection takes it. */
class Flooding implements Stranger {
  readonly #head: string;
  readonly #flood: Buffer;
  #socket: Socket | undefined;

  constructor(head: string, flood: Buffer) {
    this.#head = head;
    this.#flood = flood;
  }

  step(): void {
    if (this.#socket !== undefined) return;
    const socket = this.#socket = open(this.#head, () => this.#socket = undefined);
    const send = (): void => {
      while (socket.writable && socket.write(this.#flood));
    };
    socket.on("drain", send).once("data", send);
  }

  end(): void {
    this.#socket?.destroy();
  }
}

const MESSAGES = [
  "{",
  `[${unknown.join()}]`,
  ...unknown,
  ...rooms.map((room) => message("subscribe", [room], 1)),
];
const FIRST_POST = post("{}");
const KINDS: Readonly<Record<Strangers, (number: number) => Stranger>> = {
  wait: (number) => new Waiting(number),
  flood: () => new Flooding(UPGRADE, repeat([...FRAMES.flat(), LAST])),
  posts: () => new Flooding(FIRST_POST, repeat(MESSAGES.map((text) => Buffer.from(post(text))))),
};

function post(text: string): string {
  return `POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${text.length}\r\n\r\n${text}`;
}

/** About as much as one write takes. */
function repeat(buffers: readonly Buffer[]): Buffer {
  const once = Buffer.concat(buffers);
  return Buffer.concat(Array(Math.ceil(FLOOD_BYTES / once.length)).fill(once));
}

const FLOOD_BYTES = 64 * 1024;

// The load client measures in another thread on the same core: what strangers cost must not delay it.
setPriority(constants.priority.PRIORITY_LOW);

let strangers: Stranger[] = [];
let timer: ReturnType<typeof setInterval> | undefined;

parentPort?.on("message", (begins: boolean) => {
  clearInterval(timer);
  for (const stranger of strangers) stranger.end();
  strangers = [];
  if (!begins) return;
  strangers = Array.from({ length: STRANGERS }, (_, number) => KINDS[how](number));
  // One after the other: they do not act in step.
  let next = 0;
  timer = setInterval(() => strangers[next++ % STRANGERS]?.step(), STEP_MS / STRANGERS);
});
