/**
 * The opening handshake, as far as this side has a say in it.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc6455#section-4.2.1 | RFC 6455, section 4.2.1}
 *
 * @module
 */

/**
 * Whether an `upgrade` header names WebSocket. What else it may offer, such as "h2c", a server passes
 * over (RFC 9110, section 7.8).
 */
export function isWebSocket(upgrade: string | null | undefined): boolean {
  return /\bwebsocket\b/i.test(upgrade ?? "");
}

/**
 * Tells what keeps a request from becoming a WebSocket. Some runtimes would open one all the same.
 *
 * @returns The response that says so, or `undefined` if nothing does.
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
 * Chooses among the subprotocols that a client offers: `jsonrpc` before the server's own. Whatever
 * else is offered, such as a token, is never said back.
 */
export function chooseProtocol(headers: Headers, own: readonly string[]): string | undefined {
  const offered = headers.get("sec-websocket-protocol")?.split(",").map((each) => each.trim());
  if (offered === undefined) return undefined;
  return ["jsonrpc", ...own].find((each) => offered.includes(each));
}

const KEY = /^[A-Za-z0-9+/]{22}==$/;
// RFC 9110, section 5.6.2.
const TOKENS = /^\s*[\w!#$%&'*+.^`|~-]+\s*(?:,\s*[\w!#$%&'*+.^`|~-]+\s*)*$/;
