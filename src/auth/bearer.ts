/**
 * Bearer tokens: where a peer puts one, and how it is refused.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc6750 | RFC 6750}
 *
 * @module
 */

import type { Handshake } from "../core/connection.ts";

/** Says that a token is not good, and why, without a word of what is in it. */
export class TokenError extends Error {
  override readonly name = "TokenError";
}

/**
 * The token of a peer: from `Authorization: Bearer`, or from the subprotocol `bearer.TOKEN`, since
 * a browser's WebSocket can send no header of its own.
 *
 * @returns `undefined` where there is none.
 * @throws {TokenError} Where there are several: which of them counts could be read in two ways.
 */
export function bearerToken({ headers }: Handshake): string | undefined {
  const tokens = new Set<string>();
  const authorization = headers.get("authorization") ?? "";
  if (/^bearer(?:\s|$)/i.test(authorization)) tokens.add(authorization.slice(6).trim());
  for (const offered of headers.get("sec-websocket-protocol")?.split(",") ?? []) {
    const protocol = offered.trim();
    if (protocol.startsWith("bearer.")) tokens.add(protocol.slice(7));
  }
  const [token] = tokens;
  if (tokens.size > 1) throw new TokenError("there is more than one");
  return token;
}

/** Refuses a peer that has no token, or a bad one. */
export function unauthorized(error?: TokenError): Response {
  const [challenge, text] = error === undefined
    ? ["Bearer", "Expected a bearer token"]
    : ['Bearer error="invalid_token"', `Token refused: ${error.message}`];
  return new Response(text, { status: 401, headers: { "www-authenticate": challenge } });
}
