/**
 * What can be mounted on a server: auth backends, pub/sub, and yours.
 *
 * @module
 */

import type { CallMiddleware, Handler } from "./request.ts";
import type { Connection, Handshake } from "./connection.ts";

/**
 * Looks at a peer before its first message: before a WebSocket is opened, and before each POST.
 * Refuses by returning or throwing a `Response`; may set `handshake.user`.
 */
export type HandshakeCheck = (
  handshake: Handshake,
) => Response | undefined | void | Promise<Response | undefined | void>;

/** A method that a plugin brings. */
export interface PluginMethod {
  /** Answers the calls. */
  readonly handler: Handler;
  /** Names of the params, in order: a caller may then pass them by position or by name. */
  readonly names?: readonly string[];
  /** Layers around this method alone. */
  readonly use?: readonly CallMiddleware[];
  /** Whether params that are neither array nor object reach it. @default {false} */
  readonly scalarParams?: boolean;
  /** Whether it needs a connection that lasts: over HTTP it then does not exist. @default {false} */
  readonly socketOnly?: boolean;
}

/**
 * A record of what a plugin brings; all of it optional.
 *
 * @typeParam User What `request.user` is once the plugin is mounted.
 * @typeParam Methods What clients may call because of it: functions by name, of their params.
 *
 * @example Counting calls
 * ```ts
 * import { JsonRpc } from "@x/jsonrpc";
 * import type { Plugin } from "@x/jsonrpc/plugin";
 *
 * function counter(): Plugin {
 *   let calls = 0;
 *   return {
 *     name: "counter",
 *     middleware: (_request, next) => (calls++, next()),
 *     methods: { count: { handler: () => calls } },
 *   };
 * }
 *
 * const rpc = new JsonRpc().use(counter());
 * ```
 */
// deno-lint-ignore ban-types -- exactly this: a type to intersect with
export interface Plugin<User = unknown, Methods extends object = {}> {
  /** What the plugin is called in logs and errors. */
  readonly name: string;
  /** A layer around every call. */
  readonly middleware?: CallMiddleware;
  /** Looks at each peer before its first message. */
  readonly handshake?: HandshakeCheck;
  /** Methods by name. */
  readonly methods?: Readonly<Record<string, PluginMethod>>;
  /** Answers a request that is neither an upgrade nor a POST, or leaves it by returning nothing. */
  readonly fetch?: (request: Request) => Response | undefined | Promise<Response | undefined>;
  /**
   * Called when a connection that lasts is open, a WebSocket or an event stream, before its first
   * message. Where it throws, the connection is closed with 1011.
   */
  readonly onOpen?: (connection: Connection) => void;
  /** Called when a connection has ended: forget it. */
  readonly onClose?: (connection: Connection) => void;
  /** Called when the user of a connection changes: take away what it may no longer use. */
  readonly onUserChange?: (connection: Connection) => void;
  /**
   * Called when events of a topic were not sent to a connection, because its peer does not read fast
   * enough. Those that it may still recover are not among them.
   */
  readonly onDrop?: (connection: Connection, topic: string, count: number) => void;
  /** Called when the server closes. */
  readonly dispose?: () => void | Promise<void>;
  /** Only a type: what the user becomes. Never set. */
  readonly "~user"?: User;
  /** Only a type: what clients may call. Never set. */
  readonly "~methods"?: Methods;
}

export type { Connection, Handshake } from "./connection.ts";
export type { Guard, GuardQuestion } from "./guard.ts";
export type { CallMiddleware, Handler, RpcRequest } from "./request.ts";
