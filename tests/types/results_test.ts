/** Results of handlers, as their callers get them. This file is checked by the compiler alone. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { connect, JsonRpc, method, type } from "@x/jsonrpc";
import { pair } from "../helpers/client.ts";
import { is } from "../helpers/is.ts";

type Shape = { kind: "circle"; r: number; made: Date } | { kind: "square"; side: number };
type Parsed = string | number | boolean | null | Parsed[] | { [name: string]: Parsed };
interface Tree {
  readonly at: Date;
  readonly children: readonly Tree[];
}

/** Never called: its types are the test. */
async function results(url: string): Promise<void> {
  const rpc = new JsonRpc()
    .method("either", ([text]: [boolean]) => text ? "a" : 1)
    .method("later", async ([text]: [boolean]) => await Promise.resolve(text ? "a" : 1))
    .method("cached", ([n]: [number]): Promise<string> | string => n > 1 ? "a" : later())
    .method("mixed", ([n]: [number]) => n > 1 ? later() : { at: new Date() })
    .method("named", { names: ["n"] }, ({ n }: { n: number }) => n > 1 ? later() : n)
    .addMethods({ known: method({}, ([n]: [number]) => n > 1 ? later() : n) })
    .method("query", () => ({ then: (resolve: (rows: Date[]) => void) => resolve([]) }))
    .method("perhaps", (): string | void => {})
    .method("shape", (): Shape => ({ kind: "square", side: 1 }))
    .method("parsed", (): Parsed => 1)
    .method("tree", (): Tree => ({ at: new Date(), children: [] }))
    .method("thrower", (): never => {
      throw new Error("not there yet");
    })
    .method(
      "tagged",
      { params: type<{ t: "a"; n: number } | { t: "b"; s: string }>() },
      (params) => params.t === "a" ? params.n : params.s,
    )
    .method("items", async function* () {
      yield* await Promise.resolve([1, "a"]);
    });
  const client = await connect<typeof rpc>(url);
  is<string | number>()(await client.call("either", [true]));
  is<string | number>()(await client.call("later", [true]));
  is<string>()(await client.call("cached", [1]));
  is<string | { at: string }>()(await client.call("mixed", [1]));
  is<string | number>()(await client.call("named", { n: 1 }));
  is<string | number>()(await client.call("known", [1]));
  is<string[]>()(await client.call("query"));
  is<string | null>()(await client.call("perhaps"));
  const shape = await client.call("shape");
  if (shape.kind === "circle") is<string>()(shape.made);
  else is<number>()(shape.side);
  is<Parsed>()(await client.call("parsed"));
  is<string | undefined>()((await client.call("tree")).children[0]?.children[0]?.at);
  is<never>()(await client.call("thrower"));
  is<number | string>()(await client.call("tagged", { t: "a", n: 1 }));
  is<(number | string)[]>()(await client.call("items"));
}

function later() {
  return Promise.resolve("b");
}

test("handlers may return one of several types", async () => {
  assertEquals(typeof results, "function");
  const rpc = new JsonRpc().method("either", ([text]: [boolean]) => text ? "a" : 1);
  await using client = await pair(rpc);
  const either: string | number = await client.call("either", [false]);
  assertEquals(either, 1);
});
