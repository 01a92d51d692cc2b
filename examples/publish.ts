/**
 * Events from outside: a program that serves nobody publishes to the subscribers of a server.
 *
 *     deno run -A examples/publish.ts http://127.0.0.1:8080 alarms "Water in the cellar"
 *
 * It posts to a method that asks for a permission; examples/publish_server.ts has it, in one line.
 * Behind a broker between processes no server has to be asked, see the end of this file.
 */
import process from "node:process";
import { connect } from "@x/jsonrpc/client";

const [url = "http://127.0.0.1:8080", topic = "alarms", text = "Water in the cellar"] = process
  .argv.slice(2);

const client = await connect(url, { token: process.env.TOKEN ?? "secret" });
console.log(`Heard by ${await client.call("publish", { topic, data: text })}`);
await client.close();

// With an engine between processes this program publishes by itself:
//
//     const rpc = new JsonRpc({ broker: redisBroker({ url: "redis://127.0.0.1" }) }).topic("alarms");
//     await rpc.notify("alarms", text).position; // the engine has it
//     await rpc.close();
