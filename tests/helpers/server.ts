/**
 * Servers in the process of the test, on a real port.
 */
import { serve } from "@x/jsonrpc/node";

/** A server that listens in this process. */
export interface LocalServer {
  /** For POST. */
  readonly url: string;
  /** For WebSocket. */
  readonly ws: string;
  /** Closes the rpc, if it is one, and stops listening. */
  stop(): Promise<void>;
  /** The same, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** An app with a `fetch`; a `JsonRpc` also has the rest. */
export interface LocalApp {
  // deno-lint-ignore no-explicit-any -- each runtime passes a different object
  fetch(request: Request, host?: any): Response | Promise<Response>;
  readonly websocket?: object;
  close?(): Promise<void>;
}

/** The parts of Deno and Bun that are used here: their type declarations clash. */
interface RuntimeGlobals {
  readonly Deno?: {
    serve(options: object, fetch: LocalApp["fetch"]): {
      readonly addr: { readonly port: number };
      readonly finished: Promise<void>;
    };
  };
  readonly Bun?: {
    serve(options: object): { readonly port: number; stop(force: boolean): Promise<void> };
  };
}

const { Deno, Bun } = globalThis as RuntimeGlobals;
const LOOPBACK = { hostname: "127.0.0.1", port: 0 };

/**
 * Serves an app as a user of the running runtime would.
 *
 * @param port The port to listen on; 0 for a free one.
 */
export async function serveHere(app: LocalApp, port = 0): Promise<LocalServer> {
  const [bound, end] = await listen(app, { ...LOOPBACK, port });
  async function stop(): Promise<void> {
    await app.close?.();
    await end();
  }
  const host = `127.0.0.1:${bound}`;
  return { url: `http://${host}`, ws: `ws://${host}`, stop, [Symbol.asyncDispose]: stop };
}

/** Serves an app through `./node`, on any runtime. */
export async function serveOnNode(app: LocalApp): Promise<LocalServer> {
  const server = await serve(app, LOOPBACK);
  const { url } = server;
  async function stop(): Promise<void> {
    await app.close?.();
    await server.close();
  }
  return { url, ws: url.replace("http", "ws"), stop, [Symbol.asyncDispose]: stop };
}

async function listen(
  app: LocalApp,
  where: typeof LOOPBACK,
): Promise<[port: number, end: () => Promise<void>]> {
  if (Deno !== undefined) {
    // Not `shutdown()`, which would wait for handlers that never answer.
    const controller = new AbortController();
    const { signal } = controller;
    const server = Deno.serve({ ...where, signal, onListen() {} }, app.fetch);
    return [server.addr.port, () => (controller.abort(), server.finished)];
  }
  if (Bun !== undefined) {
    const { fetch, websocket = { message() {} } } = app;
    const server = Bun.serve({ ...where, fetch, websocket });
    return [server.port, () => server.stop(true)];
  }
  const server = await serve(app, where);
  return [server.port, () => server.close()];
}
