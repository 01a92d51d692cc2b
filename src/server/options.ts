/**
 * The options of a server.
 *
 * @module
 */

import type { ErrorClasses } from "../protocol/errors.ts";
import type { Broker } from "../brokers/broker.ts";
import type { Handshake } from "../core/connection.ts";
import type { Dialect } from "../core/dialect.ts";
import type { Trace } from "../core/trace.ts";
import type { Limits } from "../protocol/limits.ts";
import type { Logger } from "../util/logger.ts";
import type { ServerInfo, ServerLocation } from "./open_rpc.ts";
import type { OriginOptions } from "./origin.ts";

/** The options of a server: all of {@linkcode Limits} and {@linkcode OriginOptions}, and these. */
export interface JsonRpcOptions extends Partial<Limits>, OriginOptions {
  /** Where the server writes its log. @default {console} */
  readonly logger?: Logger;
  /**
   * Classes of errors by code. An error of a client with such a code arrives as an object of that class, which extends
   * `RpcError` and keeps its constructor.
   *
   * @default {{}}
   */
  readonly errors?: ErrorClasses | undefined;
  /**
   * What clients speak: `lsp`, `mcp` or `acp` of `./dialect`, or a record of your own. It says how
   * cancelling and progress are named, on connections that last and in the events that answer a POST.
   *
   * @default {$/cancelRequest and $/progress}
   */
  readonly dialect?: Dialect;
  /**
   * Traces each text that the server sends or receives: `trace(console)` of `./trace`. Meant for development.
   *
   * @default {no trace}
   */
  readonly trace?: Trace;
  /**
   * What stands between a prefix of `addMethods` and the method's name. The types know only the dot:
   * with another separator, call the methods by `client.remote`, with the client's option of the same
   * name.
   *
   * @default {"."}
   */
  readonly separator?: string;
  /**
   * Whether the `data` of a "Method not found" says why: there is no such method, or which guard refused.
   * For development only: it tells strangers what there is. A `logger` of your own gets the reasons
   * anyway, at debug level; `console`, which prints every level, gets them only with this option.
   *
   * @default {false}
   */
  readonly explainRefusals?: boolean;
  /** Whether every method accepts params that are neither array nor object. @default {false} */
  readonly scalarParams?: boolean;
  /** Whether events that are neither array nor object are sent in a one-element array. @default {false} */
  readonly wrapScalars?: boolean;
  /** What `rpc.discover` says of the whole server. @default {{ title: "JSON-RPC", version: "0" }} */
  readonly info?: ServerInfo;
  /** The version of OpenRPC that the document of `rpc.discover` names. @default {"1.2.6"} */
  readonly openRpcVersion?: string;
  /**
   * Where the server can be reached, for the document of `rpc.discover`. Name it behind a proxy that changes the
   * host or the path.
   *
   * @default {the URL that the caller has connected to, without its query; none without a URL}
   */
  readonly servers?: readonly ServerLocation[];
  /**
   * Stores the events of topics and delivers them: within this process, or between processes through
   * Redis or NATS. The server closes it when it closes; if several servers share it, the last one does.
   *
   * @default {memoryBroker()}
   */
  readonly broker?: Broker;
  /**
   * The status of the response to a POST of notifications alone, which has no body. MCP wants 202; some
   * clients accept only 200.
   *
   * @default {200}
   */
  readonly notificationStatus?: 200 | 202 | 204;
  /**
   * Addresses of proxies in front of the server, such as `"10.0.0.1"`. A request from one of them has the
   * address that the proxy added to `x-forwarded-for`: as `handshake.remoteAddress`, and so for
   * `maxPerAddress`, `rateLimit` and the waits after wrong passwords.
   *
   * @default {[]}
   */
  readonly trustedProxies?: readonly string[];
  /**
   * Subprotocols that the server may select beside `jsonrpc`.
   *
   * @default {[]}
   * @see {@link https://www.rfc-editor.org/rfc/rfc6455#section-1.9 | RFC 6455, section 1.9}
   */
  readonly protocols?: readonly string[];
}

/** What `rpc.attach` can be told of a peer whose socket was opened some other way. */
export interface AttachOptions extends Partial<Handshake> {
  /**
   * The request that has opened the socket. With it the same checks run as for `rpc.fetch`: origins,
   * hosts, the handshake checks of plugins (tokens, sessions, HTTP Basic), `maxPerAddress`. **Without it
   * none of them runs**, and the peer has the user that you give.
   */
  readonly request?: AttachRequest;
}

/** A request as Fetch has it, or as `node:http` has it. */
export interface AttachRequest {
  /** The URL, or only its path. */
  readonly url?: string | undefined;
  /** The headers. */
  readonly headers: Headers | Readonly<Record<string, string | readonly string[] | undefined>>;
  /** Where the address of the peer is found, unless the options have it. */
  readonly socket?: { readonly remoteAddress?: string | undefined };
}

/** What `rpc.attach` returns: with a request, whether the peer was accepted; else nothing. */
export type Attached<Options extends AttachOptions> = Options extends
  { readonly request: AttachRequest } ? Promise<boolean> : void;
