/**
 * A chat beside a Django site: a user who is logged in there is known here. See docs/django.md.
 *
 *     deno run -A examples/django/server.ts
 *     bun examples/django/server.ts
 *     node --import ./tools/node.ts examples/django/server.ts
 *
 * The environment may set SECRET_KEY, DATABASE (the path of the site's SQLite file) and PORT.
 */
import { DatabaseSync } from "node:sqlite";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { JsonRpc, loginRequired, permissionRequired } from "@x/jsonrpc";
import { django } from "@x/jsonrpc/django";
import type { Query } from "@x/jsonrpc/django";
import { serve } from "@x/jsonrpc/node";

const {
  SECRET_KEY = "only for this example, make your own",
  DATABASE = fileURLToPath(new URL("db.sqlite3", import.meta.url)),
  PORT = "8080",
} = process.env;

const db = new DatabaseSync(DATABASE);
db.exec("PRAGMA busy_timeout = 5000"); // Django writes to the same file
const query: Query = (sql, params) => db.prepare(sql).all(...params as (string | number | null)[]);

interface Message {
  readonly author: string;
  readonly text: string;
}

const rpc = new JsonRpc()
  .use(django({
    secretKey: SECRET_KEY,
    query,
    models: [{ app: "chatsite", model: "message", fields: ["author", "text", "pinned"] }],
  }))
  .topic<"messages", Message>("messages", { guards: [loginRequired] })
  .method("whoami", (_, { user }) => user?.name ?? null)
  .method(
    "say",
    { use: [permissionRequired("chatsite.add_message")] },
    ({ text }: { text: string }, { user }): number => {
      const author = user.name;
      return rpc.publish("messages", { author, text: String(text) }).deliveries;
    },
  );

const server = await serve(rpc, { hostname: "127.0.0.1", port: Number(PORT) });
console.log(`LISTENING ${server.url}`);
