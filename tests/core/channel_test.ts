/**
 * The way out of one conversation: what is sent at once, what waits for the end of the turn, and what a
 * channel sees of limits and of the end.
 */
import { assert, assertEquals, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import { test } from "node:test";
import { SEND } from "../../src/core/internal.ts";
import { closeReason, SharedText, textOf } from "../../src/core/channel.ts";
import type { Channel, Flushable, Outgoing, UpgradeContext } from "../../src/core/channel.ts";
import { RpcConnectionError } from "../../src/protocol/errors.ts";
import { resolveLimits } from "../../src/protocol/limits.ts";
import type { Limits } from "../../src/protocol/limits.ts";
import { Peer } from "../../src/server/peer.ts";
import type { PeerHost } from "../../src/server/peer.ts";
import { openSocket } from "../../src/core/web_socket_channel.ts";
import type { SocketEvent, StandardSocket } from "../../src/core/web_socket_channel.ts";
import { createFlushScheduler } from "../../src/runtimes/flush_scheduler.ts";
import { silentLog } from "../helpers/log.ts";

// -- closeReason --

const bytesOf = (text: string) => new TextEncoder().encode(text).length;

test("closeReason() gives back what fits 123 bytes", () => {
  const anyReason = fc.string({ unit: "binary", maxLength: 30 });
  fc.assert(fc.property(anyReason, (reason) => assertEquals(closeReason(reason), reason)));
  for (const mark of ["\ufeff", "\ufffd", "é€"]) {
    for (const reason of [mark + "a".repeat(118), "a".repeat(118) + mark]) {
      assertEquals(closeReason(reason), reason);
    }
  }
});

test("closeReason() cuts between characters, and no more than it must, when a reason is too long", () => {
  const anyReason = fc.string({ unit: "binary", minLength: 40, maxLength: 200 });
  fc.assert(fc.property(anyReason, (reason) => {
    fc.pre(bytesOf(reason) > 123);
    const short = closeReason(reason);
    assert(reason.startsWith(short));
    const [next = ""] = reason.slice(short.length);
    assert(bytesOf(short) <= 123 && bytesOf(short + next) > 123);
  }));
});

test("closeReason() fits 123 bytes when lone surrogates are in it", () => {
  for (const unit of ["\ud83d", "\ude00", "a\ud83d"]) {
    assert(bytesOf(closeReason(unit.repeat(100))) <= 123);
  }
});

// -- createTick --

/** A queue that tells when it is flushed. */
function queue(name: string, flushed: string[], flush: () => void = () => {}): Flushable {
  return {
    flush() {
      flushed.push(name);
      flush();
    },
  };
}

test("createTick() schedules once a turn, and flushes in the order in which outboxes came", () => {
  const turns: (() => void)[] = [];
  const flushed: string[] = [];
  const defer = createFlushScheduler((run) => turns.push(run));
  for (const name of ["a", "b", "c"]) defer(queue(name, flushed));
  assertEquals([turns.length, flushed], [1, []]);
  turns[0]!();
  assertEquals(flushed, ["a", "b", "c"]);
  turns[0]!();
  assertEquals(flushed, ["a", "b", "c"]);
});

test("createTick() leaves to the next turn what comes while it flushes", () => {
  const turns: (() => void)[] = [];
  const flushed: string[] = [];
  const defer = createFlushScheduler((run) => turns.push(run));
  defer(queue("a", flushed, () => defer(queue("late", flushed))));
  defer(queue("b", flushed));
  turns[0]!();
  assertEquals([turns.length, flushed], [2, ["a", "b"]]);
  turns[1]!();
  assertEquals([turns.length, flushed], [2, ["a", "b", "late"]]);
});

// -- a peer on a wire that writes down what it is told --

/** A channel that sends at once. */
class Wire implements Channel {
  /** Each write, and how it ended. */
  readonly log: string[] = [];
  bufferedAmount = 0;
  closes = 0;
  pings = 0;
  terminated = 0;
  /** All texts, however they were written. */
  readonly texts: string[] = [];

  send(message: Outgoing): void {
    this.sendAll([message]);
  }

  sendAll(messages: readonly Outgoing[]): void {
    assertEquals(this.closes, 0, "sent after close");
    this.texts.push(...messages.map(textOf));
    this.log.push(messages.map(textOf).join(" "));
  }

  close(code: number, reason: string): void {
    this.closes++;
    this.log.push(`close ${code} ${reason}`.trimEnd());
  }

  terminate(): void {
    this.terminated++;
  }

  ping(): void {
    this.pings++;
  }

  /** Ends the turn of the event loop. */
  turn(): void {}
}

/** A channel that gains by one write a turn. */
class DeferringWire extends Wire {
  readonly due: Flushable[] = [];

  defer(queue: Flushable): void {
    this.due.push(queue);
  }

  override turn(): void {
    for (const queue of this.due.splice(0)) queue.flush();
  }
}

/** One that also joins by itself what is sent while it delivers. */
class CorkingWire extends DeferringWire {
  readonly corksReceive = true;
}

const WIRES = [Wire, DeferringWire, CorkingWire];

function talk<W extends Wire>(wire: W, limits: Partial<Limits> = {}, host: Partial<PeerHost> = {}) {
  const ran: unknown[] = [];
  const methods: Record<string, (params: unknown) => unknown> = {
    echo: (params) => (params as unknown[])[0],
    run: (params) => ran.push(params),
  };
  const peer = new Peer(wire, {
    limits: resolveLimits(limits),
    logger: silentLog(),
    find(name) {
      const invoke = methods[name];
      return invoke && { invoke, scalarParams: false };
    },
    ...host,
  }, { url: "", headers: new Headers(), remoteAddress: undefined, user: null });
  return { peer, wire, ran };
}

function echo(id: number, value: string): string {
  return JSON.stringify({ jsonrpc: "2.0", method: "echo", params: [value], id });
}

function echoed(id: number, value: string): string {
  return JSON.stringify({ jsonrpc: "2.0", result: value, id });
}

// -- sending --

test("Peer.send() sends at once when the channel does not defer", () => {
  const { peer, wire } = talk(new Wire());
  peer[SEND]("a");
  peer[SEND](new SharedText("b"));
  assertEquals(wire.log, ["a", "b"]);
});

test("Peer.send() holds texts back to the end of the turn, and asks for one flush", () => {
  const { peer, wire } = talk(new DeferringWire());
  for (const text of ["a", "b", "c"]) peer[SEND](text);
  assertEquals([wire.log, wire.due.length], [[], 1]);
  wire.turn();
  assertEquals(wire.log, ["a b c"]);
  peer[SEND]("d");
  assertEquals(wire.due.length, 1);
  wire.turn();
  assertEquals(wire.log, ["a b c", "d"]);
});

test("Peer.send() counts what it holds back as buffered", () => {
  const { peer, wire } = talk(new DeferringWire());
  wire.bufferedAmount = 10;
  peer[SEND]("abc");
  peer[SEND](new SharedText("de"));
  assertEquals(peer.bufferedAmount, 15);
  wire.turn();
  assertEquals(peer.bufferedAmount, 10);
});

test("Peer.bufferedAmount counts bytes of UTF-8, whenever it is asked", () => {
  const { peer, wire } = talk(new DeferringWire());
  const shared = new SharedText("ä€😀"); // 2, 3 and 4 bytes
  for (const round of [0, 1]) {
    const asked = [peer.bufferedAmount];
    for (const message of ["a", "€€", shared, shared]) {
      peer[SEND](message);
      if (round === 0) asked.push(peer.bufferedAmount);
    }
    asked.push(peer.bufferedAmount);
    assertEquals(asked, round === 0 ? [0, 1, 7, 16, 25, 25] : [0, 25]);
    wire.turn();
    assertEquals(peer.bufferedAmount, 0);
  }
});

test("Peer.receive() answers at once when the channel corks what it delivers, and defers otherwise", () => {
  const corking = talk(new CorkingWire());
  corking.peer.receive(echo(1, "a"));
  assertEquals(corking.wire.log, [echoed(1, "a")]);
  const deferring = talk(new DeferringWire());
  deferring.peer.receive(echo(1, "a"));
  assertEquals(deferring.wire.log, []);
  deferring.wire.turn();
  assertEquals(deferring.wire.log, [echoed(1, "a")]);
});

test("Peer.receive() never lets an answer overtake what was sent before it", () => {
  const { peer, wire } = talk(new CorkingWire());
  peer[SEND]("first");
  peer.receive(echo(1, "second"));
  peer[SEND]("third");
  assertEquals(wire.log, []);
  wire.turn();
  assertEquals(wire.texts, ["first", echoed(1, "second"), "third"]);
  peer.receive(echo(2, "fourth"));
  assertEquals(wire.texts.at(-1), echoed(2, "fourth"));
});

test("Peer.send() keeps order on every wire, whatever is sent, received and flushed in between", () => {
  const steps = fc.array(fc.constantFrom("send", "sendLong", "receive", "turn"), { maxLength: 30 });
  fc.assert(fc.property(fc.constantFrom(...WIRES), steps, (SomeWire, plan) => {
    const { peer, wire } = talk(new SomeWire());
    const expected: string[] = [];
    for (const [index, step] of plan.entries()) {
      if (step === "turn") wire.turn();
      else if (step === "receive") expected.push(echoed(index, "a"));
      else expected.push(`${index}${"a".repeat(step === "sendLong" ? 40_000 : 0)}`);
      if (step === "receive") peer.receive(echo(index, "a"));
      else if (step !== "turn") peer[SEND](expected.at(-1)!);
    }
    peer.close();
    assertEquals(wire.texts, expected);
    wire.turn();
    assertEquals([wire.texts, wire.log.at(-1)], [expected, "close 1000"]);
  }));
});

test("Peer.send() writes early when a turn sends much, and forgets nothing", () => {
  const { peer, wire } = talk(new DeferringWire());
  const texts = Array.from({ length: 10 }, (_, index) => `${index}`.repeat(20_000));
  for (const text of texts) peer[SEND](text);
  assert(wire.texts.length > 0 && wire.texts.length < 10);
  wire.turn();
  assertEquals(wire.texts, texts);
});

// -- closing --

test("Peer.close() sends what waits, then closes, once", () => {
  for (const SomeWire of WIRES) {
    const { peer, wire } = talk(new SomeWire());
    peer[SEND]("a");
    peer.close(4000, "enough");
    peer.close(4001, "again");
    wire.turn();
    assertEquals(wire.log, ["a", "close 4000 enough"]);
  }
});

test("Peer.send() does nothing after close, and neither do notify, receive and late answers", async () => {
  for (const SomeWire of WIRES) {
    const slow = Promise.withResolvers<unknown>();
    const find = () => ({ invoke: () => slow.promise, scalarParams: false });
    const { peer, wire } = talk(new SomeWire(), {}, { find });
    peer.receive(echo(1, "late"));
    peer.close();
    peer[SEND]("a");
    peer.notify("b");
    peer.receive(echo(2, "c"));
    peer.receive(undefined);
    slow.resolve("late");
    await slow.promise;
    wire.turn();
    assertEquals(wire.log, ["close 1000"]);
    assert(!peer.isOpen && peer.signal.aborted);
  }
});

test("Peer.call() rejects as unsent when the connection is closed", async () => {
  const { peer } = talk(new Wire());
  peer.close();
  const error = await assertRejects(() => peer.call("echo"), RpcConnectionError);
  assertEquals(error.outcome, "unsent");
});

test("Peer.closed() rejects the calls that wait, tells its host once, and ends the signals", async () => {
  const events: string[] = [];
  const { peer, wire } = talk(new Wire(), {}, {
    ended: (which) => events.push(`ended ${which === peer}`),
    closed: (_peer, code, reason) => events.push(`closed ${code} ${reason}`),
  });
  const { signal } = peer;
  const waiting = [peer.call("a"), peer.call("b")].map((call) => call.catch((error) => error));
  peer.closed(1006, "cut");
  for (const error of await Promise.all(waiting)) {
    assertInstanceOf(error, RpcConnectionError);
    assertEquals((error as RpcConnectionError).outcome, "unknown");
  }
  assertEquals(events, ["ended true", "closed 1006 cut"]);
  assert(signal.aborted);
  peer.close();
  assertEquals(wire.closes, 0);
});

test("Peer.close() tells its host of the end at once, and of the free place when it is free", () => {
  const events: string[] = [];
  const { peer } = talk(new Wire(), {}, {
    ended: () => events.push("ended"),
    closed: (_peer, code) => events.push(`closed ${code}`),
  });
  peer.close(4000);
  assertEquals(events, ["ended"]);
  peer.closed(4000, "");
  assertEquals(events, ["ended", "closed 4000"]);
});

// -- limits --

test("Peer.send() closes with 1013 when more than maxBufferedBytes wait, and not before", () => {
  for (const SomeWire of WIRES) {
    const { peer, wire } = talk(new SomeWire(), { maxBufferedBytes: 100 });
    wire.bufferedAmount = 100;
    peer[SEND]("a");
    wire.turn();
    assertEquals(wire.log, ["a"]);
    wire.bufferedAmount = 101;
    peer[SEND]("b");
    peer[SEND]("c");
    wire.turn();
    assertEquals(wire.log.at(-1), "close 1013 Over 100 bytes unread (maxBufferedBytes)");
    assertEquals([wire.closes, peer.isOpen], [1, false]);
  }
});

test("Peer.receive() closes with 1009 when a message is over maxMessageBytes, and does not run it", () => {
  const message = '{"jsonrpc":"2.0","method":"run","params":["é"]}';
  for (const [missing, runs] of [[0, 1], [1, 0]] as const) {
    const maxMessageBytes = bytesOf(message) - missing;
    const { peer, wire, ran } = talk(new Wire(), { maxMessageBytes });
    peer.receive(message);
    assertEquals([ran.length, peer.isOpen], [runs, runs === 1]);
    const closed = `close 1009 Message over ${maxMessageBytes} bytes (maxMessageBytes)`;
    assertEquals(wire.log, runs === 1 ? [] : [closed]);
  }
});

test("Peer.receive() answers -32700 to what is no JSON, binary or too deep, and lives on", () => {
  const { peer, wire } = talk(new Wire());
  for (const text of [undefined, "", "{", "[".repeat(300), "\ufeff{}"]) {
    peer.receive(text);
    const { error, id } = JSON.parse(wire.texts.at(-1)!);
    assertEquals([error.code, error.message, id], [-32700, "Parse error", null]);
  }
  peer.receive(echo(1, "still here"));
  assertEquals(wire.texts.at(-1), echoed(1, "still here"));
  assertEquals(wire.texts.length, 6);
});

test("Peer.notify() and Peer.call() refuse what is over maxMessageBytes, or has no JSON", async () => {
  const { peer, wire } = talk(new Wire(), { maxMessageBytes: 200 });
  assertThrows(() => peer.notify("a", ["b".repeat(200)]), RangeError, 'Cannot send "a"');
  assertThrows(() => peer.notify("a", [1n]), TypeError);
  assertThrows(() => peer.notify("a", "scalar"), TypeError);
  await assertRejects(() => peer.call("a", ["b".repeat(200)]), RangeError, 'Cannot send "a"');
  await assertRejects(() => peer.call("a", [1n]), TypeError);
  await assertRejects(() => peer.call("a", 1), TypeError);
  assertEquals(wire.log, []);
});

test("Peer.receive() never answers an answer, no matter whom it is for", () => {
  const { peer, wire } = talk(new Wire());
  for (const id of [1, "1", 0, null, {}, undefined]) {
    peer.receive(JSON.stringify({ jsonrpc: "2.0", result: 1, id }));
    peer.receive(JSON.stringify({ jsonrpc: "2.0", error: { code: 1, message: "" }, id }));
  }
  assertEquals(wire.log, []);
});

test("Peer.beat() pings a peer that has sent something, and drops one that has not", () => {
  const { peer, wire } = talk(new Wire());
  const signs = [() => peer.markAlive(), () => peer.receive(undefined), () => peer.receive("[]")];
  peer.heartbeat();
  for (const [index, sign] of signs.entries()) {
    sign();
    peer.heartbeat();
    assertEquals([wire.pings, wire.terminated], [index + 2, 0]);
  }
  peer.heartbeat();
  assertEquals([wire.pings, wire.terminated], [4, 1]);
});

test("Peer.beat() pings a peer that reads what is sent, although it sends nothing", () => {
  const { peer, wire } = talk(new Wire());
  for (const [waiting, terminated] of [[3000, 0], [2000, 0], [1000, 0], [1000, 1]] as const) {
    wire.bufferedAmount = waiting;
    peer.heartbeat();
    assertEquals(wire.terminated, terminated);
  }
});

test("Peer.beat() closes who leaves things unread, where it can neither ping nor cut off", () => {
  class PlainWire extends Wire {
    override terminate = undefined as never;
    override ping = undefined as never;
  }
  const { peer, wire } = talk(new PlainWire());
  peer.heartbeat();
  peer.heartbeat();
  wire.bufferedAmount = 1000;
  // Nothing is known of a peer that reads everything, nor of what was only just sent.
  for (let beat = 0; beat < 2; beat++) {
    assert(peer.isOpen);
    peer.heartbeat();
  }
  assertEquals(wire.log, ["close 1001 No sign of life"]);
});

test("Peer.receive() counts nothing as a sign of life once the peer was closed", () => {
  const { peer, wire } = talk(new Wire());
  peer.heartbeat();
  peer.close();
  peer.receive('{"jsonrpc":"2.0","method":"echo","id":1}');
  peer.heartbeat();
  assertEquals([wire.terminated, wire.texts], [1, []]);
});

// -- openSocket --

/** A standard client socket, in whatever state the test wants: it refuses codes below 3000. */
class FakeSocket implements StandardSocket {
  readyState = 1;
  readonly bufferedAmount = 0;
  readonly log: string[] = [];
  readonly #listeners: ((event: SocketEvent) => void)[] = [];

  addEventListener(type: string, listener: (event: SocketEvent) => void): void {
    this.#listeners.push((event) => event.type === type && listener(event));
  }

  emit(event: SocketEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  send(text: string): void {
    this.log.push(text);
  }

  close(code = 1005, reason = ""): void {
    if (code !== 1000 && code < 3000) throw new TypeError("not for clients");
    assert(bytesOf(reason) <= 123);
    this.log.push(`close ${code} ${reason}`.trimEnd());
  }
}

/** Opens a socket and writes down what its receiver is told. */
function open(socket: FakeSocket) {
  const log: string[] = [];
  let channel: Channel | undefined;
  const admission: Pick<UpgradeContext, "opened" | "refused"> = {
    opened(opened) {
      channel = opened;
      return {
        receive: (text) => log.push(`text ${text}`),
        markAlive: () => log.push("alive"),
        closed: (code, reason) => log.push(`closed ${code} ${reason}`.trimEnd()),
      };
    },
    refused: (code, reason) => log.push(`refused ${code} ${reason}`.trimEnd()),
  };
  openSocket(socket, admission);
  return { log, channel: () => channel };
}

test("openSocket() opens at once when the socket is open, else when it opens", () => {
  const socket = new FakeSocket();
  assert(open(socket).channel());
  socket.readyState = 0;
  const opening = open(socket);
  assertEquals(opening.channel(), undefined);
  socket.emit({ type: "open" });
  assert(opening.channel());
});

test("openSocket() passes text on, says undefined of a binary frame, and tells of the end", () => {
  const socket = new FakeSocket();
  const { log } = open(socket);
  for (const data of ["a", "", new ArrayBuffer(1), new Blob()]) {
    socket.emit({ type: "message", data });
  }
  socket.emit({ type: "close", code: 4001, reason: "bye" });
  assertEquals(log, ["text a", "text ", "text undefined", "text undefined", "closed 4001 bye"]);
});

test("openSocket() tells once of an end that the socket tells twice", () => {
  const socket = new FakeSocket();
  const { log } = open(socket);
  socket.emit({ type: "close", code: 1001, reason: "No response from ping frame." });
  socket.emit({ type: "close", code: 1005, reason: "" });
  assertEquals(log, ["closed 1001 No response from ping frame."]);
});

test("openSocket() tells of a refusal, with the socket's own words, when it never opens", () => {
  const socket = new FakeSocket();
  socket.readyState = 0;
  const { log } = open(socket);
  socket.emit({ type: "error", message: "no route" });
  socket.emit({ type: "close" });
  assertEquals(log, ["refused 1006 no route"]);
});

test("openSocket() makes a channel that closes with any code, and sends only while open", () => {
  const socket = new FakeSocket();
  const channel = open(socket).channel()!;
  channel.send("a");
  channel.send(new SharedText("b"));
  for (const code of [1000, 1001, 1009, 1013, 4401]) channel.close(code, "é".repeat(100));
  socket.readyState = 2;
  channel.send("c");
  const reason = "é".repeat(61);
  const codes = [1000, 4001, 4009, 4013, 4401];
  assertEquals(socket.log, ["a", "b", ...codes.map((code) => `close ${code} ${reason}`)]);
});
