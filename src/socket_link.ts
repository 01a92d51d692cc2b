/**
 * The client's way over WebSockets: one after the other, for as long as it is not closed.
 *
 * @module
 */

import { Backoff } from "./backoff.ts";
import type { BackoffBounds } from "./backoff.ts";
import { RpcConnectionError } from "./errors.ts";
import { closedError } from "./link.ts";
import type { Link, LinkState } from "./link.ts";
import { Outbox } from "./outbox.ts";
import type { Parcel } from "./outbox.ts";
import type { Conversation } from "./conversation.ts";
import { Session } from "./session.ts";
import type { SessionOptions } from "./session.ts";
import { LONGEST_DELAY, quiet } from "./timer.ts";
import type { Timer } from "./timer.ts";
import { onWake } from "./wake.ts";

/** What a link tells its client. */
export interface LinkEvents {
  /**
   * Called each time that calls can be sent, before any that waited is.
   *
   * @param peer Who can be talked to.
   * @param again Whether there was a connection before.
   */
  opened(peer: Conversation, again: boolean): void;
  /** Called each time that a connection has ended, and once where the link ends without one. */
  closed(code: number, reason: string, final: boolean): void;
  /** Called each time that a wait begins. */
  reconnecting(attempt: number, delayMs: number): void;
}

/** What a link over WebSockets is made of. */
export interface SocketLinkOptions extends SessionOptions {
  /** How it is connected again; `undefined` for not at all. */
  readonly reconnect: BackoffBounds | undefined;
  /** Who is told. */
  readonly events: LinkEvents;
}

/** A link over WebSockets. */
export class SocketLink implements Link {
  readonly #options: SocketLinkOptions;
  readonly #outbox: Outbox;
  readonly #backoff: Backoff;
  #state: LinkState = "idle";
  #connecting = Promise.withResolvers<void>();
  #session: Session | undefined;
  #peer: Conversation | undefined;
  #wasOpen = false;
  // Whether the last session was ended because of who this client is.
  #unwanted = false;
  #timer: Timer | undefined;
  #again: Timer | undefined;
  #stopWaking: (() => void) | undefined;
  #closing: Promise<void> | undefined;
  #ended: (() => void) | undefined;

