/**
 * A service worker that calls its server over POST whenever a page sends it a message.
 */
import { connect } from "../../src/client/client.ts";

interface PageMessage extends Event {
  readonly source: { postMessage(data: unknown): void };
}

addEventListener("message", async (event) => {
  const { source } = event as PageMessage;
  try {
    const client = await connect(new URL("/rpc", location.href));
    source.postMessage(await client.call("add", [20, 22]));
    await client.close();
  } catch (error) {
    source.postMessage(String(error));
  }
});
