/**
 * A server that a test plays, over each connection that its client makes.
 */
import { JsonRpcClient } from "@x/jsonrpc";
import type { ClientOptions, StandardSocket } from "@x/jsonrpc";
import { linkedSockets } from "@x/jsonrpc/testing";
import { until } from "./deferred.ts";
import { silentLog } from "./log.ts";
import type { Log } from "./log.ts";
import { WirePeer } from "./wire.ts";

/** A client, and the far ends of its connections. */
export interface Scripted {
  /** The client. It is not connected yet. */
  readonly client: JsonRpcClient;
  /** Its connection events, in order. */
  readonly events: readonly string[];
  /** Its log. */
  readonly log: Log;
  /** All connections so far, the first one first. */
  readonly wires: readonly WirePeer[];
  /** The URL and the subprotocols of each connection attempt. */
  readonly asked: readonly (readonly string[])[];
  /** How many further attempts fail. */
  refuse: number;
  /** Waits for the nth connection; 0 is the first. */
  wire(nth: number): Promise<WirePeer>;
}

/** Creates a client that reconnects at once, and plays its server. */
export function scripted(
  options: ClientOptions = {},
  target: ConstructorParameters<typeof JsonRpcClient>[0] = "ws://scripted.example",
): Scripted {
  const wires: WirePeer[] = [];
  const asked: string[][] = [];
  const log = silentLog();
  function makeSocket(url: string, protocols: string[] = []): StandardSocket {
    asked.push([url, ...protocols]);
    const [near, far] = linkedSockets();
    if (script.refuse > 0) {
      script.refuse--;
      throw new Error("refused");
    }
    wires.push(new WirePeer(far));
    return near;
  }
  // A function that is called with `new` may return another object.
  function WebSocket(url: string, protocols?: string[]): StandardSocket {
    return makeSocket(url, protocols);
  }
  const client = new JsonRpcClient(target, {
    logger: log,
    reconnect: { minMs: 0, maxMs: 0 },
    WebSocket: WebSocket as unknown as new (url: string) => StandardSocket,
    ...options,
  });
  const script: Scripted = {
    client,
    events: eventsOf(client),
    log,
    wires,
    asked,
    refuse: 0,
    async wire(nth) {
      await until(() => wires.length > nth);
      return wires[nth] as WirePeer;
    },
  };
  return script;
}

/** Collects a client's events as they come. */
export function eventsOf(client: JsonRpcClient): string[] {
  const events: string[] = [];
  client.addEventListener("open", () => events.push("open"));
  client.addEventListener("close", ({ code, reason, final }) => {
    events.push(["close", code, reason, final ? "final" : ""].filter((part) => part).join(" "));
  });
  client.addEventListener("reconnecting", ({ attempt }) => events.push(`reconnecting ${attempt}`));
  client.addEventListener("resubscribed", ({ topics }) => events.push(`resubscribed ${topics}`));
  return events;
}
