/**
 * A server that was written for Python's aiohttp-json-rpc, after its migration.
 */
import { JsonRpc, RpcInvalidParamsError, RpcServerError } from "@x/jsonrpc";
import type { JsonRpcOptions } from "@x/jsonrpc";
import { silentLog } from "../helpers/log.ts";

/** The server: with the old separator, and params that are neither array nor object. */
export function likeAiohttp(options: JsonRpcOptions = {}) {
  const like: JsonRpcOptions = { separator: "__", scalarParams: true, logger: silentLog() };
  const rpc = new JsonRpc({ ...like, ...options })
    .method("ping", () => "pong")
    .method("add", { names: ["a", "b"] }, ({ a, b }: { a: number; b?: number }) => {
      if (b === undefined) throw new RpcInvalidParamsError({ data: "b is missing" });
      return a + b;
    })
    .method("echo", (params: unknown) => params)
    .method("nothing_to_say", () => {})
    .method("fail", () => {
      throw new Error("An error of the method's own");
    })
    .method("busy", () => {
      throw new RpcServerError(-32050, "Computer says no", { data: [1] });
    })
    .method("ask", (_params: unknown, request) => request.confirm("Sure?"))
    .method("ask_in_vain", (_params: unknown, request) => request.call("no_such_method"))
    .method("publish", (data: unknown): number => rpc.publish("news", data).deliveries)
    .addMethods("math", { double: ([x]: [number]) => 2 * x })
    .topic("news", { retain: true })
    .topic("sport");
  return rpc;
}
