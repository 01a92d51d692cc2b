/**
 * Requests that wait for a later turn of the event loop.
 *
 * @module
 */

import { detectRuntime } from "../../runtimes/detect.ts";
import type { HttpConnection } from "../../runtimes/runtime.ts";
import type { ServerContext } from "../context.ts";
import { TurnAllowance } from "../turn_allowance.ts";
import type { PacedQueue, TurnPacer } from "../turn_pacer.ts";

/** What became of a request that has waited: it may run, or its client is gone. */
export type Waited = "due" | "gone";

/** The requests of one server that wait, in one queue for each connection or address. */
export class WaitingRequests {
  readonly #context: ServerContext;
  readonly #queues = new Map<unknown, RequestQueue>();
  #size = 0;
  // For requests that do not have to wait although a turn is spent.
  readonly #allowance = new TurnAllowance(LEAST);

  /** @param context What the parts of the server share. */
  constructor(context: ServerContext) {
    this.#context = context;
  }

  /** How many wait. */
  get size(): number {
    return this.#size;
  }

  /**
   * Decides whether a request is handled at once. Most turns are so short that none has to wait.
   *
   * @param request The request.
   * @param host What the runtime passes beside the request.
   * @returns `undefined` if it is to be handled at once; `false` if it has to wait and there is no memory
   * for that; else resolves in the turn in which it is due.
   */
  take(request: Request, host: unknown): Promise<Waited> | false | undefined {
    const { budget, pacer } = this.#context;
    if (pacer === undefined) return undefined;
    if (pacer.admit(REQUEST_LENGTH) && this.#queues.size === 0) return undefined;
    const key = this.#keyOf(request, host);
    let queue = this.#queues.get(key);
    // Those of one connection keep their order.
    if (queue === undefined && (!pacer.isSpent || this.#mayPass(pacer))) return undefined;
    // The runtime may read the whole body meanwhile, which is counted only once somebody reads it here.
    if (!canPause(key) && !isShort(request.headers)) return undefined;
    if (budget.isFull) return false;
    if (queue === undefined) this.#queues.set(key, queue = this.#queueOf(key, pacer));
    this.#size++;
    budget.add(REQUEST_BYTES);
    return queue.add();
  }

  /** Lets all go on in this turn, because the server closes. */
  flush(): void {
    for (const queue of this.#queues.values()) queue.flush();
  }

  #mayPass({ turn, isFull }: TurnPacer): boolean {
    return !isFull && this.#allowance.pass(turn);
  }

  #keyOf(request: Request, host: unknown): HttpConnection | string | undefined {
    const runtime = detectRuntime(host);
    const connection = runtime?.connection?.(request, host);
    if (connection !== undefined) return connection;
    return this.#context.addresses.clientOf(runtime?.remoteAddress(request, host), request.headers);
  }

  #queueOf(key: HttpConnection | string | undefined, pacer: TurnPacer): RequestQueue {
    return new RequestQueue(typeof key === "object" ? key : undefined, {
      pacer,
      letGo: () => {
        this.#size--;
        this.#context.budget.release(REQUEST_BYTES);
      },
      ended: () => void this.#queues.delete(key),
    });
  }
}

interface QueueHost {
  readonly pacer: TurnPacer;
  /** Called for each request that waits no more. */
  letGo(): void;
  /** Called when nobody needs the queue any more. */
  ended(): void;
}

/** The requests of one connection, or of one address, in order. */
class RequestQueue implements PacedQueue {
  /** See {@linkcode PacedQueue.taken}. */
  taken = 0;
  readonly #connection: HttpConnection | undefined;
  readonly #host: QueueHost;
  // Those before the index were let go.
  #waiting: ((waited: Waited) => void)[] = [];
  #first = 0;
  #isPaused = false;

  constructor(connection: HttpConnection | undefined, host: QueueHost) {
    this.#connection = connection;
    this.#host = host;
    // The runtime hands over no more of some connections until these are answered: it has to look at others.
    host.pacer.paused++;
    host.pacer.enter(this);
  }

  /** Resolves when one more request is due. The promise also keeps what is bound to the request's context. */
  add(): Promise<Waited> {
    this.taken += REQUEST_UNITS;
    const due = new Promise<Waited>((settle) => this.#waiting.push(settle));
    if (this.#length > PAUSE_COUNT) this.#pause();
    return due;
  }

  /** See {@linkcode PacedQueue.resume}. */
  resume(): void {
    const { pacer } = this.#host;
    for (let left = SLICE; left > 0 && this.#length > 0 && !pacer.isSpent; left--) {
      pacer.start();
      this.#letGo();
    }
    if (this.#length > 0) pacer.wait(this);
    else if (this.#isPaused) pacer.waitToRead(this);
    else this.#end();
  }

  /** See {@linkcode PacedQueue.read}. */
  read(): void {
    // A runtime may hand over some more after it was paused.
    if (this.#length > 0) return this.#host.pacer.wait(this);
    this.#end();
    this.#readOn();
  }

  flush(): void {
    this.#host.pacer.delete(this);
    this.#letAllGo();
    this.#end();
    this.#readOn();
  }

  get #length(): number {
    return this.#waiting.length - this.#first;
  }

  #end(): void {
    this.#host.pacer.paused--;
    this.#host.ended();
  }

  #letGo(): void {
    const settle = this.#waiting[this.#first++];
    if (this.#length === 0) {
      this.#waiting = [];
      this.#first = 0;
    }
    this.#host.letGo();
    settle?.(this.#connection?.isOpen === false ? "gone" : "due");
  }

  #letAllGo(): void {
    while (this.#length > 0) this.#letGo();
  }

  #pause(): void {
    if (this.#isPaused || this.#connection === undefined) return;
    // Else more and more would wait, each with all that the runtime keeps for it.
    if (!this.#connection.canPause) return this.#letAllGo();
    this.#isPaused = true;
    this.#connection.pause();
  }

  #readOn(): void {
    if (this.#isPaused) this.#connection?.resume();
    this.#isPaused = false;
  }
}

function canPause(key: HttpConnection | string | undefined): boolean {
  return typeof key === "object" && key.canPause;
}

/** Whether a request takes no more memory than is counted for it. */
function isShort(headers: Headers): boolean {
  const length = headers.get("content-length");
  return length === null ? !headers.has("transfer-encoding") : Number(length) <= REQUEST_BYTES;
}

// A request costs as much as some short messages.
const REQUEST_UNITS = 8;
// What `TurnPacer.admit` makes that many units of.
const REQUEST_LENGTH = 1000;
// What a request takes that was parsed and waits, about.
const REQUEST_BYTES = 8192;
// How many requests are handled in a turn that is spent already, of connections none of whose requests wait.
const LEAST = 32;
// How many requests of a connection are let go before those of the next.
const SLICE = 8;
// How many may wait until a connection is not read any more. Pausing for less would cost more than it saves.
const PAUSE_COUNT = 4;
