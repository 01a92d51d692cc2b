/**
 * One WebSocket for all tabs of a site: a `SharedWorker` keeps it, and each tab has a client of its own that talks to
 * the worker. The server sees one connection, which is subscribed to each topic once.
 *
 * @example The file of the worker
 * ```ts ignore
 * import { shareConnection } from "@x/jsonrpc/shared_worker";
 *
 * shareConnection("wss://example.com/rpc");
 * ```
 *
 * @example The page
 * ```ts ignore
 * import { connect } from "@x/jsonrpc/client";
 * import { sharedWorker } from "@x/jsonrpc/shared_worker";
 *
 * const client = await connect<typeof rpc>(sharedWorker(
 *   () => new SharedWorker(new URL("./worker.ts", import.meta.url), { type: "module" }),
 *   { url: "wss://example.com/rpc" }, // for browsers without shared workers
 * ));
 * ```
 *
 * @module
 */

import type { ClientTarget } from "../client/options.ts";
import type { Transport } from "../core/transport.ts";
import type { Port } from "../transports/port_events.ts";
import { TabConnections } from "./shared_connection.ts";
import type { SharedConnection, SharedConnectionOptions } from "./shared_connection.ts";
import { tabTransport } from "./tab_transport.ts";
import type { SharedWorkerLike, SharedWorkerOptions } from "./tab_transport.ts";

export type { SharedStreamNames } from "./id_streams.ts";
export type { SharedConnection, SharedConnectionOptions } from "./shared_connection.ts";
export type { SharedWorkerLike, SharedWorkerOptions } from "./tab_transport.ts";
export type { ExtensionPort, NodePort, Port, StandardPort } from "../transports/port_events.ts";

/**
 * Keeps one connection for all tabs. Call it in the file of the shared worker, before the first `await`. The
 * connection opens with the first tab and closes with the last.
 *
 * All tabs are one client to the server: a login of one is the login of all. A call of the server goes to the tab
 * that was active last and has the method; a notification goes to all tabs.
 *
 * @param target Where to connect: the URL of a WebSocket, or whatever else a client connects to.
 * @param options How to connect, and what a tab may have.
 * @returns The shared connection.
 * @throws {RangeError} If a limit is not a whole number, or too small.
 * @throws {TypeError} If the target is a URL of another kind.
 *
 * @example Two tabs, without a browser
 * ```ts
 * import { connect, JsonRpc } from "@x/jsonrpc";
 * import { shareConnection, sharedWorker } from "@x/jsonrpc/shared_worker";
 * import { linkedSockets } from "@x/jsonrpc/testing";
 *
 * const rpc = new JsonRpc().method("add", ([a, b]: [number, number]) => a + b);
 * const [near, far] = linkedSockets();
 * rpc.attach(far);
 *
 * const shared = shareConnection(near);
 * const worker = () => {
 *   const { port1, port2 } = new MessageChannel();
 *   shared.attach(port2);
 *   return { port: port1 };
 * };
 * const [one, two] = await Promise.all([
 *   connect<typeof rpc>(sharedWorker(worker)),
 *   connect<typeof rpc>(sharedWorker(worker)),
 * ]);
 * console.assert(await one.call("add", [1, 2]) === 3);
 * console.assert(await two.call("add", [3, 4]) === 7);
 * console.assert(rpc.connections.size === 1);
 * await Promise.all([one.close(), two.close()]);
 * await shared.close();
 * ```
 */
export function shareConnection(
  target: ClientTarget,
  options: SharedConnectionOptions = {},
): SharedConnection {
  const shared = new TabConnections(target, options);
  (globalThis as WorkerScope).addEventListener?.("connect", ({ ports }) => {
    for (const port of ports ?? []) shared.attach(port);
  });
  return shared;
}

/**
 * Makes the transport of a tab whose connection a shared worker keeps. Pass it to `connect()`.
 *
 * @param make Makes the worker: write `new SharedWorker(new URL(…), { type: "module" })` in it, so that bundlers
 * find the file. It is called for each attempt to connect, since a worker may have ended.
 * @param options Where to connect in browsers that have no `SharedWorker`.
 * @returns The transport. Its client reconnects, and sees the shared connection open and close as its own.
 */
export function sharedWorker(
  make: () => SharedWorkerLike,
  options: SharedWorkerOptions = {},
): Transport {
  return tabTransport(make, options);
}

interface WorkerScope {
  addEventListener?(
    type: "connect",
    listener: (event: { readonly ports?: readonly Port[] }) => void,
  ): void;
}
