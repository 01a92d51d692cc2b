/**
 * Bearer tokens: where a peer sends one, and the response to a missing or bad one.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc6750 | RFC 6750}
 *
 * @module
 */

import type { Handshake } from "../core/connection.ts";

/** A token was rejected. The message gives the reason and nothing that stands in the token. */
export class TokenError extends Error {
  override readonly name = "TokenError";
}

/**
 * Reads the token of a peer from `Authorization: Bearer TOKEN`, or from the subprotocol
 * `bearer.TOKEN`: a browser's WebSocket cannot send an Authorization header.
 *
 * @param handshake How the peer connected.
 * @returns The token, or `undefined` if the peer sent none.
 * @throws {TokenError} If the peer sent several different tokens: a proxy might check one of them
 * and this server another.
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
  if (tokens.size > 1) throw new TokenError("more than one token was sent");
  return token;
}

/**
 * Makes the response that refuses a peer: 401, with the challenge of RFC 6750, section 3.
 *
 * @param error Why the token was rejected; `undefined` if the peer sent none.
 * @returns The response.
 */
export function unauthorized(error?: TokenError): Response {
  const [challenge, text] = error === undefined
    ? ["Bearer", "Expected a bearer token"]
    : ['Bearer error="invalid_token"', `Token rejected: ${error.message}`];
  return new Response(text, { status: 401, headers: { "www-authenticate": challenge } });
}
