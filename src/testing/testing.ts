/**
 * Helpers for tests: a client in one line, connections without a network, and a server out of an
 * OpenRPC document.
 *
 * @module
 */

export { linkedSockets } from "./linked_sockets.ts";
export type { LinkedSocket } from "./linked_sockets.ts";
export { mockServer } from "./mock_server.ts";
export type { MockHandler, MockServer, MockServerOptions } from "./mock_server.ts";
export type { OpenRpcDocument } from "../codegen/open_rpc_document.ts";
export { testClient } from "./test_client.ts";
export type { TestClientOptions } from "./test_client.ts";
