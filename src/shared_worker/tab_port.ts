/**
 * What goes over the port between a tab and the shared worker, beside JSON-RPC texts, and the channel that both
 * ends send on.
 *
 * @module
 */

import { textOf } from "../core/channel.ts";
import type { Channel, Outgoing, Receiver } from "../core/channel.ts";
import { listen } from "../transports/port_events.ts";
import type { Port } from "../transports/port_events.ts";

/** What the two ends tell each other. */
export type Signal =
  /** The tab is there, and holds a lock of this name as long as it lives. */
  | { readonly kind: "hello"; readonly lock: string | undefined }
  /** Messages can pass. The worker holds a lock of this name as long as it lives. */
  | { readonly kind: "opened"; readonly lock: string | undefined }
  /** This end has closed, or could not open. */
  | { readonly kind: "closed"; readonly code: number; readonly reason: string }
  /** The user looks at this tab. */
  | { readonly kind: "active" }
  /** Asks whether everything was read so far. */
  | { readonly kind: "ping"; readonly read: number }
  /** Everything before the ping with this number was read. */
  | { readonly kind: "pong"; readonly read: number };

/** What an end does with what arrives. */
export interface TabPortEvents {
  /** Takes what the other end tells. */
  signal(signal: Signal): void;
  /** Takes the end of the port: the other side closed it, or was seen to be gone. */
  ended(code: number, reason: string): void;
}

/** One end of the port of a tab. */
export class TabPort implements Channel {
  readonly #port: Port;
  readonly #events: TabPortEvents;
  #receiver: Receiver | undefined;
  // Characters that were sent, and that the other end has said to have read.
  #sent = 0;
  #read = 0;
  #asked = 0;
  #askEvery = ASK_EVERY;
  #open = true;

  /**
   * @param port The port. Nothing else may use it.
   * @param events What to do with what arrives.
   */
  constructor(port: Port, events: TabPortEvents) {
    this.#port = port;
    this.#events = events;
    listen(port, {
      message: (data) => this.#take(data),
      closed: (why) => this.end(1006, why),
    });
  }

  /** Characters that the other end has not read yet. It says so now and then. */
  get bufferedAmount(): number {
    return this.#sent - this.#read;
  }

  /** Asks often enough to tell a reader from one that leaves this much unread. */
  set maxUnread(characters: number) {
    this.#askEvery = Math.min(ASK_EVERY, characters / 4);
  }

  /** Sets where the texts of the other end go. */
  set receiver(receiver: Receiver) {
    this.#receiver = receiver;
  }

  send(message: Outgoing): void {
    const text = textOf(message);
    this.#post(text);
    this.#sent += text.length;
    if (this.#sent - this.#asked >= this.#askEvery) this.ask();
  }

  /** Tells the other end something. */
  tell(signal: Signal): void {
    this.#post({ [KEY]: signal });
  }

  /** Asks the other end for a sign of life. */
  ask(): void {
    this.#asked = this.#sent;
    this.tell({ kind: "ping", read: this.#sent });
  }

  close(code: number, reason: string): void {
    this.tell({ kind: "closed", code, reason });
    // Later, as a closing handshake would take: the session has to note its own end first.
    queueMicrotask(() => this.end(code, reason));
  }

  terminate(): void {
    this.end(1006, "Terminated");
  }

  /** Ends the port, without a word to the other end. */
  end(code: number, reason: string): void {
    if (!this.#open) return;
    this.#open = false;
    this.#receiver?.closed(code, reason);
    this.#events.ended(code, reason);
    (this.#port as { close?(): void }).close?.();
  }

  #post(message: unknown): void {
    if (!this.#open) return;
    try {
      this.#port.postMessage(message);
    } catch (error) {
      this.end(1006, `Cannot post: ${error}`);
    }
  }

  #take(data: unknown): void {
    if (!this.#open) return;
    if (typeof data === "string") return this.#receiver?.receive(data);
    const signal = (data as { [KEY]?: Signal | null } | null)?.[KEY];
    if (typeof signal !== "object" || signal === null) return;
    if (signal.kind === "ping") this.tell({ kind: "pong", read: signal.read });
    else if (signal.kind === "pong") this.#noteRead(signal.read);
    else if (signal.kind === "closed") return this.end(signal.code, signal.reason);
    this.#events.signal(signal);
  }

  /** Notes how much was read. A wrong number must not make the other end look as if it read everything. */
  #noteRead(read: unknown): void {
    if (typeof read === "number" && read <= this.#sent) this.#read = Math.max(this.#read, read);
  }
}

const KEY = "@x/jsonrpc shared";
// How many characters may be sent at most before the other end is asked whether it reads.
const ASK_EVERY = 256 * 1024;
