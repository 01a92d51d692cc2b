/**
 * How a server behaves.
 *
 * @module
 */

import type { Limits } from "../protocol/limits.ts";
import type { Logger } from "../util/logger.ts";
import type { ServerInfo } from "./discovery.ts";
import type { OriginOptions } from "./origin.ts";
import type { Broker } from "../brokers/broker.ts";
import type { Handshake } from "../core/connection.ts";

/** How a server behaves: all of {@linkcode Limits} and {@linkcode OriginOptions}, and these. */
export interface JsonRpcOptions extends Partial<Limits>, OriginOptions {
  /** Where the server writes its log. @default {console} */
  readonly logger?: Logger;
  /**
   * What stands between the prefix and the name of a method. Types know the dot alone: with another,
   * the methods of a prefix are for `client.remote` and its option of the same name, `math.add` say.
   *
   * @default {"."}
   */
  readonly separator?: string;
  /** Whether every method takes params that are neither array nor object. @default {false} */
  readonly scalarParams?: boolean;
  /** Whether events that are no array or object go out in a one-element array. @default {false} */
  readonly wrapScalars?: boolean;
  /** What `rpc.discover` says of the whole server. @default {{ title: "JSON-RPC", version: "0" }} */
  readonly info?: ServerInfo;
  /**
   * Who keeps the events of topics and brings them round: this process alone, or an engine between
   * processes. It is closed with the server, of several with the last.
   *
   * @default {memoryBroker()}
   */
  readonly broker?: Broker;
  /** Subprotocols to choose from, beside `jsonrpc`. @default {[]} */
  readonly protocols?: readonly string[];
}

/** What `rpc.attach` may be told of a socket that came some other way. */
export type AttachOptions = Partial<Handshake>;
