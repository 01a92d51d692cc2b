/**
 * The numbers of a server for Prometheus, at `/metrics`: what `rpc.stats()` counts, and how many calls of
 * each method there were, how they ended and how long they took. `metrics_dashboard.json` beside this file
 * shows them: import it in Grafana.
 *
 *     deno run -A examples/metrics.ts
 *     bun examples/metrics.ts
 *     node --import ./tools/node.ts examples/metrics.ts
 *     curl localhost:8080/metrics
 *
 * Anybody who can reach the server can read the numbers. Let your proxy answer `/metrics` with 403 for
 * everybody but Prometheus.
 *
 * @see {@link https://prometheus.io/docs/instrumenting/exposition_formats/}
 */
import process from "node:process";
import { JsonRpc, RpcError } from "@x/jsonrpc";
import { serve } from "@x/jsonrpc/node";
import type { MountedServer, Plugin } from "@x/jsonrpc/plugin";

const BUCKETS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Calls of one method that ended alike. */
interface Calls {
  count: number;
  seconds: number;
  readonly buckets: number[];
}

function metrics(): Plugin {
  let server: MountedServer;
  const calls = new Map<string, Calls>();

  function note(method: string, start: number, error?: unknown): void {
    const code = error === undefined ? "OK" : error instanceof RpcError ? error.code : -32603;
    // Callers may make up any number of names: those of no method count together.
    const name = code === -32601 ? "_OTHER" : method;
    const labels = `method=${JSON.stringify(name)},code="${code}"`;
    const entry = calls.get(labels) ?? { count: 0, seconds: 0, buckets: BUCKETS.map(() => 0) };
    const seconds = (performance.now() - start) / 1000;
    entry.count++;
    entry.seconds += seconds;
    BUCKETS.forEach((most, n) => seconds <= most && (entry.buckets[n] as number)++);
    calls.set(labels, entry);
  }

  function* lines(): Generator<string> {
    const { events, ...now } = server.stats();
    for (const [name, value] of Object.entries(now)) {
      const metric = `jsonrpc_${name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`;
      yield* [`# TYPE ${metric} gauge`, `${metric} ${value}`];
    }
    for (const [name, value] of Object.entries(events)) {
      const metric = `jsonrpc_events_${name}_total`;
      yield* [`# TYPE ${metric} counter`, `${metric} ${value}`];
    }
    yield "# TYPE jsonrpc_call_duration_seconds histogram";
    for (const [labels, { count, seconds, buckets }] of calls) {
      const metric = "jsonrpc_call_duration_seconds";
      for (const [n, most] of BUCKETS.entries()) {
        yield `${metric}_bucket{${labels},le="${most}"} ${buckets[n]}`;
      }
      yield `${metric}_bucket{${labels},le="+Inf"} ${count}`;
      yield `${metric}_sum{${labels}} ${seconds}`;
      yield `${metric}_count{${labels}} ${count}`;
    }
  }

  return {
    name: "metrics",
    onMount: (mountedOn) => void (server = mountedOn),
    async middleware({ method }, next) {
      const start = performance.now();
      try {
        const result = await next();
        note(method, start);
        return result;
      } catch (error) {
        note(method, start, error);
        throw error;
      }
    },
    fetch(request) {
      if (new URL(request.url).pathname !== "/metrics") return undefined;
      const headers = { "content-type": "text/plain; version=0.0.4; charset=utf-8" };
      return new Response([...lines(), ""].join("\n"), { headers });
    },
  };
}

const rpc = new JsonRpc()
  .use(metrics())
  .topic("clock")
  .method("ping", () => "pong")
  .method("divide", { names: ["a", "b"] }, ({ a, b }: { a: number; b: number }) => {
    if (b === 0) throw new RpcError(-32000, "Cannot divide by 0");
    return a / b;
  });

setInterval(() => rpc.publish("clock", new Date().toISOString()), 100);

const { url } = await serve(rpc, { port: Number(process.env.PORT ?? 8080), hostname: "127.0.0.1" });
console.log(`LISTENING ${url}`);
