/**
 * The command `serve`: the functions of a module as a server, or a server that an OpenRPC document makes up.
 *
 * @module
 */

import { access, readFile } from "node:fs/promises";
import { resolve } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { inspector } from "../inspector/inspector.ts";
import { JsonRpc } from "../server/server.ts";
import { mockServer } from "../testing/mock_server.ts";
import type { Arguments } from "./arguments.ts";
import { required } from "./calls.ts";
import { UsageError } from "./errors.ts";
import { listen } from "./listen.ts";
import type { ServedApp } from "./listen.ts";
import type { Terminal } from "./terminal.ts";

/**
 * Serves a module until Ctrl+C: the `JsonRpc` that it exports, or else all functions that it exports. An
 * OpenRPC document, a `.json` file, is served as `mockServer` answers for it.
 */
export async function serve(args: Arguments, terminal: Terminal): Promise<void> {
  const [file] = required(args, "MODULE");
  const app = await load(file);
  const url = await listen(app, args);
  // Before the line is printed: a script that reads it may send Ctrl+C at once.
  const interrupted = new Promise<void>((ended) => process.once("SIGINT", () => ended()));
  terminal.line(terminal.json ? JSON.stringify({ url }) : `Listening on ${url}`);
  await interrupted;
}

async function load(file: string): Promise<ServedApp> {
  if (file.endsWith(".json")) return await loadDocument(file);
  // What the module itself throws later keeps its stack.
  await access(file).catch((error: Error) => {
    throw new UsageError(`Cannot serve ${file}: ${error.message}`);
  });
  const module = await import(pathToFileURL(resolve(file)).href) as Record<string, unknown>;
  const app = Object.values(module).find(isApp);
  if (app !== undefined) return app;
  try {
    return new JsonRpc().use(inspector()).addMethods(module);
  } catch (error) {
    throw new UsageError(`Cannot serve ${file}: ${(error as Error).message}`);
  }
}

async function loadDocument(file: string): Promise<ServedApp> {
  try {
    const document = JSON.parse(await readFile(file, "utf8"));
    if (!Array.isArray(document?.methods)) throw new Error("it is no OpenRPC document");
    // Nothing in a made-up server needs protection, and a front end comes from another origin.
    return (await mockServer(document, { origins: "*" })).use(inspector());
  } catch (error) {
    throw new UsageError(`Cannot serve ${file}: ${(error as Error).message}`, { cause: error });
  }
}

/** Whether an export is a `JsonRpc`, perhaps of another copy of this module. */
function isApp(value: unknown): value is ServedApp {
  const { fetch, handleUpgrade } = (value ?? {}) as Partial<JsonRpc>;
  return typeof fetch === "function" && typeof handleUpgrade === "function";
}
