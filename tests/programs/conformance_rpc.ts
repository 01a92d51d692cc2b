/**
 * What the server of the conformance suite offers: one method for each case. It names no runtime.
 */
import { guard, JsonRpc, RpcError, RpcInvalidParamsError } from "@x/jsonrpc";
import type { JsonRpcOptions, RpcRequest } from "@x/jsonrpc";

/** A low limit, so that a connection which is still counted after its end is soon noticed. */
const MAX_CONNECTIONS = 200;

const refuseAll = guard(() => false);

/** What `fail` throws, by name. */
const thrown: Record<string, () => unknown> = {
  error: () => new TypeError("secret detail", { cause: new Error("secret cause") }),
  errorWithCode: () => Object.assign(new Error("secret"), { code: 7, data: "secret" }),
  lookalike: () => ({ code: 7, message: "secret", data: "secret" }),
  string: () => "secret",
  number: () => 0,
  emptyString: () => "",
  null: () => null,
  undefined: () => undefined,
  false: () => false,
  bigint: () => 1n,
  symbol: () => Symbol("secret"),
  promise: () => Promise.resolve("secret"),
  rejectedPromise: () => Promise.reject(new Error("secret")),
  nothing: () => Object.create(null),
  dataWithoutJson: () => new RpcError(7, "secret", { data: 1n }),
};

/** What `give` answers, by name. */
const given: Record<string, () => unknown> = {
  bigint: () => ({ deep: [1n] }),
  cycle() {
    const cycle: unknown[] = [];
    cycle.push(cycle);
    return cycle;
  },
  function: () => () => 1,
  symbol: () => Symbol("a"),
  unwillingJson: () => ({ toJSON: () => undefined }),
  failingJson: () => ({
    toJSON() {
      throw new Error("secret");
    },
  }),
  failingThen: () => ({
    get then() {
      throw new Error("secret");
    },
  }),
  undefined: () => undefined,
  nan: () => NaN,
  infinity: () => -Infinity,
  date: () => new Date(0),
  thenable: () => ({ then: (resolve: (value: string) => void) => resolve("then") }),
};

/** Makes the server. */
export function conformanceRpc(options: JsonRpcOptions = {}) {
  const noted = new Map<string, number>();
  function note(key: string): number {
    const times = (noted.get(key) ?? 0) + 1;
    noted.set(key, times);
    return times;
  }
  const rpc = new JsonRpc({ maxConnections: MAX_CONNECTIONS, ...options })
    // methods of the specification's examples
    .method("subtract", { names: ["minuend", "subtrahend"] }, subtract)
    .method("sum", (numbers: number[]) => numbers.reduce((sum, each) => sum + each, 0))
    .method("get_data", () => ["hello", 5])
    .method("update", () => {})
    .method("notify_hello", () => {})
    .method("notify_sum", () => {})
    // methods that return
    .method("ping", () => "pong")
    .method("echo", (params: unknown) => params)
    .method("later", async (params: unknown) => (await turns(3), params))
    .method("large", ([length]: [number]) => "a".repeat(length))
    .method("polluted", () => ({} as { polluted?: unknown }).polluted ?? "no")
    .method("give", ([what]: [string]) => given[what]?.())
    // methods that fail
    .method("fail", ([how]: [string]) => {
      throw thrown[how]?.();
    })
    .method("failLater", async ([how]: [string]) => {
      await turns(1);
      throw thrown[how]?.();
    })
    .method("refuse", () => {
      throw new RpcError(402, "Not enough money", { data: { missing: 3 }, cause: "secret" });
    })
    .method("refuseAtLength", ([length]: [number]) => {
      throw new RpcError(402, "a".repeat(length));
    })
    // methods with side effects
    .method("note", ([key]: [string]) => note(key))
    .method("noteAndFail", ([key]: [string]) => {
      note(key);
      throw new Error("noted");
    })
    .method("connections", (): number => rpc.connections.size)
    .method("open", (): number => [...rpc.connections].length)
    .method("noted", ([key]: [string]) => noted.get(key) ?? 0)
    .method("hang", ([key]: [string], { signal }) =>
      new Promise((resolve) => {
        signal.addEventListener("abort", () => resolve(note(key)));
      }))
    // methods that call the client
    .method("askBack", (params: unknown, request) => request.call("question", params))
    .method("nest", nest)
    .method("report", async (steps: string[], request) => {
      for (const step of steps) request.progress(step);
      await turns(1);
      return "reported";
    })
    // topics
    .method("publish", ([topic, ...events]: string[]) => {
      for (const event of events) rpc.publish(topic as "news", event);
    })
    .topic("news")
    .topic("weather", { retain: true })
    .topic("room.*", { retain: true })
    .topic("secret", { guards: [refuseAll] })
    .method("hidden", { use: [refuseAll] }, () => "seen");
  return rpc;
}

function subtract({ minuend, subtrahend }: { minuend?: unknown; subtrahend?: unknown }): number {
  if (typeof minuend !== "number" || typeof subtrahend !== "number") {
    throw new RpcInvalidParamsError();
  }
  return minuend - subtrahend;
}

/** Calls the client, which calls this method again, until the depth is 0. */
async function nest([depth]: [number], request: RpcRequest): Promise<string> {
  if (depth === 0) return "bottom";
  return `${depth} ${await request.call("nest", [depth - 1])}`;
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setTimeout(resolve));
}
