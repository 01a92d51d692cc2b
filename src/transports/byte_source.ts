/**
 * Reading chunks of bytes from a web stream or one of Node's, until it ends or is given up.
 *
 * @module
 */

/** What is used of Node's `Readable`. */
export interface NodeReadable extends AsyncIterable<Uint8Array> {
  /** Gives the stream up. */
  destroy(): unknown;
}

/** Where bytes can be read: a `ReadableStream`, or one of Node's `Readable`. */
export type ReadableBytes = ReadableStream<Uint8Array> | NodeReadable;

/** Gives bytes in order, to one reader. */
export interface ByteSource {
  /** The next bytes; `undefined` at the end. Rejects if the stream breaks. */
  next(): Promise<Uint8Array | undefined>;
  /** Gives the stream up. Does not throw. */
  cancel(): void;
}

/**
 * Wraps a stream. Not with `for await`, which cannot be left while it waits.
 *
 * @param stream A web stream, or one of Node's.
 */
export function toByteSource(stream: ReadableBytes): ByteSource {
  if ("getReader" in stream) {
    const reader = stream.getReader();
    return {
      next: async () => (await reader.read()).value,
      cancel: () => void reader.cancel().catch(() => {}),
    };
  }
  const chunks = stream[Symbol.asyncIterator]();
  return {
    async next() {
      const { done, value } = await chunks.next();
      return done ? undefined : value;
    },
    cancel: () => void stream.destroy(),
  };
}
