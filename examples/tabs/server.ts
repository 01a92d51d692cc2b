/**
 * A counter that all tabs of a browser share, over one WebSocket. Open the page in several tabs.
 *
 *     deno run -A examples/tabs/server.ts
 */
import { serve } from "@x/jsonrpc/node";
import process from "node:process";
import { bundle } from "../page.ts";
import { rpc } from "./rpc.ts";

const html = `<!DOCTYPE html>
<title>Tabs</title>
<p>All tabs count together: <output id="count">…</output></p>
<p><button id="more">One more</button></p>
<p>Connections that the server sees: <output id="connections">…</output></p>
<script type="module" src="/page.js"></script>`;

const scripts = new Map(
  await Promise.all(
    ["page", "worker"].map(async (name) =>
      [`/${name}.js`, await bundle(`examples/tabs/${name}.ts`)] as [string, string]
    ),
  ),
);

rpc.use({
  name: "page",
  fetch({ url, method }) {
    if (method !== "GET") return undefined;
    const script = scripts.get(new URL(url).pathname);
    const type = script === undefined ? "text/html" : "text/javascript";
    return new Response(script ?? html, {
      headers: { "content-type": `${type}; charset=utf-8` },
    });
  },
});

const { url } = await serve(rpc, { port: Number(process.env["PORT"] ?? 8080) });
console.log(`LISTENING ${url}`);
