/**
 * Reading a stream of bytes as text, up to a limit.
 *
 * @module
 */

/**
 * Reads the stream of a body to its end.
 *
 * @returns The text, or `undefined` where it is longer than allowed: the rest is left to the caller.
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