  /** @param options What it is made of. */
  constructor(options: SocketLinkOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.reconnect ?? { minMs: 0, maxMs: 0, maxAttempts: 0 });
    this.#outbox = new Outbox(options.bounds, (parcel) => this.#expired(parcel));
  }

  get state(): LinkState {
    return this.#state;
  }

  /** Where it waits to connect again, it tries at once. */
  connect(): Promise<void> {
    if (this.#state === "closed") return Promise.reject(closedError("connect"));
    if (this.#state === "idle" || this.#state === "waiting") this.#attempt();
    return this.#connecting.promise;
  }

  send(text: string, ids: readonly number[]): void {
    if (this.#state === "closed") throw closedError("send");
    if (this.#peer?.isOpen) return this.#peer.send(text);
    this.#outbox.add({ text, ids });
    if (this.#state === "idle") this.#attempt();
  }

  cancel(id: number): void {
    if (!this.#outbox.cancel(id)) this.#peer?.notify("$/cancelRequest", { id });
  }

  refused(id: number, text: string): boolean {
    if (this.#state !== "open" || this.#options.reconnect === undefined) return false;
    this.#outbox.takeBack([{ text, ids: [id] }]);
    // A server that goes away refuses so: then the next connection takes it. If it stays, this one.
    this.#again ??= quiet(setTimeout(() => this.#flush(), REFUSED_MS));
    return true;
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    if (this.#state === "closed") return;
    const open = this.#state === "open";
    this.#finish("the client was closed");
    if (!open) {
      this.#session?.drop(1000, "");
      return this.#options.events.closed(1000, "", true);
    }
    const ended = new Promise<void>((resolve) => this.#ended = resolve);
    this.#session?.close();
    await ended;
  }

  #attempt(): void {
    this.#stopWaiting();
    this.#state = "connecting";
    this.#connecting = Promise.withResolvers();
    // Whoever waits for it is told; a call is told by itself.
    this.#connecting.promise.catch(() => {});
    this.#session = new Session(this.#options, {
      opened: (peer) => this.#opened(peer),
      refused: (why, cause) => this.#refused(why, cause),
      ended: (code, reason) => this.#over(code, reason),
    });
    this.#session.start();
  }

  #opened(peer: Conversation): void {
    this.#state = "open";
    this.#peer = peer;
    const again = this.#wasOpen;
    this.#wasOpen = true;
    this.#connecting.resolve();
    this.#options.events.opened(peer, again);
    this.#flush();
  }

  #flush(): void {
    clearTimeout(this.#again);
    this.#again = undefined;
    while (this.#peer?.isOpen) {
      const parcel = this.#outbox.next();
      if (parcel === undefined) return;
      const { text, ids } = parcel;
      // A batch whose calls were all given up in the meantime need not run.
      if (ids.length === 0 || ids.some((id) => this.#options.pending.has(id))) {
        this.#peer.send(text);
      }
    }
  }

  #refused(why: string, cause: unknown): void {
    const { dialer } = this.#options;
    const message = `Cannot connect to ${dialer.name} ${why}`;
    const error = new RpcConnectionError(message, "unsent", { cause });
    this.#connecting.reject(error);
    if (this.#wasOpen) return this.#wait(0);
    if (!dialer.redials) return this.#finish(message);
    // Nobody was connected yet: the next call begins anew.
    this.#state = "idle";
    this.#settle(message, false);
  }

  #over(code: number, reason: string): void {
    this.#peer = undefined;
    clearTimeout(this.#again);
    this.#again = undefined;
    const { events } = this.#options;
    const why = `the connection was closed (${code}${reason && `: ${reason}`})`;
    const final = this.#state === "closed" || !this.#mayReturn(code);
    if (final) {
      this.#finish(why);
      events.closed(code, reason, true);
      return this.#ended?.();
    }
    this.#state = "waiting";
    this.#settle(why, true, resendable(code, reason));
    events.closed(code, reason, false);
    if (this.#state === "waiting") this.#wait(retryAfter(code, reason));
  }

  /** Whether another connection is to follow on one that has ended. */
  #mayReturn(code: number): boolean {
    const { reconnect, dialer } = this.#options;
    const { usable = false, lasted = false } = this.#session ?? {};
    const expired = code === 4401;
    const unwanted = expired || code === 1008;
    if (unwanted ? lasted : usable) this.#backoff.reset();
    // A token may live for a short time only; who is revoked is so for longer.
    if (expired ? usable : lasted) this.#unwanted = false;
    if (reconnect === undefined || code === 1000) return false;
    if (!unwanted) return true;
    // Only another token or address can help, and only once in a row.
    const again = dialer.refreshes && !this.#unwanted;
    this.#unwanted = true;
    return again;
  }

  #wait(atLeastMs: number): void {
    const delay = this.#backoff.next();
    if (delay === undefined) {
      const why = `gave up after ${this.#backoff.attempts} attempts`;
      this.#finish(why);
      return this.#options.events.closed(1006, why, true);
    }
    this.#state = "waiting";
    const delayMs = Math.min(atLeastMs + delay, LONGEST_DELAY);
    // Not a quiet timer: as an open connection does, one that is to come keeps the process alive.
    this.#timer = setTimeout(() => this.#attempt(), delayMs);
    // What the server asked for is kept to, whatever the browser says.
    if (atLeastMs === 0) this.#stopWaking = onWake(() => this.#attempt());
    this.#options.events.reconnecting(this.#backoff.attempts, delayMs);
  }

  #stopWaiting(): void {
    clearTimeout(this.#timer);
    this.#stopWaking?.();
    this.#stopWaking = undefined;
  }

  /** Ends everything that waits, and everything to come. */
  #finish(why: string): void {
    this.#stopWaiting();
    this.#state = "closed";
    this.#connecting.promise.catch(() => {});
    this.#connecting.reject(closedError("connect"));
    this.#settle(why, false);
  }

  /** Rejects the calls that cannot go on with the next connection. */
  #settle(why: string, goesOn: boolean, resends: Resendable = "none"): void {
    const unsent = this.#outbox.ids();
    const again: Parcel[] = [];
    this.#options.pending.failAll((id, { method, text, options, bound }) => {
      const outcome = unsent.has(id) ? "unsent" : "unknown";
      if (goesOn && outcome === "unsent") return undefined;
      if (bound || !(resends === "all" || (resends === "idempotent" && options.idempotent))) {
        return new RpcConnectionError(`No answer to "${method}": ${why}`, outcome);
      }
      again.push({ text, ids: [id] });
      return undefined;
    });
    if (goesOn) this.#outbox.takeBack(again);
    else this.#outbox.clear();
  }

  #expired({ ids, text }: Parcel): void {
    const { pending, host: { logger }, bounds: { maxQueuedMs } } = this.#options;
    const why = `it has waited for ${maxQueuedMs} ms (maxQueuedMs)`;
    for (const id of ids) pending.fail(id, new RpcConnectionError(`Not sent: ${why}`));
    if (ids.length === 0) logger.warn(`Not sent: ${why}: ${text.slice(0, 200)}`);
  }
}

// When a call that was refused is sent again to a server that stays.
const REFUSED_MS = 1000;

/** Which calls that were sent and not answered go out again on the next connection. */
type Resendable = "none" | "idempotent" | "all";

function resendable(code: number, reason: string): Resendable {
  // A server that found a message too long would find it so again.
  if (code === 1009) return "none";
  // A drain ends so, once all that came is answered: what is not answered has not run.
  return code === 1012 && reason.startsWith("retry-after=") ? "all" : "idempotent";
}

/** Milliseconds that a server which goes away asks to stay away. */
function retryAfter(code: number, reason: string): number {
  if (code !== 1012 && code !== 1013) return 0;
  return Number(/retry-after=(\d+)/.exec(reason)?.[1] ?? 0);
}
