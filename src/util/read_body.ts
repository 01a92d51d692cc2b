/**
 * Reading a stream of bytes as text, up to a limit. A client's POST loads this file alone, so it imports
 * nothing.
 *
 * @module
 */

/**
 * Reads a stream of bytes as text.
 *
 * @param body The stream; `null` is an empty one.
 * @param maxBytes Bytes that the stream may have.
 * @returns The text, or `undefined` if it is longer than `maxBytes`. Discarding the rest is up to the
 * caller.
 */
export async function readChunks(
  body: ReadableStream<Uint8Array> | null,
  maxBytes: number,
): Promise<string | undefined> {
  if (body === null) return "";
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (let left = maxBytes;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    left -= value.byteLength;
    if (left < 0) {
      reader.releaseLock();
      return undefined;
    }
    text += decoder.decode(value, { stream: true });
  }
}
