/**
 * From where a client is to connect to the link that leads there.
 *
 * @module
 */

import { DEFAULT_BACKOFF } from "../util/backoff.ts";
import { toUrl } from "./options.ts";
import type { ClientBounds, ClientOptions, ClientTarget } from "./options.ts";
import type { SessionHost } from "../core/session.ts";
import { webSocketConnector } from "./web_socket.ts";
import { describeError, RpcConnectionError } from "../protocol/errors.ts";
import { checkLimits } from "../util/check_option.ts";
import type { SessionLimits } from "../protocol/limits.ts";
import type { PendingCalls } from "../core/pending_calls.ts";
import type { PostOptions } from "./http.ts";
import { ReconnectingConnection } from "./reconnect.ts";
import type { ReconnectingConnectionEvents } from "./reconnect.ts";
import { parseMessage } from "../protocol/message.ts";

/** The client that a link is made for. */
export interface ClientSide {
  /** Which bounds hold. */
  readonly bounds: SessionLimits & ClientBounds;
  /** What runs calls of the server. */
  readonly host: SessionHost;
  /** Who is told of connections. */
  readonly events: ReconnectingConnectionEvents;
}

/**
 * Finds the way: over WebSockets, or over POSTs.
 *
 * @returns Makes the link, for calls that wait there.
 * @throws {TypeError} Where the target is no URL of a kind that is known.
 */
export function createConnection(
  target: ClientTarget,
  options: ClientOptions,
  side: ClientSide,
): (pending: PendingCalls) => ReconnectingConnection {
  const url = typeof target === "string" || target instanceof URL ? toUrl(target) : undefined;
  if (url?.protocol.startsWith("http")) {
    return (pending) => posting(url.href, options, { ...side, pending });
  }
  const { reconnect = true, prepare } = options;
  const connector = webSocketConnector(target, options);
  const bounds = reconnect === true ? {} : reconnect;
  const again = bounds && connector.canReconnect ? checkLimits(bounds, DEFAULT_BACKOFF) : undefined;
  return (pending) =>
    new ReconnectingConnection({ ...side, connector, pending, prepare, reconnect: again });
}

/**
 * Over POSTs: a link whose socket is open as soon as it is loaded, and never breaks. So nothing has to be
 * bounded that waits for it, prepared, or listened for.
 */
function posting(
  url: string,
  options: ClientOptions,
  side: ClientSide & { readonly pending: PendingCalls },
): ReconnectingConnection {
  const { pending, bounds, host: { logger } } = side;
  const post: PostOptions = {
    ...options,
    url,
    maxMessageBytes: bounds.maxMessageBytes,
    parse: (text) => parseMessage(text, bounds.maxDepth),
    settle: (message) => pending.settle(message),
    failed(ids, message, cause) {
      // fetch does not tell whether the request had been sent before the connection broke.
      const error = new RpcConnectionError(message, "unknown", { cause });
      for (const id of ids) pending.fail(id, error);
      if (ids.size === 0) logger.warn(`A notification was not taken: ${describeError(error)}`);
    },
  };
  const connect = () => import("./http.ts").then(({ PostSocket }) => new PostSocket(post));
  return new ReconnectingConnection({
    ...side,
    bounds: { ...bounds, heartbeatMs: 0, maxQueued: Infinity, maxQueuedMs: Infinity },
    connector: { name: url, canReconnect: true, hasFreshCredentials: false, connect },
    prepare: undefined,
    reconnect: undefined,
  });
}
