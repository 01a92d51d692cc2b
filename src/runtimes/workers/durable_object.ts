/**
 * Cloudflare Durable Objects whose WebSockets hibernate: the object leaves memory while nothing happens,
 * and its clients stay connected. When it wakes, each connection has its id, its user, its state and its
 * subscriptions back.
 *
 * @see {@link https://developers.cloudflare.com/durable-objects/best-practices/websockets/}
 *
 * @module
 */

import type { Plugin } from "../../core/plugin.ts";
import type { Transport } from "../../core/transport.ts";
import type { Handshake } from "../../core/connection.ts";
import { Hibernation } from "./hibernation.ts";
import type { HibernatingSocket, ObjectState } from "./object_state.ts";

/** The part of a server that this module uses. A `JsonRpc` has it. */
export interface HibernatingServer {
  /** Answers a request. */
  fetch(request: Request, host?: unknown): Response | Promise<Response>;
  /** Opens a connection over a transport. */
  attach(transport: Transport, handshake: Partial<Handshake>): void;
  /** Mounts a plugin. */
  use(plugin: Plugin): unknown;
}

/** What a Durable Object does with its events: give each of these methods of yours to it. */
export interface HibernatingHandlers {
  /**
   * Answers a request: an upgrade, a POST, a GET or an event stream.
   *
   * @param request The request that the Worker passed on.
   */
  fetch(request: Request): Response | Promise<Response>;
  /**
   * Takes a message.
   *
   * @param socket Where it came.
   * @param data A string for a text frame.
   */
  webSocketMessage(socket: HibernatingSocket, data: unknown): void | Promise<void>;
  /**
   * Notes that a client has closed its socket.
   *
   * @param socket The socket.
   * @param code The close code.
   * @param reason The reason.
   */
  webSocketClose(socket: HibernatingSocket, code: number, reason: string): void;
  /**
   * Notes that a socket has failed.
   *
   * @param socket The socket.
   */
  webSocketError(socket: HibernatingSocket): void;
}

/** An object of the class that {@linkcode durableObject} makes. */
export interface RpcObject extends HibernatingHandlers {
  /** Tells Cloudflare's declarations that this is a Durable Object. It does not exist at run time. */
  readonly __DURABLE_OBJECT_BRAND: never;
}

/**
 * Lets the WebSockets of a server hibernate. Call it in the constructor of a Durable Object, when all
 * methods, topics and plugins are registered, and pass the object's events on to what it returns.
 *
 * After each call, subscription and login, what is known of the connection is stored with its socket.
 * `connection.user` and `connection.state` must be data that can be cloned; functions cannot.
 *
 * A timer keeps an object in memory. So the server sends no heartbeats: Cloudflare notices clients that
 * are gone.
 *
 * @param rpc The server.
 * @param state The first argument of the object's constructor.
 * @returns The handlers of the object.
 *
 * @example An object with methods of its own
 * ```ts ignore
 * import { DurableObject } from "cloudflare:workers";
 * import { JsonRpc } from "@x/jsonrpc";
 * import { hibernate, storageBroker } from "@x/jsonrpc/workers";
 *
 * export class Room extends DurableObject<Env> {
 *   #rpc = new JsonRpc({ broker: storageBroker(this.ctx.storage) }).topic("news", { retain: true });
 *   #handlers = hibernate(this.#rpc, this.ctx);
 *
 *   fetch(request: Request) {
 *     return this.#handlers.fetch(request);
 *   }
 *   webSocketMessage(socket: WebSocket, data: string | ArrayBuffer) {
 *     return this.#handlers.webSocketMessage(socket, data);
 *   }
 *   webSocketClose(socket: WebSocket, code: number, reason: string) {
 *     this.#handlers.webSocketClose(socket, code, reason);
 *   }
 *   webSocketError(socket: WebSocket) {
 *     this.#handlers.webSocketError(socket);
 *   }
 *   publish(news: string) { // called by Workers: env.ROOM.getByName("lobby").publish("…")
 *     this.#rpc.publish("news", news);
 *   }
 * }
 * ```
 */
export function hibernate(rpc: HibernatingServer, state: ObjectState): HibernatingHandlers {
  const hibernation = new Hibernation(state);
  rpc.use(hibernation.plugin());
  hibernation.restore((transport, handshake) => rpc.attach(transport, handshake));
  return {
    fetch: (request) => rpc.fetch(request, hibernation),
    webSocketMessage: (socket, data) => hibernation.message(socket, data),
    webSocketClose: (socket, code, reason) => hibernation.closed(socket, code, reason),
    webSocketError: (socket) => hibernation.closed(socket, 1006, ""),
  };
}

/**
 * Makes the class of a Durable Object that is a JSON-RPC server. Export a class that extends it from the
 * Worker, and pass requests on to an object of it.
 *
 * @typeParam Env The bindings of the Worker.
 * @param create Makes the server of one object. Called each time that the object comes into memory.
 * @returns The class.
 *
 * @example A chat, one object for each room
 * ```ts ignore
 * import { JsonRpc } from "@x/jsonrpc";
 * import { durableObject, storageBroker } from "@x/jsonrpc/workers";
 *
 * export class Room extends durableObject((state) => {
 *   const rpc = new JsonRpc({ broker: storageBroker(state.storage) })
 *     .method("say", ([text]: [string]) => void rpc.publish("said", text))
 *     .topic("said", { history: { size: 100 } });
 *   return rpc;
 * }) {}
 *
 * export default {
 *   fetch: (request: Request, env: Env) => // as `wrangler types` declares it
 *     env.ROOM.getByName(new URL(request.url).pathname).fetch(request),
 * };
 * ```
 */
export function durableObject<Env = unknown>(
  create: (state: ObjectState, env: Env) => HibernatingServer,
): new (state: ObjectState, env: Env) => RpcObject {
  return class implements RpcObject {
    declare readonly __DURABLE_OBJECT_BRAND: never;
    readonly #handlers: HibernatingHandlers;

    constructor(state: ObjectState, env: Env) {
      this.#handlers = hibernate(create(state, env), state);
    }

    fetch(request: Request): Response | Promise<Response> {
      return this.#handlers.fetch(request);
    }

    webSocketMessage(socket: HibernatingSocket, data: unknown): void | Promise<void> {
      return this.#handlers.webSocketMessage(socket, data);
    }

    webSocketClose(socket: HibernatingSocket, code: number, reason: string): void {
      this.#handlers.webSocketClose(socket, code, reason);
    }

    webSocketError(socket: HibernatingSocket): void {
      this.#handlers.webSocketError(socket);
    }
  };
}

export type { HibernatingSocket, ObjectState, ObjectStorage, SqlStorage } from "./object_state.ts";
export { storageBroker } from "./storage_broker.ts";
