/**
 * What the parts of one server share.
 *
 * @module
 */

import type { Dialect } from "../core/dialect.ts";
import type { Trace } from "../core/trace.ts";
import type { ErrorClasses } from "../protocol/errors.ts";
import type { Limits } from "../protocol/limits.ts";
import type { Logger } from "../util/logger.ts";
import type { AddressCounts } from "./address_counts.ts";
import type { HandshakeChecks } from "./handshake_checks.ts";
import type { MemoryBudget } from "./memory_budget.ts";
import type { MethodRegistry } from "./methods.ts";
import type { PluginHooks } from "./plugin_hooks.ts";
import type { Shutdown } from "./shutdown.ts";
import type { TurnPacer } from "./turn_pacer.ts";

/** What a server is made of before it answers requests. */
export interface ServerParts {
  /** The limits that hold. */
  readonly limits: Limits;
  /** Where failures are written. */
  readonly logger: Logger;
  /** The classes of errors that clients answer with. */
  readonly errors?: ErrorClasses | undefined;
  /** Whether callers are told why they were refused. */
  readonly explainRefusals: boolean;
  /** What traces the wire: the option `trace`, and plugins. */
  readonly traces: readonly Trace[];
  /** The dialect of JSON-RPC that clients speak, if the server has the option `dialect`. */
  readonly dialect: Dialect | undefined;
  /** The memory that all peers use. */
  readonly budget: MemoryBudget;
  /** The methods that can be called. */
  readonly methods: MethodRegistry;
  /** The plugins that are mounted; more may be mounted later. */
  readonly hooks: PluginHooks;
}

/** What everything that accepts requests shares: over WebSocket and over HTTP the same. */
export interface ServerContext extends ServerParts {
  /** The checks that run before the first message of a peer. */
  readonly checks: HandshakeChecks;
  /** How many connections and requests each client has. */
  readonly addresses: AddressCounts;
  /** Shares turns of the event loop between peers; `undefined` if the runtime has none that can be shared. */
  readonly pacer: TurnPacer | undefined;
  /** The shutdown of the server, whether it has started or not. */
  readonly shutdown: Shutdown;
}
