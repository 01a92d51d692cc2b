/**
 * A service worker of several files, which may not use `import()`: it brings the transport along.
 */
import { connect } from "../../src/client/client.ts";
import { httpTransport } from "../../src/client/http.ts";

interface PageMessage extends Event {
  readonly source: { postMessage(data: unknown): void };
}

addEventListener("message", async (event) => {
  const { source } = event as PageMessage;
  try {
    const client = await connect(httpTransport(new URL("/rpc", location.href)));
    source.postMessage(await client.call("add", [20, 22]));
    await client.close();
  } catch (error) {
    source.postMessage(String(error));
  }
});
