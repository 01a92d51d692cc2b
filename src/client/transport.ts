/**
 * From where a client is to connect to the link that leads there.
 *
 * @module
 */

import { DEFAULT_BACKOFF } from "../util/backoff.ts";
import { toUrl } from "./options.ts";
import type { ClientBounds, ClientOptions, ClientTarget } from "./options.ts";
import type { ConversationHost } from "../core/session.ts";
import { webSocketDialer } from "./web_socket.ts";
import { describeError, RpcConnectionError } from "../protocol/errors.ts";
import { resolveBounds } from "../protocol/limits.ts";
import type { Limits } from "../protocol/limits.ts";
import type { Pending } from "../core/pending_calls.ts";
import type { PostOptions } from "./http.ts";
import { Link } from "./reconnect.ts";
import type { LinkEvents } from "./reconnect.ts";
import { parseMessage } from "../protocol/message.ts";

/** The client that a link is made for. */
export interface LinkSide {
  /** Which bounds hold. */
  readonly bounds: Limits & ClientBounds;
  /** What runs calls of the server. */
  readonly host: ConversationHost;
  /** Who is told of connections. */
  readonly events: LinkEvents;
}

/**
 * Finds the way: over WebSockets, or over POSTs.
 *
 * @returns Makes the link, for calls that wait there.
 * @throws {TypeError} Where the target is no URL of a kind that is known.
 */
export function makeLink(
  target: ClientTarget,
  options: ClientOptions,
  side: LinkSide,
): (pending: Pending) => Link {
  const url = typeof target === "string" || target instanceof URL ? toUrl(target) : undefined;
  if (url?.protocol.startsWith("http")) {
    return (pending) => posting(url.href, options, { ...side, pending });
  }
  const { reconnect = true, prepare } = options;
  const dialer = webSocketDialer(target, options);
  const bounds = reconnect === true ? {} : reconnect;
  const again = bounds && dialer.redials ? resolveBounds(bounds, DEFAULT_BACKOFF) : undefined;
  return (pending) => new Link({ ...side, dialer, pending, prepare, reconnect: again });
}

/**
 * Over POSTs: a link whose socket is open as soon as it is loaded, and never breaks. So nothing has to be
 * bounded that waits for it, prepared, or listened for.
 */
function posting(
  url: string,
  options: ClientOptions,
  side: LinkSide & { readonly pending: Pending },
): Link {
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
  const dial = () => import("./http.ts").then(({ PostSocket }) => new PostSocket(post));
  return new Link({
    ...side,
    bounds: { ...bounds, pingMs: 0, maxQueued: Infinity, maxQueuedMs: Infinity },
    dialer: { name: url, redials: true, refreshes: false, dial },
    prepare: undefined,
    reconnect: undefined,
  });
}
