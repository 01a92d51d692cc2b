/**
 * The connections of one Durable Object, kept with their sockets while the object is out of memory.
 *
 * @module
 */

import type { UpgradeContext } from "../../core/channel.ts";
import type { Connection, Handshake } from "../../core/connection.ts";
import type { Plugin } from "../../core/plugin.ts";
import type { RpcRequest } from "../../core/request.ts";
import type { Transport } from "../../core/transport.ts";
import { describeError } from "../../protocol/errors.ts";
import { isThenable } from "../../util/maybe_promise.ts";
import type { Runtime } from "../runtime.ts";
import { socketPair, upgradeResponse, workersRuntime } from "../workers.ts";
import { HibernatingConnection } from "./hibernating_connection.ts";
import type { HibernatingSocket, ObjectState } from "./object_state.ts";
import type { Snapshot } from "./hibernating_connection.ts";

/** Opens a connection at the server. */
export type Attach = (transport: Transport, handshake: Partial<Handshake>) => void;

/** The hibernating connections of one object. Its `runtime` is what `rpc.fetch` gets as `host`. */
export class Hibernation {
  readonly runtime: Runtime;
  readonly #state: ObjectState;
  readonly #bySocket = new Map<HibernatingSocket, HibernatingConnection>();
  readonly #byConnection = new Map<Connection, HibernatingConnection>();
  // Its `onOpen` is called while it opens, and tells which connection it is.
  #opening: HibernatingConnection | undefined;

  /** @param state The state of the object. */
  constructor(state: ObjectState) {
    this.#state = state;
    this.runtime = {
      ...workersRuntime,
      upgrade: (_request, _host, context) => this.#upgrade(context),
    };
  }

  /** The plugin that notes what has to be kept of each connection. */
  plugin(): Plugin {
    const save = (connection: Connection): void => this.#byConnection.get(connection)?.save();
    return {
      name: "hibernation",
      middleware: (request, next) => this.#run(request, next),
      onOpen: (connection) => {
        if (this.#opening === undefined) return; // an event stream: it cannot hibernate
        this.#opening.opened(connection);
        this.#byConnection.set(connection, this.#opening);
      },
      onUserChange: save,
      onSubscribe: save,
      onUnsubscribe: save,
      onClose: (connection) => {
        const ended = this.#byConnection.get(connection);
        if (ended === undefined) return;
        this.#byConnection.delete(connection);
        this.#bySocket.delete(ended.socket);
        ended.forget();
      },
    };
  }

  /**
   * Opens the connections again that the object had before it left memory. No event reaches the object
   * until they have their subscriptions.
   *
   * @param attach Opens a connection at the server.
   */
  restore(attach: Attach): void {
    const sockets = this.#state.getWebSockets(TAG);
    if (sockets.length === 0) return;
    this.#state.blockConcurrencyWhile(async () => {
      await Promise.all(sockets.map((socket) => this.#restore(socket, attach)));
    });
  }

  /**
   * Takes a message.
   *
   * @param socket Where it came.
   * @param data A string for a text frame.
   * @returns A promise while calls of the connection run: the object must stay in memory.
   */
  message(socket: HibernatingSocket, data: unknown): void | Promise<void> {
    const connection = this.#bySocket.get(socket);
    connection?.receive(typeof data === "string" ? data : undefined);
    return connection?.idle;
  }

  /** Notes that a socket is closed. */
  closed(socket: HibernatingSocket, code: number, reason: string): void {
    this.#bySocket.get(socket)?.channel.closedByPeer(code, reason);
  }

  #upgrade(context: UpgradeContext): Response {
    const [client, socket] = socketPair();
    this.#state.acceptWebSocket(socket as never, [TAG]);
    const hibernating = this.#connection(socket as unknown as HibernatingSocket);
    this.#open(hibernating, context);
    hibernating.save();
    return upgradeResponse(client, context);
  }

  #connection(socket: HibernatingSocket): HibernatingConnection {
    const connection = new HibernatingConnection(socket, this.#state.storage);
    this.#bySocket.set(socket, connection);
    return connection;
  }

  #open(hibernating: HibernatingConnection, { opened }: Pick<UpgradeContext, "opened">): void {
    this.#opening = hibernating;
    try {
      hibernating.channel.receiver = opened(hibernating.channel);
    } finally {
      this.#opening = undefined;
    }
  }

  async #restore(socket: HibernatingSocket, attach: Attach): Promise<void> {
    const hibernating = this.#connection(socket);
    try {
      const snapshot = await hibernating.load();
      attach({
        name: "a hibernated socket",
        open: (context) => this.#open(hibernating, context),
      }, handshakeOf(snapshot));
      await hibernating.resubscribe(snapshot);
    } catch (error) {
      hibernating.logger.error(`Cannot restore a connection: ${describeError(error)}`);
      // The client connects anew, and learns what it has missed.
      hibernating.channel.close(1012, "Cannot restore the connection");
    }
  }

  /** Runs a call. What it changes is kept, and the object stays in memory until it is done. */
  #run(request: RpcRequest, next: () => unknown): unknown {
    const hibernating = this.#byConnection.get(request.connection);
    const result = next();
    if (hibernating === undefined) return result;
    const done = (): void => {
      hibernating.answered(request);
    };
    if (!isThenable(result)) {
      done();
      return result;
    }
    hibernating.wait(Promise.resolve(result).then(done, done));
    return result;
  }
}

function handshakeOf({ id, url, headers, remoteAddress, user }: Snapshot): Partial<Handshake> {
  return { id, url, headers: new Headers(headers), remoteAddress, user };
}

// Marks the sockets of this package among those that an object may have beside them.
const TAG = "@x/jsonrpc";
