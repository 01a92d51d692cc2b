/**
 * Waits until replicas have what was written, for many writes at a time.
 *
 * `WAIT` covers all writes that were sent before it over the same connection. So one is enough for
 * all writes that were sent while the one before was under way: a group commit.
 *
 * @module
 */

/** A write was done, but may not survive a failover, or it is not known whether it was done. */
export class UnconfirmedError extends Error {
  override readonly name = "UnconfirmedError";
}

/** What it waits through. */
export interface ReplicaWaitOptions {
  /** How many replicas must have a write. */
  readonly replicas: number;
  /** For how long to wait for them, in milliseconds. */
  readonly timeoutMs: number;
  /** Changes whenever another connection may have taken the place of the one before. */
  generation(): number;
  /** Sends a `WAIT` to the server that has a key, and returns how many replicas confirm. */
  send(key: string, command: readonly string[]): Promise<unknown>;
}

interface Group {
  readonly generation: number;
  readonly confirmed: PromiseWithResolvers<void>;
}

/** The waits for one broker's writes. */
export class ReplicaWait {
  readonly #options: ReplicaWaitOptions;
  // By key. Those that are sent with the next WAIT, and those whose WAIT is under way.
  readonly #next = new Map<string, Group>();
  readonly #running = new Set<string>();

  /** @param options What it waits through. */
  constructor(options: ReplicaWaitOptions) {
    this.#options = options;
  }

  /**
   * Waits for a write that has just been sent.
   *
   * @param key Says which server has it; writes with the same key share a `WAIT`.
   * @returns A promise that rejects with an {@linkcode UnconfirmedError}.
   */
  confirm(key: string): Promise<void> {
    const generation = this.#options.generation();
    let group = this.#next.get(key);
    // What went over an earlier connection gets a WAIT of its own, which is sure to fail.
    if (group !== undefined && group.generation !== generation) return Promise.reject(unsure());
    if (group === undefined) {
      group = { generation, confirmed: Promise.withResolvers() };
      group.confirmed.promise.catch(() => {});
      this.#next.set(key, group);
      if (!this.#running.has(key)) queueMicrotask(() => void this.#run(key));
    }
    return group.confirmed.promise;
  }

  async #run(key: string): Promise<void> {
    this.#running.add(key);
    for (let group = this.#next.get(key); group !== undefined; group = this.#next.get(key)) {
      this.#next.delete(key);
      await this.#wait(key, group);
    }
    this.#running.delete(key);
  }

  async #wait(key: string, { generation, confirmed }: Group): Promise<void> {
    const { replicas, send, timeoutMs } = this.#options;
    try {
      const count = Number(await send(key, ["WAIT", String(replicas), String(timeoutMs)]));
      if (this.#options.generation() !== generation) throw unsure();
      if (count >= replicas) return confirmed.resolve();
      throw new UnconfirmedError(
        `only ${count} of ${replicas} replicas (waitReplicas) confirmed it within ${timeoutMs} ms`,
      );
    } catch (error) {
      confirmed.reject(error instanceof UnconfirmedError ? error : unsure(error));
    }
  }
}

function unsure(cause?: unknown): UnconfirmedError {
  return new UnconfirmedError("Redis went away before its replicas confirmed it", { cause });
}
