/**
 * Messages in a stream of bytes, wherever the stream is cut.
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { test } from "node:test";
import { frame, FrameReader } from "../../src/transports/framing.ts";
import type { FrameReaderOptions, Framing } from "../../src/transports/framing.ts";

const encoder = new TextEncoder();

/** Everything that a reader reports, in order. */
function read(chunks: readonly Uint8Array[], options: Partial<FrameReaderOptions> = {}) {
  const reported: unknown[] = [];
  const reader = new FrameReader({ maxMessageBytes: 1024, ...options });
  for (const chunk of chunks) {
    for (const { kind, text, ...more } of reader.read(chunk)) {
      if (kind === "message") reported.push(text);
      else reported.push(kind === "junk" ? { junk: text } : { why: text, ...more });
    }
  }
  return { reported, isInside: reader.isInside };
}

function bytes(text: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(text);
}

function cutAt(whole: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const ends = [...new Set(cuts.map((cut) => cut % (whole.length + 1)))].sort((a, b) => a - b);
  const starts = [0, ...ends];
  return starts.map((start, index) => whole.subarray(start, starts[index + 1] ?? whole.length));
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const messages = fc.array(fc.jsonValue().map((params) => JSON.stringify({ params })), {
  maxLength: 8,
});
const framings: readonly Framing[] = ["newline", "content-length"];

for (const framing of framings) {
  for (const known of [true, false]) {
    const how = known ? "when it is told the framing" : "when the first byte tells the framing";
    test(`FrameReader gives the same messages however the bytes are cut: ${framing}, ${how}`, () => {
      fc.assert(fc.property(messages, fc.array(fc.nat()), (texts, cuts) => {
        const whole = joined(texts.map((text) => frame(text, framing)));
        const options = { framing: known ? framing : undefined, maxMessageBytes: 1e6 };
        const { reported, isInside } = read(cutAt(whole, cuts), options);
        assertEquals(reported, texts);
        assertEquals(isInside, false);
      }));
    });
  }
}

test("FrameReader reads lines with CR and LF, skips empty ones, and reports those that are no JSON", () => {
  const text = '{"a":1}\r\n\n  \r\nstarting up\n[2]\nDone.\n{"b":3}\n';
  const expected = ['{"a":1}', { junk: "starting up" }, "[2]", { junk: "Done." }, '{"b":3}'];
  assertEquals(read([bytes(text)]).reported, expected);
  for (let cut = 0; cut <= text.length; cut++) {
    const halves = [bytes(text.slice(0, cut)), bytes(text.slice(cut))];
    assertEquals(read(halves, { framing: "newline" }).reported, expected);
  }
});

test("FrameReader reads any headers in any order and case, and blank lines between messages", () => {
  const body = '{"text":"ä"}';
  const length = bytes(body).length;
  const text = `content-type: application/vscode-jsonrpc; charset=utf8\r\nX-Other: 1\r\n` +
    `CONTENT-LENGTH:${length}\r\n\r\n${body}\r\n\r\nContent-Length: ${length}\n\n${body}`;
  for (let cut = 0; cut <= text.length; cut++) {
    const { reported } = read([bytes(text.slice(0, cut)), bytes(text.slice(cut))]);
    assertEquals(reported, [body, body]);
  }
});

test("FrameReader takes a length that a header says twice", () => {
  const { reported } = read([bytes("Content-Length: 2\r\nContent-Length: 02\r\n\r\n{}")]);
  assertEquals(reported, ["{}"]);
});

test("FrameReader decodes the charset that a header names", () => {
  const body = '{"a":1}';
  const wide = new Uint8Array([...body].flatMap((letter) => [letter.charCodeAt(0), 0]));
  const head = `Content-Length: ${wide.length}\r\nContent-Type: x; charset=utf-16le\r\n\r\n`;
  assertEquals(read([bytes(head), wide]).reported, [body]);
});

test("FrameReader ends at what it cannot read on, and says why", () => {
  const refused: readonly [text: string, code: number, why: string, options?: object][] = [
    ["Content-Length: many\r\n\r\n{}", 1002, "Content-Length: many"],
    ["Content-Length: -1\r\n\r\n{}", 1002, "Content-Length: -1"],
    ["Content-Length: 2\r\ncontent-length: 3\r\n\r\n{} ", 1002, "content-length: 3"],
    ["Content-Type: x\r\n\r\n{}", 1002, "Expected a Content-Length header"],
    ["Content-Length 2\r\n\r\n{}", 1002, "Expected a header"],
    ['Content-Length: 2\r\n{"jsonrpc":"2.0"}\n', 1002, "Expected a header"],
    ["Content-Type: x; charset=klingon\r\n\r\n", 1002, 'Unknown charset "klingon"'],
    ["Content-Length: 1025\r\n\r\n", 1009, "1024 bytes (maxMessageBytes)"],
    [`{"a":"${"b".repeat(1024)}`, 1009, "1024 bytes (maxMessageBytes)"],
    [`Content-X: ${"b".repeat(9000)}`, 1008, "Headers over 8192 bytes"],
    ["Content-X: b\r\n".repeat(700), 1008, "Headers over 8192 bytes"],
  ];
  for (const [text, code, why] of refused) {
    const { reported: [failure, ...others] } = read([bytes(text), bytes('{"late":1}\n')]);
    assertEquals(others, []);
    assertEquals((failure as { code: number }).code, code, text.slice(0, 40));
    assert((failure as { why: string }).why.includes(why), JSON.stringify(failure));
  }
});

test("FrameReader reads no messages out of an HTTP request", () => {
  const call = '{"jsonrpc":"2.0","method":"add","id":1}\n';
  const headers = `Host: localhost\r\nContent-Length: ${call.length}\r\n\r\n`;
  for (const target of ["/", "/:", "http://localhost:1/"]) {
    for (const line of [`POST ${target} HTTP/1.1`, `GET ${target} HTTP/1.0`]) {
      for (const framing of [undefined, ...framings]) {
        const { reported } = read([bytes(`${line}\r\n${headers}${call}`)], { framing });
        assertEquals(reported.length, 1, `${line} ${framing}`);
        assertEquals((reported[0] as { code: number }).code, 1002);
      }
    }
  }
  // A program may print one.
  const { reported } = read([bytes(`${call}GET / HTTP/1.1\n${call}`)], { framing: "newline" });
  assertEquals(reported, [call.trim(), { junk: "GET / HTTP/1.1" }, call.trim()]);
});

test("FrameReader ends at the other framing", () => {
  const text = '{"jsonrpc":"2.0","method":"add","id":1}';
  const pairs = [["newline", "content-length"], ["content-length", "newline"]] as const;
  for (const [theirs, ours] of pairs) {
    const { reported: [failure, ...others] } = read([frame(text, theirs)], { framing: ours });
    assertEquals(others, []);
    assertEquals((failure as { code: number }).code, 1002);
  }
});

test("FrameReader takes a message of exactly maxMessageBytes", () => {
  const text = JSON.stringify({ a: "b".repeat(1024 - 8) });
  assertEquals(text.length, 1024);
  for (const framing of framings) {
    assertEquals(read([frame(text, framing)], { framing }).reported, [text]);
  }
});

test("FrameReader knows whether the bytes end in the middle of a message", () => {
  const whole = frame('{"a":1}', "content-length");
  for (let cut = 1; cut < whole.length; cut++) {
    assertEquals(read([whole.subarray(0, cut)]).isInside, true, `${cut}`);
  }
  assertEquals(read([whole]).isInside, false);
  assertEquals(read([bytes('{"a":1}\n{"b"')]).isInside, true);
});

test("FrameReader takes a last line without a line break, if its JSON is whole", () => {
  const options = { framing: undefined, maxMessageBytes: 16 };
  const last = (text: string) => {
    const reader = new FrameReader(options);
    for (const _ of reader.read(bytes(text)));
    return [reader.takeLast(), reader.isInside];
  };
  assertEquals(last('{"a":1}\n{"b":2}'), ['{"b":2}', false]);
  assertEquals(last(' [{"a":"ä"}]'), ['[{"a":"ä"}]', false]);
  assertEquals(last('{"b":{"c":1}'), [undefined, true]);
  assertEquals(last("1"), [undefined, true]);
  assertEquals(last('{"b":2}\n'), [undefined, false]);
  assertEquals(last('{"b":"567890123"}'), [undefined, true]);
  assertEquals(last('POST / HTTP/1.1\n{"b":2}'), [undefined, false]);
  assertEquals(last('Content-Length: 7\n\n{"b":2}'), [undefined, false]);
  assertEquals(last('Content-Length: 8\n\n{"b":2}'), [undefined, true]);
});

test("frame() puts JSON with line breaks on one line", () => {
  const text = new TextDecoder().decode(frame('{\n  "a":\r\n 1\n}', "newline"));
  assertEquals(text.indexOf("\n"), text.length - 1);
  assertEquals(JSON.parse(text), { a: 1 });
});
