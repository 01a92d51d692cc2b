/**
 * The other way round: peers that are no attack, and must not be taken for one.
 */
import { assertEquals } from "@std/assert";
import { call } from "../helpers/messages.ts";
import { RawSocket } from "../helpers/raw_client.ts";
import { attack } from "./attack.ts";

await attack(
  "a peer that asks for 8 answers of 900 kB at once and reads them gets all",
  {},
  async (server) => {
    const line = await RawSocket.open(server.url);
    line.send(...Array.from({ length: 8 }, (_, id) => call("large", id, [900_000])));
    for (const { result } of await line.some(8)) assertEquals((result as string).length, 900_000);
    line.disconnect();
  },
);

await attack("a subscriber that reads gets 80 events of 90 kB of one turn", {}, async (server) => {
  const line = await RawSocket.open(server.url);
  await line.ask(call("subscribe", 1, ["news"]));
  const publisher = await RawSocket.open(server.url);
  const data = "x".repeat(90_000);
  const batch = (from: number) =>
    Array.from({ length: 10 }, (_, n) => call("publish", from + n, ["news", data]));
  for (let round = 0; round < 8; round++) publisher.send(batch(10 * round));
  for (const { params } of await line.some(80)) assertEquals(params, data);
  for (const each of [line, publisher]) each.disconnect();
});
