/**
 * Sessions by cookie: Hono logs people in and out, and the RPC server knows who they are.
 *
 *     deno run -A examples/hono_session.ts
 */
import { randomBytes } from "node:crypto";
import process from "node:process";
import { Hono } from "hono";
import { getCookie, setCookie } from "hono/cookie";
import { JsonRpc, loginRequired } from "@x/jsonrpc";
import { serve } from "@x/jsonrpc/node";
import { cookie, session } from "@x/jsonrpc/session";

const hostname = "127.0.0.1";
const port = Number(process.env.PORT ?? 8080);
// With TLS: "__Host-sid", and `secure: true` below.
const COOKIE = "sid";

// A Map, or a table of your database; not a plain object, which has a "constructor".
const sessions = new Map<string, { name: string }>();

const rpc = new JsonRpc({ hosts: [`localhost:${port}`, `${hostname}:${port}`] })
  .use(session((handshake) => sessions.get(cookie(handshake, COOKIE) ?? ""), {
    recheckMs: 30 * 60_000,
  }))
  .method("whoami", (_, { user }) => user?.name ?? null)
  .method("publish", { use: [loginRequired] }, ([text]: [string], { user }): number => {
    return rpc.publish("news", `${user.name}: ${text}`).deliveries;
  })
  .topic("news", { guards: [loginRequired] });

const app = new Hono();

app.post("/login", async (c) => {
  const { name, password } = await c.req.json();
  if (password !== "secret") return c.text("Wrong name or password", 401); // yours to do better
  endSession(getCookie(c, COOKIE));
  // Always a new id, never one that the browser sent: an attacker may have planted it.
  const id = randomBytes(16).toString("base64url");
  sessions.set(id, { name });
  setCookie(c, COOKIE, id, { httpOnly: true, sameSite: "Lax" });
  return c.body(null, 204);
});

app.post("/logout", (c) => {
  endSession(getCookie(c, COOKIE));
  setCookie(c, COOKIE, "", { maxAge: 0 });
  return c.body(null, 204);
});

app.all("/rpc", (c) => rpc.fetch(c.req.raw, c.env));

/** Forgets a session, and closes every WebSocket that was opened with it. */
function endSession(id: string | undefined): void {
  if (id === undefined || !sessions.delete(id)) return;
  rpc.revoke(({ handshake }) => cookie(handshake, COOKIE) === id);
}

const server = await serve(app, { port, hostname });
console.log(`LISTENING ${server.url}`);
