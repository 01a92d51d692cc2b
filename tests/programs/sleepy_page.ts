/**
 * A page that shows the newest event of a topic as its title, and has no heartbeats.
 */
import { connect } from "../../src/client/client.ts";

const client = await connect("rpc", { heartbeatMs: 0, reconnect: { minMs: 0, maxMs: 50 } });
await client.subscribe("news", (news) => document.title = String(news));
document.title = "ready";

declare const document: { title: string };
