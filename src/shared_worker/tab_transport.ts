/**
 * The tab's end: the transport of a client whose connection a shared worker keeps.
 *
 * @module
 */

import type { ClientOptions } from "../client/options.ts";
import { toTransport } from "../client/transport.ts";
import type { Receiver } from "../core/channel.ts";
import type { Transport, TransportContext } from "../core/transport.ts";
import { workerFailed } from "../transports/port_events.ts";
import type { Port } from "../transports/port_events.ts";
import { runSafely } from "../util/maybe_promise.ts";
import { holdLock, ownLocks, watchLock } from "./locks.ts";
import type { HeldLock } from "./locks.ts";
import { TabPort } from "./tab_port.ts";
import type { Signal } from "./tab_port.ts";

/** What is used of a `SharedWorker`. */
export interface SharedWorkerLike {
  /** The port to the worker. */
  readonly port: Port;
  /** Tells of a script that cannot be loaded. */
  addEventListener?(type: "error", listener: (event: { readonly message?: string }) => void): void;
}

/** Options of {@linkcode sharedWorker}: where to connect if there are no shared workers, and how. */
export interface SharedWorkerOptions
  extends Pick<ClientOptions, "token" | "protocols" | "WebSocket"> {
  /**
   * Where a tab connects by itself, in browsers that have no `SharedWorker`, such as Chrome on Android.
   *
   * @default {such a browser cannot connect}
   */
  readonly url?: string | URL | (() => string | URL | Promise<string | URL>);
}

/**
 * Makes the transport.
 *
 * @param make Makes the worker. Called for each attempt to connect.
 * @param options Where to connect without a worker.
 * @returns The transport. Its client reconnects.
 */
export function tabTransport(
  make: () => SharedWorkerLike,
  { url, ...options }: SharedWorkerOptions,
): Transport {
  let fallback: Transport | undefined;
  return {
    name: typeof url === "string" || url instanceof URL ? `${url}` : "the shared worker",
    canReconnect: true,
    hasFreshCredentials: [url, options.token].some((each) => typeof each === "function"),
    open(context) {
      if (fallback !== undefined) return fallback.open(context);
      let worker: SharedWorkerLike;
      try {
        worker = make();
      } catch (error) {
        if ("SharedWorker" in globalThis) throw error;
        if (url === undefined) {
          throw new TypeError("This browser has no SharedWorker: pass the option `url`", {
            cause: error,
          });
        }
        fallback = toTransport(url, options);
        return fallback.open(context);
      }
      return new TabConnection(worker, context).start();
    },
  };
}

/** One connection of a tab. */
class TabConnection {
  readonly #context: TransportContext;
  readonly #port: TabPort;
  readonly #listening = new AbortController();
  #receiver: Receiver | undefined;
  #lock: HeldLock | undefined;
  #stopWatching: (() => void) | undefined;
  #isOver = false;

  constructor(worker: SharedWorkerLike, context: TransportContext) {
    this.#context = context;
    this.#port = new TabPort(worker.port, {
      signal: (signal) => this.#take(signal),
      ended: (code, reason) => this.#ended(code, reason),
    });
    worker.addEventListener?.(
      "error",
      ({ message }) => this.#port.end(1006, workerFailed(message)),
    );
    context.signal.addEventListener("abort", () => this.#port.close(1000, ""), { once: true });
  }

  async start(): Promise<void> {
    // Before the worker is told of it: else it would wait for a lock that is still free.
    this.#lock = await holdLock(ownLocks());
    if (this.#isOver) this.#lock?.release();
    else this.#port.tell({ kind: "hello", lock: this.#lock?.name });
  }

  #take(signal: Signal): void {
    if (signal.kind !== "opened" || this.#receiver !== undefined) return;
    if (this.#context.signal.aborted) return this.#port.close(1000, "");
    const locks = ownLocks();
    if (locks !== undefined && signal.lock !== undefined) {
      this.#stopWatching = watchLock(locks, signal.lock, () => {
        this.#port.end(1006, "The shared worker has ended");
      });
    }
    this.#listen();
    this.#port.receiver = this.#receiver = this.#context.opened(this.#port);
  }

  /** Tells the worker which tab the user looks at, and when the page leaves. */
  #listen(): void {
    const page = globalThis as Page;
    const { signal } = this.#listening;
    const active = (): void => this.#port.tell({ kind: "active" });
    page.addEventListener?.("focus", active, { signal });
    page.document?.addEventListener("visibilitychange", () => {
      if (page.document?.visibilityState === "visible") active();
    }, { signal });
    // A page that the browser keeps for the way back is stopped: it connects anew when it comes back.
    page.addEventListener?.("pagehide", () => this.#port.close(1001, "The page is hidden"), {
      signal,
    });
  }

  #ended(code: number, reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#listening.abort();
    this.#stopWatching?.();
    this.#lock?.release();
    if (this.#receiver === undefined) {
      runSafely(() => this.#context.refused(code, reason), () => {});
    }
  }
}

interface Page {
  readonly document?: EventTarget & { readonly visibilityState: string };
  addEventListener?(type: string, listener: () => void, options: { signal: AbortSignal }): void;
}
