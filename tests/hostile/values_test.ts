/**
 * Messages that are short on the wire and costly to check.
 */
import { assertEquals } from "@std/assert";
import { call } from "../helpers/messages.ts";
import { Post, RawSocket } from "../helpers/raw_client.ts";
import { assertAnswers, assertBounded, attack } from "./attack.ts";

const TOO_MANY = `[${"{},".repeat(349_000)}{}]`;
const JUST_ALLOWED = `[${"{},".repeat(19_900)}{}]`;

await attack("350,000 objects that fit no schema are refused unseen", {}, async (server) => {
  const line = await RawSocket.open(server.url);
  const post = new Post(server.url);
  await assertBounded(server, 256, async () => {
    for (const client of [line, post]) {
      for (const library of ["zod", "valibot", "arktype"]) {
        const text = `{"jsonrpc":"2.0","method":"${library}","params":${TOO_MANY},"id":1}`;
        assertEquals((await client.ask(text)).error, {
          code: -32700,
          message: "Parse error",
          data: "Over 20000 values (maxValues)",
        });
      }
    }
  });
  await assertAnswers(server);
});

await attack("a caller is told at most 20 of 40,000 issues", {}, async (server) => {
  const line = await RawSocket.open(server.url);
  const { method: _, ...rest } = call("", 1);
  for (const library of ["zod", "valibot", "arktype"]) {
    const text = JSON.stringify({ ...rest, method: library }).replace(
      /}$/,
      `,"params":${JUST_ALLOWED}}`,
    );
    const { error } = await line.ask(text);
    assertEquals([error?.code, (error?.data as unknown[]).length], [-32602, 20]);
  }
  await assertAnswers(server);
});
