/**
 * Writing bytes to a web stream or one of Node's, and knowing how many of them were not taken yet.
 *
 * @module
 */

/** What is used of Node's `Writable`. */
export interface NodeWritable {
  /** Writes bytes; calls back when they were handed over, or could not be. */
  write(bytes: Uint8Array, done: (error?: Error | null) => void): unknown;
  /** Ends the stream once everything was written, and calls back. */
  end(done?: () => void): unknown;
  /** Listens for `error` and `close`. */
  on(event: string, listener: (error?: Error) => void): unknown;
  /** Of a TCP socket: whether short writes go out at once. */
  setNoDelay?(noDelay: boolean): unknown;
}

/** Where bytes can be written: a `WritableStream`, or one of Node's `Writable`. */
export type WritableBytes = WritableStream<Uint8Array<ArrayBuffer>> | NodeWritable;

/** Takes bytes in order. */
export interface ByteSink {
  /** Bytes that were written and that the stream has not handed over yet. */
  readonly pendingBytes: number;
  /** Writes bytes. Does not throw. */
  write(bytes: Uint8Array<ArrayBuffer>): void;
  /** Resolves when more bytes were handed over, or none will be. */
  drained(): Promise<void>;
  /** Ends the stream. Resolves when everything was written, or cannot be. */
  end(): Promise<void>;
}

/**
 * Wraps a stream.
 *
 * @param stream A web stream, or one of Node's.
 * @param failed Called at most once, if the stream breaks.
 */
export function toByteSink(
  stream: WritableBytes,
  failed: (error: unknown) => void = () => {},
): ByteSink {
  const counter = new PendingCounter();
  let broken = false;
  let ended: (() => void) | undefined;
  function fail(error: unknown): void {
    if (broken) return;
    broken = true;
    counter.reset();
    ended?.();
    failed(error);
  }
  const writer = "getWriter" in stream ? stream.getWriter() : undefined;
  const node = writer === undefined ? stream as NodeWritable : undefined;
  // An error without a listener ends the process. A stream that was destroyed may never call back.
  node?.on("error", fail);
  node?.on("close", () => fail(new Error("The stream was closed")));
  writer?.closed.catch(fail);
  // TCP holds a short message back until the one before it was acknowledged, which can take 40 ms.
  node?.setNoDelay?.(true);
  return {
    get pendingBytes(): number {
      return counter.bytes;
    },
    write(bytes) {
      if (broken) return;
      const done = counter.add(bytes.length);
      if (writer !== undefined) writer.write(bytes).then(done, fail);
      else writeTo(node as NodeWritable, bytes, (error) => error ? fail(error) : done());
    },
    drained: () => counter.drained(),
    async end() {
      if (broken) return;
      if (writer !== undefined) return await writer.close().catch(() => {});
      const { promise, resolve } = Promise.withResolvers<void>();
      ended = resolve;
      node?.end(resolve);
      await promise;
    },
  };
}

/** Deno's standard output throws if it cannot be written. */
function writeTo(stream: NodeWritable, bytes: Uint8Array, done: (error?: unknown) => void): void {
  try {
    stream.write(bytes, done);
  } catch (error) {
    done(error);
  }
}

/** Counts bytes under way. */
class PendingCounter {
  bytes = 0;
  #waiting: (() => void)[] = [];

  /** Adds bytes; call the result when they were handed over. */
  add(length: number): () => void {
    this.bytes += length;
    return () => {
      this.bytes = Math.max(0, this.bytes - length);
      this.#wake();
    };
  }

  /** Resolves at the next change. */
  drained(): Promise<void> {
    return this.bytes === 0 ? Promise.resolve() : new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  /** Counts nothing any more. */
  reset(): void {
    this.bytes = 0;
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
