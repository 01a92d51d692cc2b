/**
 * The connections of a server of `node:http` or `node:https` that hold up its end although nothing was asked on
 * them: Node closes only those that have had a request.
 *
 * @module
 */

import type { Server, Socket } from "node:net";

/** Knows the connections of one server. */
export class OpenSockets {
  // With TLS each connection stands here twice, once its handshake is done: encrypted, and as what it is made of.
  readonly #sockets = new Set<Socket>();
  readonly #isSecure: boolean;

  /**
   * @param server The server, before it listens.
   * @param isSecure Whether it uses TLS.
   */
  constructor(server: Server, isSecure: boolean) {
    this.#isSecure = isSecure;
    const add = (socket: Socket): void => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
    };
    server.on("connection", add);
    if (isSecure) server.on("secureConnection", add);
  }

  /**
   * Closes the connections on which nothing has come: those that browsers and `fetch` open in case that they
   * need one, and those whose TLS handshake is not done.
   */
  closeSilent(): void {
    const sockets = [...this.#sockets];
    const encrypted = new Set(sockets.filter(isEncrypted).map(peerOf));
    for (const socket of sockets) {
      const isSilent = this.#isSecure && !isEncrypted(socket)
        ? !encrypted.has(peerOf(socket))
        : socket.bytesRead === 0;
      if (isSilent) socket.destroy();
    }
  }
}

function isEncrypted(socket: Socket & { readonly encrypted?: boolean }): boolean {
  return socket.encrypted === true;
}

function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
