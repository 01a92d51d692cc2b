/**
 * The bridge between a program and a WebSocket, each of which does what it likes.
 */
import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import type { StandardSocket, Transport } from "@x/jsonrpc";
import { bridge } from "@x/jsonrpc/bridge";
import { byteStream } from "@x/jsonrpc/byte_stream";
import type { Receiver } from "@x/jsonrpc/byte_stream";
import { messagesIn, OpenCalls } from "../../src/transports/open_calls.ts";
import { quietMoment, until } from "../helpers/deferred.ts";
import { silentLog } from "../helpers/log.ts";

const EVENT = '{"jsonrpc":"2.0","method":"event"}';

/** The far side, played by the test. */
function played() {
  const received: string[] = [];
  let receiver: Receiver | undefined;
  let isOpen = true;
  function leave(code: number, reason: string): void {
    if (isOpen) queueMicrotask(() => receiver?.closed(code, reason));
    isOpen = false;
  }
  const transport: Transport = {
    open({ opened }) {
      receiver = opened({
        bufferedAmount: 0,
        send: (message) => void received.push(String(message)),
        close: leave,
      });
    },
  };
  return { transport, received, leave, say: (text?: string) => receiver?.receive(text) };
}

/** The near side: a program that has said `input`, and goes on; what it reads is in `lines`. */
function program(input: string, framing: "newline" | "detect" = "newline") {
  const lines: string[] = [];
  const logger = silentLog();
  const { readable, writable } = new TransformStream<Uint8Array<ArrayBuffer>>();
  const writer = writable.getWriter();
  const decoder = new TextDecoder();
  let reading: Promise<void> = Promise.resolve();
  const output = new WritableStream<Uint8Array<ArrayBuffer>>({
    async write(bytes) {
      await reading;
      lines.push(decoder.decode(bytes, { stream: true }));
    },
  });
  if (input !== "") void writer.write(new TextEncoder().encode(input));
  return {
    near: byteStream({ readable, writable: output }, { framing, logger }),
    lines,
    logger,
    /** Reads nothing until the promise has settled. */
    waitFor: (promise: Promise<void>) => void (reading = promise),
    end: () => writer.close(),
  };
}

test("bridge() passes only whole JSON-RPC on to a program, each in one line, and logs the rest", async () => {
  const { near, lines, logger } = program("");
  const far = played();
  const joined = bridge(near, far.transport, { logger });
  const rest = ["hello", "", "42", "null", '{"a":"x\ny"}', '{"a":1}\n{"a":2}', '{"a":', "\x1b[2J"];
  for (
    const text of [
      ...rest,
      undefined,
      EVENT,
      '[\r\n {"id": 1,\n"result": "\u001b"}\n]'.replace("\u001b", "\\u001b"),
    ]
  ) {
    far.say(text);
  }
  far.leave(1000, "");
  assertEquals((await joined).side, "far");
  assertEquals(lines, [`${EVENT}\n`, '[  {"id": 1, "result": "\\u001b"} ]\n']);
  const said = logger.lines.map(String);
  assertEquals(said.length, rest.length + 1);
  // deno-lint-ignore no-control-regex -- what a terminal obeys
  assert(!/[\x00-\x1f\x7f]/.test(said.join("")), said.join("\n"));
});

test("bridge() ends with 1009 at a text over maxMessageBytes, and passes none of it on", async () => {
  const { near, lines, logger } = program("");
  const far = played();
  const joined = bridge(near, far.transport, { logger, maxMessageBytes: 100 });
  far.say(`["${"€".repeat(32)}"]`);
  far.say(`["${"€".repeat(33)}"]`);
  far.say(EVENT);
  const { side, code } = await joined;
  assertEquals([side, code], ["far", 1009]);
  assertEquals(lines, [`["${"€".repeat(32)}"]\n`]);
});

test("bridge() ends with 4408 if a side does not open", async () => {
  const { near } = program(`${EVENT}\n`);
  const end = await bridge(near, { open() {} }, { connectMs: 1 });
  assertEquals(end, { side: "far", code: 4408, reason: "not open within 1 ms" });
});

