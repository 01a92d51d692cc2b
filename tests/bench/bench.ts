/**
 * How fast the module is, beside the bare sockets of the same runtime in the same run: `deno task bench --help`.
 */
import process from "node:process";
import type { RuntimeName } from "../helpers/runtimes.ts";
import { Crew } from "./process_pool.ts";
import type { Outcome } from "./measure.ts";
import { Peers } from "./peers.ts";
import { parseOptions } from "./options.ts";
import type { Options } from "./options.ts";
import { hasCores, run } from "./program.ts";
import { lines, markdown, peersMarkdown } from "./report.ts";
import type { Result } from "./report.ts";
import { contendersOf, WORKS } from "./workloads.ts";
import type { Work } from "./workloads.ts";

const WARM_MS = 250;
const FIRST_WARM_MS = 1000;

const options = parseOptions(process.argv.slice(2));
if (options !== undefined) await bench(options);

async function bench(options: Options): Promise<void> {
  if (!hasCores()) console.log("No core of its own for the load client: trust CPU, not rates");
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
  const crew = new Crew(peers);
  try {
    for (const work of WORKS.filter((each) => isWanted(each, options))) {
      results.push(show(await measure(work, runtime, crew, options)));
    }
    if (isWanted({ name: "client" }, options)) {
      results.push(show(await measureClient(runtime, crew, options)));
    }
  } finally {
    await crew.stop();
  }
  return results;
}

function isWanted({ name, optional }: Pick<Work, "name" | "optional">, { only }: Options): boolean {
  return (only.length === 0 && !optional) || only.includes(name) ||
    only.includes(name.split("-")[0] as string);
}

function show(result: Result): Result {
  console.log(`${result.work.title}\n${lines(result).join("\n")}`);
  return result;
}

async function measure(
  work: Work,
  runtime: RuntimeName,
  crew: Crew,
  { rounds, ms }: Options,
): Promise<Result> {
  const contenders = contendersOf(work, runtime, crew.peers);
  const outcomes: Outcome[][] = contenders.map(() => []);
  const load = await crew.load();
  for (let round = 0; round < rounds; round++) {
    for (const [index, contender] of contenders.entries()) {
      if (work.fresh) await crew.dismiss(contender);
      const { port, pid } = await crew.server(contender);
      const warmMs = crew.isFirst(contender, work) ? FIRST_WARM_MS : WARM_MS;
      const { dialect } = contender;
      outcomes[index]?.push(await load.ask({ ...work.job, port, pid, ms, warmMs, dialect }));
    }
  }
  await crew.dismissAll(contenders);
  return { work, runtime, contenders, outcomes };
}

/** What a call costs the side that makes it, in processes of their own, against the same server. */
async function measureClient(
  runtime: RuntimeName,
  crew: Crew,
  { rounds, ms }: Options,
): Promise<Result> {
  const names = ["floor", "ours"];
  const outcomes: Outcome[][] = names.map(() => []);
  const server = await crew.server({
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
    work: { title: "client, 100 calls under way", figures: ["cpu"] },
    runtime,
    contenders: [{ title: "floor" }, { title: "@x/jsonrpc" }],
    outcomes,
  };
}
