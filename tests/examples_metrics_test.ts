/**
 * `examples/metrics.ts`: what Prometheus reads, and that the dashboard beside it shows nothing else.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { connect } from "@x/jsonrpc";
import { until } from "./helpers/deferred.ts";
import { freePort } from "./helpers/ports.ts";
import { needs } from "./helpers/needs.ts";
import { spawnServer } from "./helpers/spawn_server.ts";

/** Reads `/metrics`: the samples by name and labels. Fails if a line is none of Prometheus's text format. */
async function scrape(url: string): Promise<Map<string, number>> {
  const response = await fetch(`${url}/metrics`);
  assertEquals(response.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  const text = await response.text();
  assert(text.endsWith("\n"));
  const samples = new Map<string, number>();
  const types = new Set<string>();
  for (const line of text.trim().split("\n")) {
    const type = /^# TYPE (\w+) (?:gauge|counter|histogram)$/.exec(line);
    if (type !== null) {
      types.add(type[1] as string);
      continue;
    }
    const [, sample = "", name = "", value = ""] =
      /^(([a-z_]+)(?:\{\w+="[^"]*"(?:,\w+="[^"]*")*\})?) (\S+)$/.exec(line) ?? [];
    assert(name !== "" && Number.isFinite(Number(value)), line);
    assert(types.has(name) || types.has(name.replace(/_(?:bucket|sum|count)$/, "")), line);
    assert(!samples.has(sample), line);
    samples.set(sample, Number(value));
  }
  return samples;
}

for (const name of ["deno", "bun", "node"] as const) {
  test(
    `examples/metrics.ts counts connections, calls and events on ${name}`,
    await needs(name),
    async () => {
      const server = await spawnServer(name, "examples/metrics.ts", [], {
        PORT: String(await freePort()),
      });
      try {
        const client = await connect(server.url.replace("http:", "ws:"));
        await client.call("ping");
        await client.call("divide", { a: 1, b: 0 }).catch(() => {});
        await client.call('nothing "here"').catch(() => {});
        const clock = Promise.withResolvers<unknown>();
        await client.subscribe("clock", clock.resolve);
        await clock.promise;
        const samples = await scrape(server.url);
        const of = (sample: string) => samples.get(`jsonrpc_${sample}`);
        assertEquals([of("connections"), of("subscriptions"), of("topics")], [1, 1, 1]);
        const calls = (labels: string) => of(`call_duration_seconds_count{${labels}}`);
        assertEquals(calls('method="ping",code="OK"'), 1);
        assertEquals(calls('method="divide",code="-32000"'), 1);
        assertEquals(calls('method="_OTHER",code="-32601"'), 1);
        assertEquals(of('call_duration_seconds_bucket{method="ping",code="OK",le="+Inf"}'), 1);
        assert((of("events_published_total") ?? 0) >= 1);
        assert((of("events_delivered_total") ?? 0) >= 1);
        assertEquals([of("events_dropped_total"), of("events_gaps_total")], [0, 0]);
        await client.close();
        await until(async () => (await scrape(server.url)).get("jsonrpc_connections") === 0);
      } finally {
        await server.stop();
      }
    },
  );
}

test(
  "examples/metrics_dashboard.json asks for metrics that the example has",
  await needs("deno"),
  async () => {
    const file = new URL("../examples/metrics_dashboard.json", import.meta.url);
    const { panels, uid } = JSON.parse(await readFile(file, "utf8"));
    assertMatch(uid, /^[\w-]{1,40}$/); // what Grafana takes
    const server = await spawnServer("deno", "examples/metrics.ts", [], {
      PORT: String(await freePort()),
    });
    try {
      const client = await connect(server.url.replace("http:", "ws:"));
      await client.call("ping");
      await client.close();
      const names = new Set([...(await scrape(server.url)).keys()].map((key) => key.split("{")[0]));
      const asked = panels.flatMap(({ targets }: { targets: { expr: string }[] }) =>
        targets.flatMap(({ expr }) => expr.match(/\bjsonrpc_\w+/g) ?? [])
      );
      assert(asked.length > 10);
      assertEquals(asked.filter((name: string) => !names.has(name)), []);
      const shown = new Set(asked);
      assertEquals([...names].filter((name) => !shown.has(name)), []);
    } finally {
      await server.stop();
    }
  },
);
