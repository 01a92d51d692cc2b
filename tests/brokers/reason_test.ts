/**
 * What errors and log lines of the brokers say of a failure.
 */
import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { reasonOf } from "../../src/brokers/remote/retry_queue.ts";

const REASONS: Readonly<Record<string, string>> = {
  "connect ECONNREFUSED 127.0.0.1:6379": "connect ECONNREFUSED 127.0.0.1:6379",
  "Invalid URL redis://ann:secret@db:6379/0": "Invalid URL redis://***@db:6379/0",
  "Cannot reach wss://nats.example/path?token=secret&x=1 now":
    "Cannot reach wss://nats.example/path?*** now",
  'bad "nats://secret@one:4222"': 'bad "nats://***@one:4222"',
  "Is it there? It is not": "Is it there? It is not",
};

for (const [message, reason] of Object.entries(REASONS)) {
  test(`a broker names no secret of a URL: ${reason}`, () => {
    assertEquals(reasonOf(new Error(message)), reason);
  });
}
