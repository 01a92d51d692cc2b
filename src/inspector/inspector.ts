/**
 * A page that shows what a server offers, and lets a person try it.
 *
 * @module
 */

import type { Connection } from "../core/connection.ts";
import { admitted } from "../core/guard.ts";
import type { Plugin } from "../core/plugin.ts";
import type { CallMiddleware, RpcRequest } from "../core/request.ts";
import { PAGE, SCRIPT_HASH, STYLE_HASH } from "./page.ts";
import { FRAMES, WatchedFrames } from "./watched_frames.ts";

export type { CallMiddleware } from "../core/request.ts";
export type { Plugin } from "../core/plugin.ts";

/** Options of {@linkcode inspector}. */
export interface InspectorOptions {
  /**
   * Who may watch the frames of **all** connections in the page, live: an array of guards, such as
   * `[permissionRequired("admin")]`, or `true` for everybody, on a machine of your own. Secrets are masked as in
   * every trace, and the server's log says when somebody watches; everything else of other users is shown.
   *
   * Connections that open from then on are traced, which makes their calls slower; while nobody watches, no text
   * is read.
   *
   * @default {nobody: the page shows the frames of its own connection}
   */
  readonly trace?: true | readonly CallMiddleware[];
}

/**
 * Shows the inspector to a browser that opens the server's URL: methods with their docs and a form for
 * their params, topics with their history, every frame in both directions, and what the server asks its
 * client. The page is one file, loads nothing from elsewhere, and talks to this server alone.
 *
 * It can do what its user can do with any client: guards, origins and logins hold for it. A backend that
 * requires a token still shows the page, so that people can log in there; it holds no data. It is there
 * only if you mount it; leave it out where strangers should not find out what a server offers as easily.
 *
 * @param options Who may watch the frames of all connections.
 * @returns The plugin.
 *
 * @example Only for development
 * ```ts
 * import { JsonRpc } from "@x/jsonrpc";
 * import { inspector } from "@x/jsonrpc/inspector";
 *
 * const rpc = new JsonRpc()
 *   .use(inspector())
 *   .method("add", { summary: "Adds two numbers", names: ["a", "b"] }, (
 *     { a, b }: { a: number; b: number },
 *   ) => a + b);
 *
 * const request = new Request("http://localhost:8080/", { headers: { accept: "text/html" } });
 * const page = await rpc.fetch(request);
 * console.assert(page.headers.get("content-type")?.startsWith("text/html"));
 * ```
 */
export function inspector({ trace }: InspectorOptions = {}): Plugin {
  return {
    name: "inspector",
    ...trace !== undefined && watchedBy(trace === true ? [] : trace),
    page({ method, headers }) {
      if (!headers.get("accept")?.includes("text/html")) return undefined;
      return new Response(method === "HEAD" ? null : PAGE, { headers: HEADERS });
    },
  };
}

/** The part of the plugin for those who may watch all frames. */
function watchedBy(use: readonly CallMiddleware[]): Partial<Plugin> {
  const frames = new WatchedFrames();
  const mayWatch = (connection: Connection): boolean =>
    admitted(use, { user: connection.user, connection, name: FRAMES, kind: "method" });
  return {
    trace: frames,
    methods: {
      [FRAMES]: {
        handler: ({ on }: { on?: unknown }, { connection }: RpcRequest) => {
          frames.watch(connection, on === true);
          return on === true;
        },
        names: ["on"],
        use,
        socketOnly: true,
        document: {
          summary: "Sends the frames of all connections, as notifications of this name",
          params: [{ name: "on", required: true, schema: { type: "boolean" } }],
          result: { type: "boolean" },
        },
      },
    },
    onUserChange: (connection) => {
      if (!mayWatch(connection)) frames.watch(connection, false);
    },
    onClose: (connection) => frames.watch(connection, false),
  };
}

const HEADERS = {
  "content-type": "text/html; charset=utf-8",
  "cache-control": "no-cache",
  "content-security-policy": [
    "default-src 'none'",
    `script-src '${SCRIPT_HASH}'`,
    `style-src '${STYLE_HASH}'`,
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; "),
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};
