/**
 * A server with an inspector, and something of everything that it can show. `PORT` says where it listens.
 */
import process from "node:process";
import { z } from "zod";
import { JsonRpc, loginRequired, RpcError, type } from "@x/jsonrpc";
import { inspector } from "@x/jsonrpc/inspector";
import { serve } from "@x/jsonrpc/node";
import type { Plugin } from "@x/jsonrpc/plugin";
import { exitWithParent } from "../helpers/exit_with_parent.ts";

/** A login that knows one person. */
function accounts(): Plugin<{ name: string } | null> {
  return {
    name: "accounts",
    methods: {
      login: {
        handler: (
          { username, password }: { username: string; password: string },
          { connection }: { connection: { login(user: object): void } },
        ) => {
          if (username !== "ann" || password !== "secret") return false;
          connection.login({ name: username });
          return true;
        },
        socketOnly: true,
      },
      logout: {
        handler: (_: unknown, { connection }: { connection: { logout(): void } }) => {
          connection.logout();
          return true;
        },
        socketOnly: true,
      },
    },
  };
}

const rpc = new JsonRpc({
  info: { title: "Shop", version: "2.1" },
  maxBufferedBytes: 64 * 1024 * 1024,
})
  .use(inspector({ trace: [loginRequired] }))
  .use(accounts())
  .method("add", {
    summary: "Adds two numbers.",
    description: "The second one may be left out.",
    params: z.object({ a: z.number(), b: z.number().optional() }),
  }, ({ a, b = 0 }) => a + b)
  .method("order", { summary: "Orders something.", names: ["item", "express"] }, async (
    { item }: { item: string; express?: boolean },
    request,
  ) => {
    const sure = await request.confirm(`Order ${item}?`);
    return sure ? `Ordered ${item}` : "Nothing was ordered";
  })
  .method("book", {
    summary: "Books a table.",
    params: z.object({
      guest: z.object({ name: z.string(), phone: z.string().optional() }),
      day: z.enum(["friday", "saturday"]),
      tags: z.array(z.string()).optional(),
      place: z.union([z.number(), z.object({ room: z.string() })]),
      note: z.string().nullable().default(null),
    }),
  }, (booking) => booking)
  .method("move", { params: z.tuple([z.string(), z.number()]) }, (params) => params)
  .method("old", { deprecated: true }, () => "still here")
  .method("fail", () => {
    throw new RpcError(409, "Sold out", { data: { left: 0 } });
  })
  .method("wait", () => new Promise(() => {}))
  .method("flood", ([count]: [number], { connection }) => {
    for (let n = 0; n < count; n++) connection.notify("tick", [n]);
    return count;
  })
  .method("leave", (_params: unknown, { connection }) => connection.close(4000, "Enough"))
  .method(
    "restock",
    { use: [loginRequired] },
    (_params: unknown, { user }) => `${user.name} did it`,
  )
  .method("price", ([value]: [number]) => {
    rpc.publish("prices", { value });
    return true;
  })
  .topic("prices", { history: { size: 100 }, schema: type<{ value: number }>() });

for (const value of [1, 2, 3]) rpc.publish("prices", { value });

exitWithParent();
const server = await serve(rpc, { port: Number(process.env.PORT ?? 0), hostname: "127.0.0.1" });
console.log(`LISTENING ${server.url}`);
