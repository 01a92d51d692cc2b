/**
 * The opening handshake of a WebSocket: the checks that runtimes do not make, and the subprotocol.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc6455#section-4.2.1 | RFC 6455, section 4.2.1}
 *
 * @module
 */

/**
 * Whether an `upgrade` header names WebSocket. A server ignores other protocols that it may name, such as
 * "h2c".
 *
 * @param upgrade The value of the header.
 * @see {@link https://www.rfc-editor.org/rfc/rfc9110#section-7.8 | RFC 9110, section 7.8}
 */
export function isWebSocket(upgrade: string | null | undefined): boolean {
  return /\bwebsocket\b/i.test(upgrade ?? "");
}

/**
 * Checks whether a request may become a WebSocket. Some runtimes would open one although it may not.
 *
 * @param request The request.
 * @returns The response that says what is wrong; `undefined` if nothing is.
 */
export function checkUpgrade(request: Request): Response | undefined {
  const { headers, method } = request;
  const asks = headers.get("upgrade")?.toLowerCase() === "websocket" &&
    /\bupgrade\b/i.test(headers.get("connection") ?? "");
  if (method !== "GET" || !asks) {
    return new Response("Expected an upgrade to WebSocket", {
      status: 426,
      headers: { connection: "upgrade", upgrade: "websocket" },
    });
  }
  if (headers.get("sec-websocket-version") !== "13") {
    return new Response("Expected sec-websocket-version: 13", {
      status: 426,
      headers: { "sec-websocket-version": "13" },
    });
  }
  if (!KEY.test(headers.get("sec-websocket-key") ?? "")) {
    return new Response("Expected sec-websocket-key to be 16 bytes in base64", { status: 400 });
  }
  const protocols = headers.get("sec-websocket-protocol");
  if (protocols !== null && !TOKENS.test(protocols)) {
    return new Response("Expected sec-websocket-protocol to be a list of tokens", { status: 400 });
  }
  return undefined;
}

/**
 * Selects one of the subprotocols that a client offers. Others, such as a token, are never sent back.
 *
 * @param headers The headers of the request.
 * @param own What the server may select beside `jsonrpc`, which goes first.
 * @returns The subprotocol; `undefined` if none fits.
 */
export function chooseProtocol(headers: Headers, own: readonly string[]): string | undefined {
  const offered = headers.get("sec-websocket-protocol")?.split(",").map((each) => each.trim());
  if (offered === undefined) return undefined;
  return ["jsonrpc", ...own].find((each) => offered.includes(each));
}

const KEY = /^[A-Za-z0-9+/]{22}==$/;
// RFC 9110, section 5.6.2.
const TOKENS = /^\s*[\w!#$%&'*+.^`|~-]+\s*(?:,\s*[\w!#$%&'*+.^`|~-]+\s*)*$/;
