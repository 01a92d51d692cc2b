/**
 * Callers over HTTP that leave before their answer.
 */
import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import type { Socket } from "node:net";
import { test } from "node:test";
import { JsonRpc, RpcConnectionError } from "@x/jsonrpc";
import type { RpcRequest } from "@x/jsonrpc";
import { assertStatus, dial, rawPost, requestText } from "../helpers/raw_client.ts";
import { deferred, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";
import { serveHere, serveOnNode } from "../helpers/server.ts";
import { call } from "../helpers/messages.ts";

const carriers = {
  "serve() of ./node": serveOnNode,
  "the runtime's own server": serveHere,
};

/** A server, and the requests whose handlers wait. */
function testServer() {
  const logger = silentLog();
  const waiting: RpcRequest[] = [];
  const held = deferred();
  const rpc = new JsonRpc({ logger })
    .method("ping", () => "pong")
    .method("wait", async (_params: unknown, request) => {
      waiting.push(request);
      await held.promise;
    });
  return { rpc, logger, held, waiting };
}

/** Begins a POST whose body may be longer than what is sent of it. */
async function beginPost(url: string, body: string, length = body.length): Promise<Socket> {
  const socket = await dial(url);
  const headers = { "content-type": "application/json", "content-length": `${length}` };
  socket.write(requestText(url, headers, { method: "POST", body }));
  return socket;
}

for (const [what, start] of Object.entries(carriers)) {
  test(`request.signal aborts when the caller of a POST leaves, on ${what}`, async () => {
    const { rpc, held, waiting } = testServer();
    await using server = await start({ fetch: rpc.fetch, websocket: rpc.websocket });
    const batch = JSON.stringify([call("wait", 1), call("wait", 2)]);
    const [leaving, staying] = [await beginPost(server.url, batch), rawPost(server.url, batch)];
    await until(() => waiting.length === 4);
    const signals = waiting.map(({ signal }) => signal);
    const ofConnections = waiting.map(({ connection }) => connection.signal);
    leaving.destroy();
    await until(() => signals.filter(({ aborted }) => aborted).length === 2);
    const aborted = signals.map((signal) => signal.aborted);
    assertEquals(ofConnections.map((signal) => signal.aborted), aborted);
    assertEquals(waiting.map((request) => request.aborted), aborted);
    const { reason } = signals.find((signal) => signal.aborted) ?? {};
    assertInstanceOf(reason, RpcConnectionError);
    assertEquals(reason.outcome, "unknown");
    held.resolve();
    assertStatus(await staying, 200);
    // An answer is no reason to stop.
    assertEquals(signals.filter(({ aborted }) => aborted).length, 2);
  });

  test(`request.aborted alone notices that the caller has left, on ${what}`, async () => {
    const { rpc, held, waiting } = testServer();
    await using server = await start({ fetch: rpc.fetch, websocket: rpc.websocket });
    const leaving = await beginPost(server.url, JSON.stringify(call("wait", 1)));
    await until(() => waiting.length === 1);
    assertEquals(waiting[0]?.aborted, false);
    leaving.destroy();
    await until(() => waiting[0]?.aborted === true);
    held.resolve();
  });

  test(`fetch() goes on when the caller of a POST leaves in mid-body, on ${what}`, async () => {
    const { rpc, logger } = testServer();
    const settled: string[] = [];
    function fetch(request: Request, host: unknown): Response | Promise<Response> {
      const response = Promise.resolve(rpc.fetch(request, host));
      response.then(({ status }) => settled.push(`${status}`), () => settled.push("rejected"));
      return response;
    }
    await using server = await start({ fetch });
    const leaving = await beginPost(server.url, '{"jsonrpc":', 100);
    // Chunked, too: read in another way.
    const chunked = await dial(server.url);
    const headers = { "content-type": "application/json", "transfer-encoding": "chunked" };
    chunked.write(requestText(server.url, headers, { method: "POST", body: "2\r\n{ \r\n" }));
    // Somebody else's answer shows that theirs have arrived.
    assertStatus(await rawPost(server.url, JSON.stringify(call("ping", 1))), 200);
    leaving.destroy();
    chunked.destroy();
    await until(() => settled.length === 3);
    assertEquals(settled.toSorted(), ["200", "400", "400"]);
    assertEquals(logger.text, "");
    assert(!rpc.connections.size);
  });
}
