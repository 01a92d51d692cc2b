/**
 * For programs that tests start: they must not outlive a test that is killed.
 */
import process from "node:process";
import { setInterval } from "node:timers";

const POLL_MS = 500;

/**
 * Ends this process when the one that started it is gone, however that ended. Polls the id of the parent, since
 * watching stdin keeps Deno alive after its server has closed, and never fires on Bun.
 */
export function exitWithParent(): void {
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) process.exit();
  }, POLL_MS).unref();
}
