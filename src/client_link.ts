/**
 * From where a client is to connect to the way that leads there.
 *
 * @module
 */

import { DEFAULT_BACKOFF } from "./backoff.ts";
import { ask, toUrl } from "./client_options.ts";
import type { ClientBounds, ClientOptions, ClientTarget } from "./client_options.ts";
import type { ConversationHost } from "./conversation.ts";
import { Dialer } from "./dialer.ts";
import { resolveBounds } from "./limits.ts";
import type { Limits } from "./limits.ts";
import type { Link } from "./link.ts";
import type { Pending } from "./pending.ts";
import { PostLink } from "./post_link.ts";
import { SocketLink } from "./socket_link.ts";
import type { LinkEvents } from "./socket_link.ts";

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
 * Finds the way.
 *
 * @returns Makes the link, for calls that wait there.
 * @throws {TypeError} Where the target is no URL of a kind that is known.
 */
export function makeLink(
  target: ClientTarget,
  options: ClientOptions,
  side: LinkSide,
): (pending: Pending) => Link {
  const { token, headers, fetch = globalThis.fetch, reconnect = true, prepare } = options;
  const url = typeof target === "string" || target instanceof URL ? toUrl(target) : undefined;
  if (url?.protocol.startsWith("http")) {
    const { bounds: limits, host: { logger } } = side;
    async function withToken(): Promise<Readonly<Record<string, string>>> {
      const bearer = await ask(token);
      return { ...bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }, ...headers };
    }
    const { href } = url;
    return (pending) =>
      new PostLink({ url: href, headers: withToken, fetch, limits, logger, pending });
  }
  const dialer = new Dialer(target, options);
  const bounds = reconnect === true ? {} : reconnect;
  const again = bounds && dialer.redials ? resolveBounds(bounds, DEFAULT_BACKOFF) : undefined;
  return (pending) => new SocketLink({ ...side, dialer, pending, prepare, reconnect: again });
}
