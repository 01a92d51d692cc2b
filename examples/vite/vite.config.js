import { svelte } from "@sveltejs/vite-plugin-svelte";
import vue from "@vitejs/plugin-vue";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

/** A file of this clone. A project that has installed @x/jsonrpc needs no aliases. */
const source = (path) => fileURLToPath(new URL(`../../src/client/${path}`, import.meta.url));

export default defineConfig({
  plugins: [vue(), svelte()],
  resolve: {
    alias: {
      "@x/jsonrpc/client": source("client.ts"),
      "@x/jsonrpc/store": source("store.ts"),
    },
  },
  // While you work, pages come from Vite and calls go to the server: deno run -A server.ts
  server: { proxy: { "/rpc": { target: "http://127.0.0.1:8000", ws: true } } },
  build: {
    // For top-level await, and what the client needs of a browser.
    target: "es2022",
    rollupOptions: { input: ["react.html", "vue.html", "svelte.html"] },
  },
});
