/**
 * Serving an app on the runtime that runs the command line.
 *
 * @module
 */

import type { BunWebSocketHandler } from "../runtimes/bun.ts";
import { UsageError } from "./errors.ts";

/** What is served. */
export interface ServedApp {
  /** Answers a request. */
  fetch(request: Request, host?: unknown): Response | Promise<Response>;
  /** What `Bun.serve` takes. */
  readonly websocket: BunWebSocketHandler;
}

/** Where to listen. */
export interface ListenOptions {
  /** The port; 0 for a free one. */
  readonly port: number;
  /** The address. */
  readonly hostname: string;
}

/** The parts of Deno and Bun that are used here: their type declarations clash. */
interface RuntimeGlobals {
  readonly Deno?: {
    serve(options: object, fetch: ServedApp["fetch"]): { readonly addr: { readonly port: number } };
  };
  readonly Bun?: { serve(options: object): { readonly port: number } };
}

/**
 * Listens.
 *
 * @param app What is served.
 * @param options Where to listen.
 * @returns The URL. The server ends with the process.
 * @throws {UsageError} If it cannot listen there.
 */
export async function listen(app: ServedApp, options: ListenOptions): Promise<string> {
  const { hostname } = options;
  const host = hostname.includes(":") ? `[${hostname}]` : hostname;
  try {
    return `http://${host}:${await listenOn(app, options)}`;
  } catch (cause) {
    if (cause instanceof UsageError) throw cause;
    // Most often the port is taken.
    const { message } = cause as Error;
    throw new UsageError(`Cannot listen on ${host}:${options.port}: ${message}`, { cause });
  }
}

async function listenOn(app: ServedApp, options: ListenOptions): Promise<number> {
  const { Deno, Bun } = globalThis as RuntimeGlobals;
  const { fetch, websocket } = app;
  if (Deno !== undefined) return Deno.serve({ ...options, onListen() {} }, fetch).addr.port;
  if (Bun !== undefined) return Bun.serve({ ...options, fetch, websocket }).port;
  const { serve } = await import("../runtimes/node/serve.ts").catch((cause) => {
    const hint = "npm install @hono/node-server hono ws";
    throw new UsageError(`Serving on Node needs packages beside this one: ${hint}`, { cause });
  });
  return (await serve(app, options)).port;
}
