/**
 * A page that shows what a server offers, and lets a person try it.
 *
 * @module
 */

import type { Plugin } from "../core/plugin.ts";
import { PAGE, SCRIPT_HASH, STYLE_HASH } from "./page.ts";

export type { Plugin } from "../core/plugin.ts";

/**
 * Shows the inspector to a browser that opens the server's URL: methods with their docs and a form for
 * their params, topics with their history, every frame in both directions, and what the server asks its
 * client. The page is one file, loads nothing from elsewhere, and talks to this server alone.
 *
 * It can do what its user can do with any client: guards, origins and logins hold for it. A backend that
 * requires a token still shows the page, so that people can log in there; it holds no data. It is there
 * only if you mount it; leave it out where strangers should not find out what a server offers as easily.
 *
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
export function inspector(): Plugin {
  return {
    name: "inspector",
    page({ method, headers }) {
      if (!headers.get("accept")?.includes("text/html")) return undefined;
      return new Response(method === "HEAD" ? null : PAGE, { headers: HEADERS });
    },
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
