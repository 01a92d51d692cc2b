/**
 * The connections that the requests of `node:http` come over. They can be paused.
 *
 * @module
 */

import type { Socket } from "node:net";
import { isDeno } from "../deno.ts";
import type { HttpConnection } from "../runtime.ts";

/** The connection of a socket: always the same object. */
export function connectionOf(socket: Socket): HttpConnection {
  let connection = connections.get(socket);
  if (connection === undefined) connections.set(socket, connection = new NodeConnection(socket));
  return connection;
}

// Elsewhere `node:http` reads on although its socket is paused.
const canPause = !("Bun" in globalThis) && !isDeno();
const connections = new WeakMap<Socket, HttpConnection>();

class NodeConnection implements HttpConnection {
  readonly canPause = canPause;
  readonly #socket: Socket;
  #isPaused = false;
  #isWatched = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  get isOpen(): boolean {
    return !this.#socket.destroyed;
  }

  pause(): void {
    this.#isPaused = true;
    if (!this.#isWatched) {
      this.#isWatched = true;
      // Node resumes the socket whenever a body is read, even one that has come as a whole.
      this.#socket.on("resume", () => {
        if (this.#isPaused) this.#socket.pause();
      });
    }
    this.#socket.pause();
  }

  resume(): void {
    this.#isPaused = false;
    this.#socket.resume();
  }
}
