/**
 * Measures the module beside the bare sockets of the same runtime, in the same run: `deno task bench --help`.
 */
import process from "node:process";
import type { RuntimeName } from "../helpers/runtimes.ts";
import { ProcessPool } from "./process_pool.ts";
import type { Outcome } from "./measure.ts";
import { Peers } from "./peers.ts";
import { parseOptions } from "./options.ts";
import type { Options } from "./options.ts";
import { hasCores, run } from "./program.ts";
import { lines, markdown, peersMarkdown, percentages } from "./report.ts";
import type { Result } from "./report.ts";
import { contendersOf, WORKLOADS } from "./workloads.ts";
import type { Workload } from "./workloads.ts";

const WARM_MS = 250;
const FIRST_WARM_MS = 1000;
// What watches the calls of a server and its client, and how it is watched, as observers.ts measures it.
const OBSERVERS: Readonly<Record<string, Result["workload"] & { contenders: string[] }>> = {
  telemetry: {
    title: "OpenTelemetry at both ends",
    figures: ["rate", "cpu"],
    contenders: ["nothing", "nothing again", "no SDK registered"],
  },
  "telemetry-sdk": {
    title: "OpenTelemetry at both ends, with an SDK",
    figures: ["rate", "cpu"],
    contenders: ["nothing", "nothing again", "SDK in memory"],
  },
  trace: {
    title: "wire trace at both ends",
    figures: ["rate", "cpu"],
    contenders: ["off", "off again", "to an empty function"],
  },
};

const options = parseOptions(process.argv.slice(2));
if (options !== undefined) await bench(options);

async function bench(options: Options): Promise<void> {
  if (!hasCores()) {
    console.log("The load client shares its core with the servers: compare CPU time, not rates");
  }
  const results: Result[] = [];
  const peers = options.peers ? await Peers.install() : undefined;
  try {
    for (const runtime of options.runtimes) results.push(...await benchOn(runtime, peers, options));
  } finally {
    await peers?.remove();
  }
  console.log(`\n${markdown(results)}`);
  if (peers !== undefined) console.log(`\n${peersMarkdown(results)}`);
}

async function benchOn(
  runtime: RuntimeName,
  peers: Peers | undefined,
  options: Options,
): Promise<Result[]> {
  const results: Result[] = [];
  const pool = new ProcessPool(peers);
  try {
    for (const workload of WORKLOADS.filter((each) => isWanted(each, options))) {
      results.push(show(await measure(workload, runtime, pool, options)));
    }
    if (isWanted({ name: "client" }, options)) {
      results.push(show(await measureClient(runtime, pool, options)));
    }
    for (const [name, observer] of Object.entries(OBSERVERS)) {
      if (!isWanted({ name, optional: true }, options)) continue;
      console.log(percentages(await measureObserver(runtime, name, observer, options)));
    }
  } finally {
    await pool.stop();
  }
  return results;
}

function isWanted(
  { name, optional }: Pick<Workload, "name" | "optional">,
  { only }: Options,
): boolean {
  return (only.length === 0 && !optional) || only.includes(name) ||
    only.includes(name.split("-")[0] as string);
}

function show(result: Result): Result {
  console.log(`${result.workload.title}\n${lines(result).join("\n")}`);
  return result;
}

async function measure(
  workload: Workload,
  runtime: RuntimeName,
  pool: ProcessPool,
  { rounds, ms }: Options,
): Promise<Result> {
  const contenders = contendersOf(workload, runtime, pool.peers);
  const outcomes: Outcome[][] = contenders.map(() => []);
  const load = await pool.load();
  for (let round = 0; round < rounds; round++) {
    for (const [index, contender] of contenders.entries()) {
      if (workload.fresh) await pool.stopServer(contender);
      const { port, pid } = await pool.server(contender);
      const warmMs = pool.isFirst(contender, workload) ? FIRST_WARM_MS : WARM_MS;
      const { dialect } = contender;
      outcomes[index]?.push(await load.ask({ ...workload.job, port, pid, ms, warmMs, dialect }));
    }
  }
  await pool.stopServers(contenders);
  return { workload, runtime, contenders, outcomes };
}

/** Measures what a call costs the client: each client has a process of its own, all call the same server. */
async function measureClient(
  runtime: RuntimeName,
  pool: ProcessPool,
  { rounds, ms }: Options,
): Promise<Result> {
  const names = ["floor", "ours"];
  const outcomes: Outcome[][] = names.map(() => []);
  const server = await pool.server({
    title: "",
    runtime: "node",
    args: ["tests/bench/server.ts", "floor"],
    dialect: "",
  });
  const url = `ws://127.0.0.1:${server.port}`;
  for (let round = 0; round < rounds; round++) {
    for (const [index, name] of names.entries()) {
      const args = ["tests/bench/caller.ts", name, url, String(ms)];
      outcomes[index]?.push(await run<Outcome>(runtime, "load", args));
    }
  }
  return {
    workload: { title: "client, 100 calls under way", figures: ["cpu"] },
    runtime,
    contenders: [{ title: "floor" }, { title: "@x/jsonrpc" }],
    outcomes,
  };
}

/** Measures what an observer costs: server and client of all variants are in one process. */
async function measureObserver(
  runtime: RuntimeName,
  name: string,
  { contenders, ...workload }: Result["workload"] & { contenders: string[] },
  { rounds, ms }: Options,
): Promise<Result> {
  const args = ["tests/bench/observers.ts", name, String(rounds), String(ms)];
  const outcomes = await run<Outcome[][]>(runtime, "load", args);
  return { workload, runtime, contenders: contenders.map((title) => ({ title })), outcomes };
}
