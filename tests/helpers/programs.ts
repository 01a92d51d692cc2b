/**
 * Programs of this machine that tests start.
 */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import process from "node:process";

// Debian puts servers here, where the PATH of an ordinary user does not lead.
const FALLBACKS = ["/usr/local/sbin", "/usr/sbin"];

/** Debian's package of each program. */
const PACKAGES = {
  "chromium": "chromium",
  "nats-server": "nats-server",
  "nginx": "nginx",
  "npx": "npm",
  "openssl": "openssl",
  "python3": "python3",
  "redis-server": "redis-server",
  "valkey-server": "valkey-server",
} as const;

/** A program that tests start. */
export type ProgramName = keyof typeof PACKAGES;

/** Gives the path of a program, first from the PATH; `undefined` if it is not installed. */
export function findProgram(name: ProgramName): string | undefined {
  const folders = (process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  return [...folders, ...FALLBACKS].map((folder) => join(folder, name)).find(isExecutable);
}

/**
 * Gives the path of a program.
 *
 * @throws {Error} If it is not installed. Tests say first what they need, see `needs.ts`.
 */
export function programPath(name: ProgramName): string {
  const path = findProgram(name);
  if (path === undefined) throw new Error(howToInstall(name));
  return path;
}

/** Says that a program is missing, and how to install it. */
export function howToInstall(name: ProgramName): string {
  return `no ${name} on the PATH (apt-get install ${PACKAGES[name]})`;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
