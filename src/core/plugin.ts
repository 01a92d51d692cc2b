/**
 * Types for plugins of your own. A plugin is a record with a `name`; it may add methods, middleware,
 * checks before a connection opens, and functions that are called when connections open, end, subscribe
 * or change their user. Mount it with `rpc.use(plugin)`. Auth backends are plugins, and so are topics.
 *
 * @module
 */

import type { CallMiddleware, RpcRequest } from "./request.ts";
import type { Connection, Handshake } from "./connection.ts";
import type { Logger } from "../util/logger.ts";
import type { OutgoingMiddleware } from "./outgoing.ts";
import type { ServerStats } from "./stats.ts";
import type { Trace } from "./wire_trace.ts";

/**
 * Checks a peer before a WebSocket is opened, and before each POST and GET. It refuses the peer by
 * returning or throwing a `Response`. It may set `handshake.user`. `logger` is where the server writes.
 */
export type HandshakeCheck = (
  handshake: Handshake,
  logger: Logger,
) => Response | undefined | void | Promise<Response | undefined | void>;

/**
 * What `rpc.discover` tells of a method of a plugin. Nothing checks params or results by it: for that, the
 * handler has its own code.
 */
export interface MethodDocument {
  /** One line. */
  readonly summary?: string;
  /** The params, in order, with their JSON Schemas. */
  readonly params: readonly {
    readonly name: string;
    readonly required?: boolean;
    readonly schema: Readonly<Record<string, unknown>>;
  }[];
  /** How params may be passed. @default {"either"} */
  readonly structure?: "by-name" | "by-position" | "either";
  /** The JSON Schema of the result. */
  readonly result: Readonly<Record<string, unknown>>;
}

/** A method of a plugin. */
export interface PluginMethod {
  /** The function that answers calls. Params are what callers send: check them. */
  readonly handler: (params: never, request: RpcRequest) => unknown;
  /** Names of the params, in order. Callers may then pass params by position or by name. */
  readonly names?: readonly string[];
  /** What `rpc.discover` tells of it. @default {its `names`} */
  readonly document?: MethodDocument;
  /** Middleware and guards around this method alone. */
  readonly use?: readonly CallMiddleware[];
  /** Whether it accepts params that are neither an array nor an object. @default {false} */
  readonly scalarParams?: boolean;
  /** Whether it needs a lasting connection. If so, it does not exist over HTTP. @default {false} */
  readonly socketOnly?: boolean;
  /**
   * Whether it takes the place of a method that has its name, such as one of those that every server has.
   *
   * @default {false}
   */
  readonly replaces?: boolean;
}

/** A POST that has passed all checks, and whose body was read within the limits. */
export interface Posted {
  /** The body, which is JSON. */
  readonly text: string;
  /** What the body says; nothing is known of it. */
  readonly message: unknown;
  /** What is known of the peer. */
  readonly handshake: Handshake;
}

/** The server that a plugin was mounted on. */
export interface MountedServer {
  /** Gives the numbers of the server. */
  stats(): ServerStats;
  /** Whether a method of this name is registered. Callers choose names: count only by those that are. */
  hasMethod(name: string): boolean;
}

/**
 * Why a subscription has ended: the client called `unsubscribe`, the connection has closed, the user may
 * not have the topic any more, the topic was removed from the server, or the broker has failed.
 */
export type UnsubscribeReason = "call" | "close" | "forbidden" | "removed" | "error";

/**
 * A plugin for `rpc.use(…)`. Every member but `name` is optional.
 *
 * A function whose name starts with `on` only takes note: its result is ignored, and if it throws, the
 * server logs that and goes on. (Only `onMount` may throw.)
 *
 * @typeParam User The type of `request.user` once the plugin is mounted.
 * @typeParam Methods The methods that it adds, as functions of their params by name.
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
  /** The name of the plugin in logs and errors. */
  readonly name: string;
  /** Traces the wire of connections that open from now on, as the option `trace` of a server does. */
  readonly trace?: Trace;
  /** Called when the plugin is mounted. If it throws, so does `rpc.use`. */
  readonly onMount?: (server: MountedServer) => void;
  /** Middleware around every call. */
  readonly middleware?: CallMiddleware;
  /** Middleware around every call that the server makes to one of its clients. Notifications do not count. */
  readonly outgoing?: OutgoingMiddleware;
  /** Checks each peer before its first message. */
  readonly handshake?: HandshakeCheck;
  /** Methods to add, by name. */
  readonly methods?: Readonly<Record<string, PluginMethod>>;
  /**
   * Answers a request that is neither an upgrade nor a POST, after all checks. If it returns `undefined`, the
   * next plugin or the server answers. The request is as it came, with its cookies, also if `origins` is
   * `"*"`: a plugin that goes by cookies reads them from the handshake.
   */
  readonly fetch?: (
    request: Request,
    handshake: Handshake,
  ) => Response | undefined | Promise<Response | undefined>;
  /**
   * Answers a POST in place of the server, after all checks, such as one that belongs to a session which the
   * plugin has opened with `rpc.attach`. If it returns `undefined`, the next plugin or the server answers.
   */
  readonly post?: (posted: Posted) => Response | undefined | Promise<Response | undefined>;
  /**
   * Answers a browser with a page that holds no data and is the same for everybody. It is asked as `fetch` is.
   * A backend that requires a login may let people without one get it, to log in there: see
   * {@linkcode Handshake.pageOnly}.
   */
  readonly page?: (request: Request) => Response | undefined;
  /**
   * Called when a WebSocket or an event stream is open, before its first message. If it throws, the
   * connection is closed with 1011.
   */
  readonly onOpen?: (connection: Connection) => void;
  /**
   * Called when a connection has ended; also, if the plugin is taken back (`rpc.register`), for each
   * connection that is open. It is called once for each connection.
   */
  readonly onClose?: (connection: Connection) => void;
  /** Called when the user of a connection has changed. */
  readonly onUserChange?: (connection: Connection) => void;
  /**
   * Called when a connection is subscribed to a topic: after the answer, before its first event. It is
   * called once for a connection and a topic, even if the client subscribes again.
   */
  readonly onSubscribe?: (connection: Connection, topic: string) => void;
  /**
   * Called when a connection is no longer subscribed to a topic: once for each call of `onSubscribe`,
   * and before `onClose`. If the plugin is taken back, the reason is `"close"`.
   */
  readonly onUnsubscribe?: (
    connection: Connection,
    topic: string,
    reason: UnsubscribeReason,
  ) => void;
  /**
   * Called when events of a topic were dropped because the peer reads too slowly. Events that the peer can
   * still recover do not count.
   */
  readonly onDrop?: (connection: Connection, topic: string, count: number) => void;
  /**
   * Called when the server closes, after its last connection has ended, or when the plugin is taken
   * back, after `onClose` of those that are open.
   */
  readonly dispose?: () => void | Promise<void>;
  /** The type of the user. Only a type; it is never set. */
  readonly "~user"?: User;
  /** The type of the methods. Only a type; it is never set. */
  readonly "~methods"?: Methods;
}

export type { Connection, Handshake } from "./connection.ts";
export type { Guard, GuardQuestion } from "./guard.ts";
export type { OutgoingCall, OutgoingChanges, OutgoingMiddleware } from "./outgoing.ts";
export type { CallOptions } from "./pending_calls.ts";
export type { CallMiddleware, Handler, RpcRequest } from "./request.ts";
export type { EventStats, ServerStats } from "./stats.ts";
