/**
 * Measures calls over HTTP POST, on kept connections.
 */
import { Buffer } from "node:buffer";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { DIALECTS } from "./dialects.ts";
import type { Dialect } from "./dialects.ts";
import type { Job, Outcome } from "./measure.ts";
import { measured, pause } from "./measure.ts";

/** Runs one job. Rejects if an answer is wrong. */
export async function runPosts(job: Job): Promise<Outcome> {
  const posters = Array.from({ length: job.connections }, () => new Poster(job));
  await pause(job.warmMs);
  const outcome = await measured(job, () => sum(posters));
  for (const poster of posters) poster.end();
  return outcome;
}

function sum(posters: readonly Poster[]): number {
  return posters.reduce((total, { answered }) => total + answered, 0);
}

class Poster {
  answered = 0;
  readonly #socket: Socket;
  readonly #dialect: Dialect;
  readonly #request: Buffer;
  #got = "";
  #ending = false;

  constructor({ port, dialect, method }: Job) {
    this.#dialect = DIALECTS[dialect] as Dialect;
    const body = this.#dialect.encode(1, method, { a: 1, b: 2 });
    this.#request = Buffer.from(
      `POST / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: application/json\r\n` +
        `Content-Length: ${body.length}\r\n\r\n${body}`,
    );
    this.#socket = connect({ port, host: "127.0.0.1", noDelay: true });
    this.#socket.on("data", (bytes: Buffer) => this.#take(bytes.toString("latin1")));
    this.#socket.on("close", () => {
      if (!this.#ending) throw new Error(`The server closed a connection: ${this.#got}`);
    });
    this.#socket.write(this.#request);
  }

  end(): void {
    this.#ending = true;
    this.#socket.destroy();
  }

  #take(text: string): void {
    this.#got += text;
    const body = bodyOf(this.#got);
    if (body === undefined) return;
    const { id, result } = this.#dialect.decode(body);
    if (id !== 1 || result !== 3) throw new Error(`Expected 3, got ${this.#got}`);
    this.#got = "";
    this.answered++;
    if (!this.#ending) this.#socket.write(this.#request);
  }
}

/** The body of a whole response; `undefined` if more of it must arrive. */
function bodyOf(response: string): string | undefined {
  const end = response.indexOf("\r\n\r\n");
  if (end === -1) return undefined;
  if (!response.startsWith("HTTP/1.1 200")) throw new Error(`Expected 200, got ${response}`);
  const head = response.slice(0, end).toLowerCase();
  const body = response.slice(end + 4);
  const [, length] = /\r\ncontent-length: *(\d+)/.exec(head) ?? [];
  if (length !== undefined) return body.length < Number(length) ? undefined : body;
  if (!body.endsWith("0\r\n\r\n")) return undefined;
  return body.slice(body.indexOf("\r\n") + 2, body.lastIndexOf("\r\n0\r\n\r\n")); // one chunk
}
