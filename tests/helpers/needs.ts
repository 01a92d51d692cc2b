/**
 * What a test needs of the machine. Each runner counts a test whose needs are not met as skipped, since the
 * decision is made before the test is registered:
 *
 *     const redis = await needs("redis-server");
 *     test("redisBroker() publishes", redis, async () => { … });
 */
import { aiohttpCheckout } from "./aiohttp.ts";
import { findProgram, howToInstall } from "./programs.ts";
import type { ProgramName } from "./programs.ts";
import { findNode, findRuntime, runtimeHere } from "./runtimes.ts";
import type { RuntimeName } from "./runtimes.ts";

/**
 * A need: a runtime that can be started, a version of Node, a program, a checkout of aiohttp-json-rpc, or that
 * the suite itself runs on a runtime.
 */
export type Need =
  | RuntimeName
  | ProgramName
  | `node@${number}`
  | `on ${RuntimeName}`
  | "not on deno"
  | "aiohttp-json-rpc";

/** Options of `test()` that skip the test, with the reason, or let it run. */
export interface SkipOption {
  readonly skip: string | false;
}

/** Looks whether this machine meets all needs of a test. Says loudly what is missing, once per test file. */
export async function needs(...all: readonly Need[]): Promise<SkipOption> {
  for (const need of all) {
    const reason = await missing(need);
    if (reason !== undefined) return skip(reason);
  }
  return { skip: false };
}

/** Skips a test unless a condition holds. */
export function skipUnless(holds: boolean, reason: string): SkipOption {
  return holds ? { skip: false } : skip(reason);
}

const reported = new Set<string>();

function skip(reason: string): SkipOption {
  if (!reported.has(reason)) console.error(`SKIPPED: ${reason}`);
  reported.add(reason);
  return { skip: reason };
}

/** Gives the reason why a need is not met. */
async function missing(need: Need): Promise<string | undefined> {
  if (need === "not on deno") return runtimeHere === "deno" ? "not for Deno" : undefined;
  if (need === "aiohttp-json-rpc") return missingCheckout();
  const [, where] = /^on (.+)$/.exec(need) ?? [];
  if (where !== undefined) return where === runtimeHere ? undefined : `for ${where} only`;
  const [, major] = /^node@(\d+)$/.exec(need) ?? [];
  if (major !== undefined) {
    return await findNode(Number(major)) === undefined ? `npx does not get ${need}` : undefined;
  }
  if (isRuntime(need)) {
    return await findRuntime(need) === undefined ? `no ${need} on the PATH or from npx` : undefined;
  }
  const program = need as ProgramName;
  return findProgram(program) === undefined ? howToInstall(program) : undefined;
}

function isRuntime(need: Need): need is RuntimeName {
  return need === "deno" || need === "bun" || need === "node";
}

function missingCheckout(): string | undefined {
  if (findProgram("python3") === undefined) return howToInstall("python3");
  return aiohttpCheckout() === undefined
    ? "AIOHTTP_PATH names no checkout of aiohttp-json-rpc"
    : undefined;
}
