/**
 * From where a client is to connect to the way that leads there.
 *
 * @module
 */

import { DEFAULT_BACKOFF } from "./backoff.ts";
import { toUrl } from "./client_options.ts";
import type { ClientBounds, ClientOptions, ClientTarget } from "./client_options.ts";
import { Dialer } from "./dialer.ts";
import { resolveBounds } from "./limits.ts";
import type { Limits } from "./limits.ts";
import type { Link } from "./link.ts";
import type { ConversationHost } from "./conversation.ts";
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
  const url = typeof target === "string" || target instanceof URL ? toUrl(target) : undefined;
  return url?.protocol.startsWith("http")
    ? (pending) => posting(url.href, options, side, pending)
    : (pending) => reconnecting(target, options, side, pending);
}

function posting(
  url: string,
  { fetch = globalThis.fetch, headers, token }: ClientOptions,
  { bounds: limits, host: { logger } }: LinkSide,
  pending: Pending,
): Link {
  async function ask(): Promise<Readonly<Record<string, string>>> {
    const value = typeof token === "function" ? await token() : token;
    return { ...value === undefined ? {} : { authorization: `Bearer ${value}` }, ...headers };
  }
  return new PostLink({ url, headers: ask, fetch, limits, logger, pending });
}

function reconnecting(
  target: ClientTarget,
  options: ClientOptions,
  side: LinkSide,
  pending: Pending,
): Link {
  const { reconnect = true, prepare } = options;
  const dialer = new Dialer(target, options);
  const bounds = reconnect === true ? {} : reconnect;
  return new SocketLink({
    ...side,
    dialer,
    pending,
    prepare,
    reconnect: bounds && dialer.redials ? resolveBounds(bounds, DEFAULT_BACKOFF) : undefined,
  });
}
