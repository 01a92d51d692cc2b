/**
 * The methods of a class instance, under a prefix: `this` is kept, private names are not offered.
 *
 *     deno run -A examples/counter.ts
 */
import process from "node:process";
import { connect, JsonRpc } from "@x/jsonrpc";
import { serve } from "@x/jsonrpc/node";

class Counter {
  #count = 0;

  add([step]: [number]): number {
    this.#count += this._checked(step);
    return this.#count;
  }

  reset(): void {
    this.#count = 0;
  }

  /** Not offered: its name starts with `_`. */
  _checked(step: number): number {
    return Number.isInteger(step) ? step : 0;
  }
}

const hostname = "127.0.0.1";
const port = Number(process.env.PORT ?? 8080);

const rpc = new JsonRpc({ hosts: [`localhost:${port}`, `${hostname}:${port}`] })
  .addMethods("counter", new Counter());

const server = await serve(rpc, { port, hostname });
console.log(`LISTENING ${server.url}`);

// A client, as it would be in another program.
const client = await connect<typeof rpc>(`ws://${hostname}:${port}`);
const { counter } = client.remote;
console.log("add 2:", await counter.add([2]));
console.log("add 3:", await counter.add([3]));
await counter.reset();
console.log("after reset:", await counter.add([1]));
