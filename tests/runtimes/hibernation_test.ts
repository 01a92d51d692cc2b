/**
 * Hibernating connections without workerd: the object's state is played by the test.
 */
import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { JsonRpc } from "@x/jsonrpc";
import { hibernate } from "@x/jsonrpc/workers";
import type { HibernatingSocket, ObjectState } from "@x/jsonrpc/workers";
import { quietMoment } from "../helpers/deferred.ts";
import { heldMemory } from "../helpers/held_memory.ts";
import { silentLog } from "../helpers/log.ts";
import { call, namesOf } from "../helpers/messages.ts";
import type { Message } from "../helpers/messages.ts";

/** A socket that was open while the object was out of memory. */
class PlayedSocket implements HibernatingSocket {
  attachment: unknown = {
    version: 1,
    id: "1",
    url: "https://example.com/",
    headers: [],
    user: null,
    state: {},
    topics: [],
    recovering: [],
  };
  answer: Message | undefined;

  send(text: string): void {
    this.answer = JSON.parse(text);
  }

  close(): void {}

  serializeAttachment(value: unknown): void {
    this.attachment = structuredClone(value);
  }

  deserializeAttachment(): unknown {
    return this.attachment;
  }
}

test("a hibernating connection keeps no names of topics that its client has given up", async () => {
  const socket = new PlayedSocket();
  let restored = Promise.resolve();
  const state = {
    getWebSockets: () => [socket],
    blockConcurrencyWhile: (run: () => Promise<void>) => restored = run(),
  } as unknown as ObjectState;
  const rpc = new JsonRpc({ logger: silentLog() }).topic("room.*");
  const object = hibernate(rpc, state);
  await restored;
  let before = 0;
  for (let round = 0; round < 120; round++) {
    if (round === 20) before = heldMemory();
    const topics = namesOf(1000, `room.${round}`);
    await object.webSocketMessage(
      socket,
      JSON.stringify(call("subscribe", 1, { topics, recover: true })),
    );
    assertEquals((socket.answer?.result as { subscriptions: unknown }).subscriptions, topics);
    await object.webSocketMessage(socket, JSON.stringify(call("unsubscribe", 2, topics)));
    assertEquals(socket.answer?.result, []);
    await quietMoment();
  }
  const growth = heldMemory() - before;
  // The names alone have 25 MB.
  assert(growth < 12, `grew by ${growth.toFixed(0)} MiB`);
  await rpc.close({ drainMs: 0 });
});
