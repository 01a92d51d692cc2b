/**
 * Helpers for the tests of your own server: a client in one line, and connections without a network.
 *
 * @module
 */

export { linkedSockets } from "./linked_sockets.ts";
export type { LinkedSocket } from "./linked_sockets.ts";
export { testClient } from "./test_client.ts";
export type { TestClientOptions } from "./test_client.ts";
