/**
 * For the servers that tests start.
 */
import process from "node:process";
import { setInterval } from "node:timers";

const GLANCE_MS = 500;

/**
 * Ends this process when the one that started it is gone, however that went. Looks at who its parent is, since
 * a watch on stdin either keeps Deno alive after its server has closed or never fires on Bun.
 */
export function exitWithParent(): void {
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) process.exit();
  }, GLANCE_MS).unref();
}
