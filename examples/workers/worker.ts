/**
 * Rooms on Cloudflare Workers. Each room is a Durable Object: it leaves memory while nobody talks, and
 * its clients stay connected. The last lines of a room are kept in the object's database.
 *
 *     deno install && npx wrangler dev --config examples/workers/wrangler.toml
 *
 * Then, in two terminals:
 *
 *     deno run -A jsr:@x/jsonrpc/cli ws://localhost:8787/kitchen?name=ann
 */
import { JsonRpc, RpcInvalidParamsError, type } from "@x/jsonrpc";
import type { Plugin } from "@x/jsonrpc/plugin";
import { durableObject, storageBroker } from "@x/jsonrpc/workers";

// Who somebody is, is what they say: a real site would check a token here.
const names: Plugin<{ readonly name: string }> = {
  name: "names",
  handshake(handshake) {
    const name = new URL(handshake.url).searchParams.get("name");
    if (name === null) return new Response("Add ?name=…", { status: 401 });
    handshake.user = { name };
  },
};

/** One room. */
export class Room extends durableObject((state) => {
  const rpc = new JsonRpc({ broker: storageBroker(state.storage) })
    .use(names)
    .topic("said", { history: { size: 100 }, schema: type<{ name: string; text: string }>() })
    .method("say", ([text]: [string], { user }) => {
      if (typeof text !== "string" || text.length > 1000) throw new RpcInvalidParamsError();
      rpc.publish("said", { name: user.name, text });
    })
    .method("names", (): string[] => [...rpc.connections].map(({ user }) => user.name));
  return rpc;
}) {}

// A server for what needs no room. Its connections know nothing of each other.
const lobby = new JsonRpc().method("add", ([a, b]: [number, number]) => a + b);

export default {
  fetch(request: Request, env: Env): Response | Promise<Response> {
    const { pathname } = new URL(request.url);
    if (pathname === "/") return lobby.fetch(request, env);
    return env.ROOM.get(env.ROOM.idFromName(pathname)).fetch(request);
  },
};

interface Env {
  readonly ROOM: {
    idFromName(name: string): unknown;
    get(id: unknown): { fetch(request: Request): Response | Promise<Response> };
  };
}