test("bridge() gives a program that has said nothing what it was sent before the end", async () => {
  for (const ends of [false, true]) {
    const { near, lines, end } = program("", "detect");
    const far = played();
    const joined = bridge(near, far.transport);
    far.say(EVENT);
    if (ends) await end();
    else far.leave(1001, "");
    await joined;
    assertEquals(lines, [`${EVENT}\n`]);
  }
});

test("bridge() has ended only when a slow program has read what it was sent", async () => {
  const { near, lines, waitFor } = program("");
  const { promise, resolve } = Promise.withResolvers<void>();
  waitFor(promise);
  const far = played();
  let hasEnded = false;
  const joined = bridge(near, far.transport).finally(() => hasEnded = true);
  const event = JSON.stringify({ jsonrpc: "2.0", method: "event", params: ["x".repeat(100_000)] });
  for (let count = 0; count < 50; count++) far.say(event);
  far.leave(1001, "");
  for (let turn = 0; turn < 20; turn++) await quietMoment();
  assertEquals([hasEnded, lines.length], [false, 0]);
  resolve();
  assertEquals((await joined).code, 1001);
  assertEquals(lines.join(""), `${event}\n`.repeat(50));
});

test("bridge() ends if a program reads nothing more, after lastAnswersMs", async () => {
  const { near, waitFor } = program("");
  waitFor(new Promise(() => {}));
  const far = played();
  const joined = bridge(near, far.transport, { lastAnswersMs: 20 });
  far.say(EVENT);
  far.say(EVENT);
  far.leave(1001, "");
  assertEquals((await joined).code, 1001);
});

test("bridge() waits for the answer to what is no JSON, and to each call of an id", async () => {
  const inputs = ['{"jsonrpc":"2.0",}\n', `${'{"method":"a","id":7}\n'.repeat(2)}`];
  for (const input of inputs) {
    const { near, lines, end } = program(input);
    const far = played();
    let hasEnded = false;
    const joined = bridge(near, far.transport).finally(() => hasEnded = true);
    await end();
    await until(() => far.received.length === input.split("\n").length - 1);
    const answer = `{"id":${input === inputs[0] ? null : 7},"result":1}`;
    if (input === inputs[1]) far.say(answer);
    for (let turn = 0; turn < 3; turn++) await quietMoment();
    assertEquals(hasEnded, false);
    far.say(answer);
    assertEquals((await joined).code, 1000);
    assertEquals(lines.length, far.received.length);
  }
});

test("A bridge keeps a bounded number of ids, of bounded length", () => {
  const calls = new OpenCalls();
  const id = "x".repeat(300_000);
  for (let count = 0; count < 100; count++) {
    calls.note(messagesIn(JSON.stringify({ method: "a", id: `${count}${id}` })));
  }
  assertEquals(calls.size, 3);
  for (const odd of [{}, [], true]) {
    calls.note(messagesIn(JSON.stringify({ method: "a", id: odd })));
  }
  for (let count = 0; count < 3; count++) calls.settle(messagesIn('{"id":null,"error":{}}'));
  for (const count of [97, 98, 99, 99, 1]) {
    calls.settle(messagesIn(JSON.stringify({ id: `${count}${id}`, result: 1 })));
  }
  assertEquals(calls.size, 0);
});

test("bridge() ends if a server says that it closes, and then does not", async () => {
  const { near } = program("");
  const socket: StandardSocket = {
    // As Node's WebSocket has it after a close frame, until the TCP connection has ended.
    readyState: 2,
    bufferedAmount: 0,
    send() {},
    close() {},
    addEventListener() {},
  };
  const opening = { ...socket, readyState: 1 };
  const joined = bridge(near, opening);
  (opening as { readyState: number }).readyState = 2;
  const { side, code } = await joined;
  assertEquals([side, code], ["far", 1006]);
});

test("bridge() ends if the output cannot be written, also where writing throws", async () => {
  const { readable } = new TransformStream<Uint8Array>();
  const writable = {
    write(): never {
      throw new Error("No space left on device");
    },
    end: (done?: () => void) => done?.(),
    on() {},
  };
  const far = played();
  const joined = bridge(byteStream({ readable, writable }), far.transport);
  far.say(EVENT);
  const reason = "Cannot write: No space left on device";
  assertEquals(await joined, { side: "near", code: 1006, reason });
});
