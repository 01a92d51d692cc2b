import { assertEquals, assertStringIncludes } from "@std/assert";
import { once } from "node:events";
import { test } from "node:test";
import type { AddressInfo } from "node:net";
import { WebSocketServer } from "ws";
import { JsonRpc } from "@x/jsonrpc";
import type { JsonRpcOptions } from "@x/jsonrpc";
import { cookie, session } from "@x/jsonrpc/session";
import { linkedSockets } from "@x/jsonrpc/testing";
import { deferred, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { call, result } from "../helpers/messages.ts";

/** What a client got: the answer to a first message that it sent at once, or how it was closed. */
interface Outcome {
  readonly answer?: unknown;
  readonly closed?: string;
}

function serverOf(options: JsonRpcOptions = {}) {
  return new JsonRpc({ logger: silentLog(), ...options })
    .use(session((handshake) => {
      const name = cookie(handshake, "sid");
      return name === undefined ? null : { name };
    }))
    .method("whoami", (_params: unknown, { user, connection: { handshake } }) => [
      user?.name ?? null,
      handshake.url.replace(/:\d+/, ""),
      handshake.remoteAddress?.replace("::ffff:", ""),
    ]);
}

/** Attaches the sockets of a server of `ws`, each with its request, and connects a client. */
async function outcomeOf(
  rpc: ReturnType<typeof serverOf>,
  headers: Record<string, string> = {},
): Promise<[Outcome, accepted: boolean]> {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const accepted = deferred<boolean>();
  // Node's own request, in which the URL is a path and headers are an object. A browser's headers are
  // put in here, since a standard WebSocket sends none.
  server.on("connection", (socket, { url, headers: own, socket: { remoteAddress } }) => {
    const request = { url, headers: { ...own, ...headers }, socket: { remoteAddress } };
    rpc.attach(socket, { request }).then(accepted.resolve, accepted.reject);
  });
  const client = new WebSocket(`ws://127.0.0.1:${port}/chat?x=1`);
  const outcome = await new Promise<Outcome>((resolve) => {
    client.onopen = () => client.send(JSON.stringify(call("whoami", 1)));
    client.onmessage = ({ data }) => resolve({ answer: JSON.parse(data) });
    client.onclose = ({ code, reason }) => resolve({ closed: `${code} ${reason}` });
  });
  const isAccepted = await accepted.promise;
  client.close();
  await rpc.close();
  server.close();
  return [outcome, isAccepted];
}

test("attach() with a request of Node runs the checks, and knows the peer", async () => {
  const anonymous = { answer: result(1, [null, "http://127.0.0.1/chat?x=1", "127.0.0.1"]) };
  assertEquals(await outcomeOf(serverOf()), [anonymous, true]);
  const known = { answer: result(1, ["ann", "http://127.0.0.1/chat?x=1", "127.0.0.1"]) };
  assertEquals(await outcomeOf(serverOf(), { cookie: "sid=ann" }), [known, true]);
});

test("attach() with a request closes peers that the checks refuse", async () => {
  const foreign = { origin: "https://evil.example" };
  const refused = { closed: "1008 Origin not allowed" };
  assertEquals(await outcomeOf(serverOf(), foreign), [refused, false]);
  const allowed = serverOf({ origins: ["https://evil.example"] });
  assertEquals((await outcomeOf(allowed, foreign))[1], true);
  const host = serverOf({ hosts: ["app.example"] });
  assertEquals(await outcomeOf(host), [{ closed: "1008 Host not allowed" }, false]);
  const checked = serverOf().use({
    name: "key",
    handshake: ({ isUpgrade }) => new Response(`No key: ${isUpgrade}`, { status: 401 }),
  });
  assertEquals(await outcomeOf(checked), [{ closed: "1008 No key: true" }, false]);
  const small = serverOf({ maxConnections: 1 });
  small.attach(linkedSockets()[1]);
  const [full, isAccepted] = await outcomeOf(small);
  assertStringIncludes(full.closed ?? "", "1013 Server full");
  assertEquals(isAccepted, false);
});

/** A server whose check waits, and a linked socket that is attached with a request. */
function attachedLate(options: JsonRpcOptions = {}) {
  const release = deferred();
  const rpc = new JsonRpc({ logger: silentLog(), ...options })
    .use({ name: "slow", handshake: () => release.promise })
    .method("echo", (params: unknown[]) => params as number[]);
  const [near, far] = linkedSockets();
  const messages: unknown[] = [];
  let closed = "";
  near.addEventListener("message", ({ data }) => messages.push(JSON.parse(String(data))));
  near.addEventListener("close", ({ code, reason }) => void (closed = `${code} ${reason}`));
  const request = new Request("https://app.example/rpc", { headers: { host: "app.example" } });
  const accepted = rpc.attach(far, { request });
  return { rpc, release, near, messages, accepted, closed: () => closed };
}

test("what a peer sends while the checks run is answered in order", async () => {
  const { release, near, messages, accepted } = attachedLate();
  await until(() => near.readyState === 1);
  for (const id of [1, 2, 3]) near.send(JSON.stringify(call("echo", id, [id])));
  await new Promise((resolve) => setTimeout(resolve, 20));
  assertEquals(messages, []);
  release.resolve();
  assertEquals(await accepted, true);
  near.send(JSON.stringify(call("echo", 4, [4])));
  await until(() => messages.length === 4);
  assertEquals(messages, [1, 2, 3, 4].map((id) => result(id, [id])));
  near.close();
});

test("a peer that sends too much while the checks run is closed, and uses no slot", async () => {
  const { rpc, release, near, accepted, closed } = attachedLate({ maxMessageBytes: 1000 });
  await until(() => near.readyState === 1);
  for (let index = 0; index < 3; index++) near.send(JSON.stringify("x".repeat(400)));
  await until(() => closed() !== "");
  assertEquals(closed(), "1009 Too much was sent before the connection was accepted");
  release.resolve();
  assertEquals([await accepted, rpc.connections.size], [false, 0]);
});

test("a peer that leaves while the checks run uses no slot", async () => {
  const { rpc, release, near, accepted } = attachedLate({ maxConnections: 1 });
  await until(() => near.readyState === 1);
  near.close();
  await until(() => near.readyState === 3);
  release.resolve();
  assertEquals([await accepted, rpc.connections.size], [false, 0]);
  const [other, far] = linkedSockets();
  rpc.attach(far);
  await until(() => other.readyState === 1 && rpc.connections.size === 1);
  await rpc.close();
});

test("a closed server accepts no attached request", async () => {
  const { rpc, near, accepted, release } = attachedLate();
  await until(() => near.readyState === 1);
  release.resolve();
  await accepted;
  await rpc.close();
  const [, far] = linkedSockets();
  assertEquals(await rpc.attach(far, { request: new Request("http://localhost/") }), false);
});

test("attach() says what to do about a request that cannot be read after its upgrade", async () => {
  const rpc = serverOf();
  const request = {
    get headers(): Headers {
      throw new TypeError("Request closed");
    },
  };
  const error = await rpc.attach(linkedSockets()[1], { request }).catch(String);
  assertStringIncludes(String(error), "Copy its url and headers before it");
});
