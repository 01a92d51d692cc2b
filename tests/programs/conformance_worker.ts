/**
 * The server of the conformance suite as a Worker: every request goes to one Durable Object.
 */
import { durableObject, storageBroker } from "@x/jsonrpc/workers";
import type { HibernatingHandlers } from "@x/jsonrpc/workers";
import { conformanceRpc } from "./conformance_rpc.ts";

/** Answers all requests. */
export const Main = durableObject((state) =>
  // A reader of an event stream that has left is noticed with the next heartbeat.
  conformanceRpc({ broker: storageBroker(state.storage), heartbeatMs: 500 })
);

export default {
  fetch: (request: Request, { MAIN }: Env): Response | Promise<Response> =>
    MAIN.get(MAIN.idFromName("main")).fetch(request),
};

interface Env {
  readonly MAIN: {
    idFromName(name: string): unknown;
    get(id: unknown): HibernatingHandlers;
  };
}
