/**
 * Reading the answer to a POST: a text, or a stream of server-sent events. The first POST loads this file too, so
 * it imports nothing.
 *
 * @see {@link https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation}
 *
 * @module
 */

/** How an answer is read. */
export interface ReadOptions {
  /** Bytes that one message may have. */
  readonly maxMessageBytes: number;
  /** Stops reading. */
  readonly signal: AbortSignal;
  /**
   * If the answer is a stream of events: takes each message; returns whether there is more to wait for. May throw.
   */
  readonly take: ((message: string) => boolean) | false | undefined;
}

/**
 * Reads an answer.
 *
 * @param body The answer.
 * @param options How it is read.
 * @returns Its text; of a stream, what `take` did not get. `undefined` if a message is too long. Rejects if the
 * answer breaks off, and with what `take` throws.
 */
export async function readAnswer(
  body: ReadableStream<Uint8Array>,
  { maxMessageBytes, signal, take }: ReadOptions,
): Promise<string | undefined> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const cancel = () => void reader.cancel().catch(() => {});
  // A `fetch` of the program's own need not end the body when its signal aborts.
  signal.addEventListener("abort", cancel);
  const pending: Pending = { line: "", data: "", name: "" };
  try {
    for (;;) {
      const { done, value } = await reader.read();
      const text = decoder.decode(value, { stream: !done });
      if (!take) pending.line += text;
      else {
        for (const message of messagesOf(text, pending)) {
          if (isLonger(message, maxMessageBytes)) return undefined;
          if (take(message)) continue;
          // Most servers end the answer now: its connection can then carry the next POST.
          AbortSignal.timeout(1000).addEventListener("abort", cancel);
          await reader.read();
          return "";
        }
      }
      // The name of a field does not count.
      if (pending.line.length + pending.data.length > maxMessageBytes + 9) return undefined;
      if (done) return isLonger(pending.line, maxMessageBytes) ? undefined : pending.line;
    }
  } finally {
    cancel();
  }
}

/** What has come of the next line and of the next event. */
interface Pending {
  line: string;
  data: string;
  name: string;
  afterCr?: boolean;
}

/** Gives the messages that are complete with one more piece of a stream of events. */
function messagesOf(piece: string, pending: Pending): string[] {
  if (piece === "") return [];
  // The second half of a line's end that was cut in two is no line.
  const text = pending.afterCr && piece[0] === "\n" ? piece.slice(1) : piece;
  pending.afterCr = text.endsWith("\r");
  const lines = text.split(/\r\n|\r|\n/);
  lines[0] = pending.line + lines[0];
  pending.line = lines.pop() as string;
  return lines.flatMap((line) => {
    const [, field, value] = /^([^:]*):? ?(.*)/s.exec(line) as string[];
    if (field === "data") pending.data += `\n${value}`;
    if (field === "event") pending.name = value as string;
    if (line !== "") return [];
    const message = /^(message)?$/.test(pending.name) ? pending.data.slice(1) : "";
    pending.data = pending.name = "";
    // An event without data only says that the server is there.
    return message || [];
  });
}

function isLonger(message: string, maxMessageBytes: number): boolean {
  return new Blob([message]).size > maxMessageBytes;
}
