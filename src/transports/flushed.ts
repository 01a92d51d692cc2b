/**
 * The standard input of a program that Bun has started. Bun keeps short writes for a moment, and tells nobody
 * if it then cannot write them: the calls in them would wait for ever. Whoever flushes learns of it.
 *
 * @module
 */

import type { NodeWritable } from "./byte_sink.ts";

/** What Bun writes into. Its functions need their `this`. */
interface FileSink {
  flush(): unknown;
}

/**
 * Wraps a stream so that each write tells whether it could be written.
 *
 * @param stream The standard input of a program.
 * @returns The stream itself, unless it is one of Bun's.
 */
export function flushed(stream: NodeWritable): NodeWritable {
  const sink = sinkOf(stream);
  if (sink === undefined) return stream;
  return {
    write: (bytes, done) =>
      stream.write(bytes, (error) => {
        if (error) return done(error);
        try {
          // A promise if the program reads too slowly; else it has thrown or is done.
          Promise.resolve(sink.flush()).then(() => done(), done);
        } catch (error) {
          done(error as Error);
        }
      }),
    end: (done) => stream.end(done),
    on: (event, listener) => stream.on(event, listener),
  };
}

/** Bun's stream has it under a symbol, and nowhere else. */
function sinkOf(stream: NodeWritable): FileSink | undefined {
  const key = Object.getOwnPropertySymbols(stream)
    .find(({ description }) => description === "kWriteStreamFastPath");
  const sink = key && (stream as unknown as Record<symbol, Partial<FileSink> | undefined>)[key];
  return typeof sink?.flush === "function" ? sink as FileSink : undefined;
}
