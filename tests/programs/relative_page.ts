/**
 * A page that connects to the server it came from.
 */
import { connect } from "../../src/client/client.ts";

const client = await connect("rpc?from=page");
document.title = String(await client.call("add", [20, 22]));
await client.close();

declare const document: { title: string };
