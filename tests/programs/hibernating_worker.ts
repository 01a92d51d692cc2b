/**
 * A Worker with a Durable Object whose connections hibernate; and one without any object, at `/plain`.
 */
import { JsonRpc, loginRequired } from "@x/jsonrpc";
import type { RpcRequest } from "@x/jsonrpc";
import { durableObject, storageBroker } from "@x/jsonrpc/workers";
import type { HibernatingHandlers, ObjectState } from "@x/jsonrpc/workers";

/** An object: it tells by `born` whether it was out of memory. */
export const Room = durableObject((state: ObjectState) => {
  const born = crypto.randomUUID();
  let joined = 0;
  const rpc = new JsonRpc({ broker: storageBroker(state.storage), heartbeatMs: 200 })
    .addMethods(told())
    .use({
      name: "names",
      handshake: (handshake) => {
        const name = new URL(handshake.url).searchParams.get("name");
        if (name !== null) handshake.user = { name };
      },
      onSubscribe: () => void joined++,
    })
    .state<{ note?: unknown }>()
    .method("born", () => born)
    .method("joined", (): number => joined)
    .method("size", (): number => rpc.connections.size)
    .method("whoami", (_params, { connection: { id, user, state, subscriptions } }) => ({
      id,
      user,
      note: typeof state.note,
      subscriptions: [...subscriptions],
    }))
    .method("note", ([note]: [unknown], { connection }) => {
      connection.state.note = note === "function" ? () => {} : note;
    })
    .method("later", async (_params, { connection }) => {
      await new Promise((resolve) => setTimeout(resolve, 50));
      connection.state.note = "set later";
    })
    .method("publish", ([topic, data]: [string, unknown]) => {
      rpc.publish(topic as "news", data);
    })
    .topic("news")
    .topic("weather", { retain: true })
    .topic("log", { history: { size: 100 } })
    .topic("room.*")
    .topic("secret", { guards: [loginRequired] });
  return rpc;
});

/** Methods that tell their caller something before they answer. */
function told() {
  let left = 0;
  return {
    async report([steps]: [number], request: RpcRequest) {
      for (let step = 1; step <= steps; step++) {
        request.progress(step);
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      request.notify("told", [steps]);
      return "done";
    },
    async wait(_params: unknown, request: RpcRequest) {
      request.progress("begun");
      await new Promise((resolve) => request.signal.addEventListener("abort", resolve));
      left++;
    },
    left: () => left,
  };
}

let refused: Response | undefined;
const plain = new JsonRpc({ heartbeatMs: 200 })
  .addMethods(told())
  .use({
    name: "refusal",
    // One response for all requests.
    handshake: ({ url }) => {
      if (url.endsWith("/refused")) return refused ??= new Response("Refused", { status: 403 });
    },
  })
  .method("ping", () => "pong")
  .method("size", (): number => plain.connections.size)
  .method("later", async ([ms]: [number]) => {
    await new Promise((resolve) => setTimeout(resolve, ms));
    return ms;
  })
  .method("slow", { timeoutMs: 50 }, () => new Promise<never>(() => {}))
  .method("ask", (_params, request) => request.call("answer"))
  .method("publish", ([data]: [unknown]) => {
    plain.publish("news", data);
  })
  .topic("news");

export default {
  fetch(request: Request, env: Env): Response | Promise<Response> {
    if (new URL(request.url).pathname.startsWith("/plain")) return plain.fetch(request, env);
    return env.ROOM.get(env.ROOM.idFromName("main")).fetch(request);
  },
};

interface Env {
  readonly ROOM: {
    idFromName(name: string): unknown;
    get(id: unknown): HibernatingHandlers;
  };
}
