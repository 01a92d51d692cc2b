/**
 * A client that is connected to a server of the same process, without a network.
 *
 * @module
 */

import { connect } from "../client/client.ts";
import type { ClientOptions, JsonRpcClient } from "../client/client.ts";
import type { Context, Offer } from "../core/api.ts";
import type { UpgradeContext } from "../core/channel.ts";
import type { Transport, TransportContext } from "../core/transport.ts";
import { openSocket, socketTransport } from "../core/web_socket_channel.ts";
import type { StandardSocket } from "../core/web_socket_channel.ts";
import { onAbort } from "../runtimes/runtime.ts";
import type { Runtime } from "../runtimes/runtime.ts";
import type { JsonRpc } from "../server/server.ts";
import { MAX_TIMER_MS } from "../util/timer.ts";
import { linkedSockets } from "./linked_sockets.ts";

/** Options of {@linkcode testClient}: those of a client, and what the server knows of it. */
export interface TestClientOptions<User = unknown> extends ClientOptions {
  /**
   * The user of the connection, as if somebody had logged in. The handshake checks of plugins and of
   * origins do not run then.
   *
   * @default {the user that the plugins find}
   */
  readonly user?: User;
  /** Headers of the request that opens the connection: a cookie, an origin. @default {{}} */
  readonly headers?: Readonly<Record<string, string>>;
  /** The URL that the client requests. @default {"http://localhost/"} */
  readonly url?: string;
  /** The address of the client. @default {"127.0.0.1"} */
  readonly remoteAddress?: string;
}

/**
 * Connects a client to a server without a network. The server accepts it as it accepts a WebSocket: its
 * origins, its hosts and the handshake checks of its plugins hold. If the connection ends, the client
 * reconnects at once, unless the option `reconnect` says otherwise.
 *
 * @param rpc The server.
 * @param options What the server knows of the client, and any option of a client.
 * @typeParam Parts What the server offers: the compiler checks calls.
 * @typeParam C What its handlers see.
 * @returns The client. Rejects with {@linkcode RpcConnectionError} if the server refuses it.
 *
 * @example Calls of a user
 * ```ts
 * import { JsonRpc, loginRequired } from "@x/jsonrpc";
 * import { session } from "@x/jsonrpc/session";
 * import { testClient } from "@x/jsonrpc/testing";
 *
 * const users = new Map([["a7", { name: "ada" }]]);
 * const rpc = new JsonRpc()
 *   .use(session(({ headers }) => users.get(headers.get("x-session") ?? "") ?? null))
 *   .method("greet", { use: [loginRequired] }, ([word]: [string], { user }) => `${word} ${user.name}`);
 *
 * await using byHeader = await testClient(rpc, { headers: { "x-session": "a7" } });
 * console.assert(await byHeader.call("greet", ["Hello"]) === "Hello ada");
 *
 * await using byUser = await testClient(rpc, { user: { name: "bob" } });
 * console.assert(await byUser.call("greet", ["Hello"]) === "Hello bob");
 * console.assert(rpc.connections.size === 2);
 * ```
 */
export async function testClient<Parts, C extends Context>(
  rpc: JsonRpc<Parts, C>,
  options: TestClientOptions<C["user"]> = {},
): Promise<JsonRpcClient<Offer<Parts, C>>> {
  const transport = testTransport(rpc as unknown as JsonRpc, options);
  const client = await connect(transport, { reconnect: AT_ONCE, ...options });
  return client as unknown as JsonRpcClient<Offer<Parts, C>>;
}

const AT_ONCE = { minMs: 0, maxMs: 0 };

/** Opens each connection as the request of a new WebSocket. */
function testTransport(rpc: JsonRpc, options: TestClientOptions): Transport {
  const { user, headers, url = "http://localhost/", remoteAddress = "127.0.0.1", token } = options;
  const known = { url, headers: new Headers(headers), remoteAddress };
  return {
    name: url,
    canReconnect: true,
    hasFreshCredentials: typeof token === "function",
    async open(context) {
      if (user !== undefined) {
        const [near, far] = linkedSockets();
        rpc.attach(far, { ...known, user });
        keepAlive(near);
        return openSocket(near, context);
      }
      const bearer = typeof token === "function" ? await token() : token;
      const request = upgradeRequest(known, bearer, options.protocols);
      const runtime = linkedRuntime(remoteAddress, context);
      const response = await rpc.fetch(request, { runtime });
      if (response.status === SWITCHED) return;
      context.refused(1006, `${response.status} ${await response.text()}`.trim());
    },
  };
}

function upgradeRequest(
  { url, headers }: { readonly url: string; readonly headers: Headers },
  token: string | undefined,
  protocols: readonly string[] = token === undefined ? [] : ["jsonrpc"],
): Request {
  const all = new Headers(headers);
  for (const [name, value] of Object.entries(UPGRADE)) all.set(name, value);
  const offered = token === undefined ? protocols : [...protocols, `bearer.${token}`];
  if (offered.length > 0) all.set("sec-websocket-protocol", offered.join(", "));
  return new Request(url.replace(/^ws/, "http"), { headers: all });
}

/** A runtime whose WebSockets are linked sockets: the client gets the near end. */
function linkedRuntime(remoteAddress: string, client: TransportContext): Runtime {
  return {
    remoteAddress: () => remoteAddress,
    onLeave: (request, _host, left) => onAbort(request, left),
    upgrade(_request, _host, context: UpgradeContext) {
      const [near, far] = linkedSockets();
      keepAlive(near);
      const signal = new AbortController().signal;
      void socketTransport(far).open({ ...context, signal });
      openSocket(near, client);
      return new Response(null, { status: SWITCHED });
    },
  };
}

/** Keeps the process alive as long as a socket is open, as a real one does: a call may wait for its timeout. */
function keepAlive(socket: StandardSocket): void {
  const timer = setInterval(() => {}, MAX_TIMER_MS);
  socket.addEventListener("close", () => clearInterval(timer));
}

// A standard Response cannot have the status 101.
const SWITCHED = 204;

const UPGRADE = {
  connection: "Upgrade",
  upgrade: "websocket",
  "sec-websocket-version": "13",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
};
