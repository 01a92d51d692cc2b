/**
 * The options of the benchmark on the command line.
 */
import { parseArgs } from "node:util";
import type { RuntimeName } from "../helpers/runtimes.ts";

/** What to run, and how often. */
export interface Options {
  /** Workloads by name, or by the group before the dash; all if it is empty. */
  readonly only: readonly string[];
  readonly runtimes: readonly RuntimeName[];
  readonly rounds: number;
  /** How long one contender is measured in one round, in milliseconds. */
  readonly ms: number;
  /** Whether other libraries take part. */
  readonly peers: boolean;
}

const HELP = `deno task bench [options]
  --only calls,events-burst   which workloads (default: all but many, telemetry, trace)
  --on node,bun,deno          on which runtimes (default: all)
  --rounds 5                  rounds, each contender once in each (default: 3)
  --ms 600                    milliseconds of each measurement (default: 500)
  --peers                     other libraries too, from npm`;

/**
 * Parses the options; `undefined` if they ask for help.
 *
 * @throws {RangeError} If a number is not at least 1.
 */
export function parseOptions(args: readonly string[]): Options | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: "string", default: "" },
      on: { type: "string", default: "node,bun,deno" },
      rounds: { type: "string", default: "3" },
      ms: { type: "string", default: "500" },
      peers: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return undefined;
  }
  return {
    only: values.only.split(",").filter((name) => name !== ""),
    runtimes: values.on.split(",") as RuntimeName[],
    rounds: positive(values.rounds),
    ms: positive(values.ms),
    peers: values.peers,
  };
}

function positive(text: string): number {
  const number = Number(text);
  if (!(number >= 1)) throw new RangeError(`Expected a number from 1, got \`${text}\``);
  return number;
}
