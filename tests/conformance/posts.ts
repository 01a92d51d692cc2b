/**
 * HTTP POST.
 */
import { assert, assertEquals } from "@std/assert";
import {
  assertPong,
  assertStatus,
  dial,
  Post,
  rawPost,
  rawRequest,
} from "../helpers/raw_client.ts";
import type { RawRequest } from "../helpers/raw_client.ts";
import { call, failure, result } from "../helpers/messages.ts";
import { callOf, hostile, MAX_MESSAGE_BYTES, newKey, notedOf, overPost } from "./case.ts";

overPost("answers at every path", async (_post, url) => {
  for (const path of ["rpc", "a/b?method=fail&id=2", "?", "%00", "//"]) {
    assertEquals(await new Post(`${url}/${path}`).ask(call("ping", 1)), result(1, "pong"));
  }
});

overPost("answers many POSTs at once, each with its own answer", async (post) => {
  const ids = Array.from({ length: 100 }, (_, id) => id);
  const answers = await Promise.all(
    ids.map((id) => post.ask(call(id % 2 ? "later" : "echo", id, [id]))),
  );
  assertEquals(answers, ids.map((id) => result(id, [id])));
});

const PING = JSON.stringify(call("ping", 1));

const JSON_TYPES = ["application/json", "application/json-rpc", "application/jsonrequest"]
  .concat(["application/json; charset=utf-8", "Application/JSON", "application/json;a=b"]);

const OTHER_TYPES = ["text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded"]
  .concat(["multipart/form-data", "text/json", "application/jsonx", "application/json-patch+json"])
  .concat(["x-application/json", "text/plain; application/json", "application/ json", "json", ""]);

hostile("accepts the three content types of JSON", async (url) => {
  for (const type of JSON_TYPES) {
    assertPong(await rawPost(url, PING, { "content-type": type }));
  }
});

hostile("refuses every other content type with 415, and does not run the method", async (url) => {
  const key = newKey();
  for (const type of [...OTHER_TYPES, undefined]) {
    const text = JSON.stringify(call("note", 1, [key]));
    assertStatus(await rawPost(url, text, { "content-type": type }), 415);
  }
  assertEquals(await notedOf(new Post(url), key), 0);
});

hostile("refuses every other HTTP method with 405, and names the allowed one", async (url) => {
  for (const method of ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]) {
    const response = assertStatus(await rawRequest(url, { method }), 405);
    assert(response.headers.get("allow")?.split(/, */).includes("POST"), method);
  }
});

overPost("answers an empty body as text that is not JSON", async (post, url) => {
  assertEquals(await post.ask(""), failure(null, -32700));
  const { body } = assertStatus(await rawPost(url, "", { "content-length": undefined }), 200);
  assert(body.includes("-32700"));
});

/** The body in chunked encoding. */
function chunked(body: string, size = 64 * 1024): string {
  const chunks = body.match(new RegExp(`.{1,${size}}`, "gs")) ?? [];
  return [...chunks, ""].map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join("");
}

const CHUNKED = { "content-length": undefined, "transfer-encoding": "chunked" };

hostile("takes a POST of exactly maxMessageBytes, declared or in chunks", async (url) => {
  const text = callOf(MAX_MESSAGE_BYTES);
  for (const response of [await rawPost(url, text), await rawPost(url, chunked(text), CHUNKED)]) {
    assert(assertStatus(response, 200).body.includes('"result":'), response.body);
  }
});

hostile("refuses a POST over maxMessageBytes with 413 and -32007", async (url) => {
  const text = callOf(MAX_MESSAGE_BYTES + 1);
  for (const response of [await rawPost(url, text), await rawPost(url, chunked(text), CHUNKED)]) {
    const { body, headers } = assertStatus(response, 413);
    assertEquals(headers.get("content-type"), "application/json");
    assert(body.includes('"code":-32007') && body.includes('"id":null'), body);
  }
});

/** So long that the client still sends it when the server has refused it. */
const LONG = "a".repeat(8 * MAX_MESSAGE_BYTES);

const REFUSALS: readonly (readonly [status: number, RawRequest])[] = [
  [413, {}],
  [415, { headers: { "content-type": "text/plain" } }],
  [403, { headers: { origin: "https://elsewhere.example" } }],
  [405, { method: "PUT" }],
];

hostile(
  "lets a refusal arrive however much the client still sends, and closes then",
  async (url) => {
    for (const [status, { method = "POST", headers }] of REFUSALS) {
      const declared = { "content-type": "application/json", "content-length": `${LONG.length}` };
      for (let time = 0; time < 5; time++) {
        const request = { method, headers: { ...declared, ...headers }, body: LONG };
        assertStatus(await rawRequest(url, request), status);
      }
      const request = { method, headers: { ...declared, ...headers, ...CHUNKED } };
      assertStatus(await rawRequest(url, { ...request, body: chunked(LONG) }), status);
    }
  },
);

hostile(
  "counts the bytes of a POST in chunks, and joins characters that a chunk boundary cut",
  async (url) => {
    const text = JSON.stringify(call("echo", 1, ["é漢😀".repeat(100)]));
    const bytes = String.fromCharCode(...new TextEncoder().encode(text));
    const response = await rawPost(url, chunked(bytes, 7), CHUNKED, "latin1");
    assert(assertStatus(response, 200).body.includes("é漢😀".repeat(100)));
  },
);

hostile("answers a POST that is not UTF-8 as invalid", async (url) => {
  const text = '{"jsonrpc":"2.0","method":"echo\xff\xfe","id":1}';
  const { body } = assertStatus(await rawPost(url, text, {}, "latin1"), 200);
  assert(body.includes("-32700") || body.includes("-32601"), body);
});

hostile("survives a request that breaks off, at any byte", async (url) => {
  const head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";
  const bodies = ["content-length: 9\r\n\r\n{", "transfer-encoding: chunked\r\n\r\n5\r\n{"];
  for (const text of ["", "GET", "GET / HTTP/1.1\r\n", ...bodies.map((body) => head + body)]) {
    const socket = await dial(url);
    socket.write(text);
    socket.resetAndDestroy();
  }
});
