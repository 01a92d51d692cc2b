/**
 * Spans and metrics of OpenTelemetry for both ends of a connection, by its conventions for JSON-RPC. Needs
 * the package `@opentelemetry/api`, and an SDK that your program registers, best before it makes the server
 * or client; without an SDK nothing is recorded.
 *
 * A call carries its trace in `params._meta`, so that each call over one long socket belongs to the trace
 * that it was made in.
 *
 * @see {@link https://opentelemetry.io/docs/specs/semconv/rpc/json-rpc/}
 *
 * @example Both ends
 * ```ts
 * import { JsonRpc } from "@x/jsonrpc";
 * import { withMiddleware } from "@x/jsonrpc/middleware";
 * import { otel, otelClient } from "@x/jsonrpc/otel";
 * import { testClient } from "@x/jsonrpc/testing";
 *
 * const rpc = new JsonRpc()
 *   .use(otel())
 *   .method("add", ({ a, b }: { a: number; b: number }) => a + b);
 *
 * const client = withMiddleware(await testClient(rpc), [otelClient()]);
 * console.assert(await client.call("add", { a: 1, b: 2 }) === 3);
 * await client.close();
 * ```
 *
 * @module
 */

export { otelClient } from "./client.ts";
export type { OtelClientOptions } from "./client.ts";
export { otelIncoming } from "./incoming.ts";
export type { OtelIncomingOptions } from "./incoming.ts";
export { otel } from "./server.ts";
export type { OtelServerOptions } from "./server.ts";
export type { OtelOptions } from "./telemetry.ts";
