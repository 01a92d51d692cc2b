/**
 * Numbers that JSON can write and JavaScript cannot keep, names with two spellings, and batches that mix
 * everything under one id.
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { JsonRpc } from "@x/jsonrpc";
import { test } from "node:test";
import { silentLog } from "../helpers/log.ts";
import { rawPost, RawSocket } from "../helpers/raw_client.ts";
import { serveHere } from "../helpers/server.ts";

const NFC = "caf\u00e9";
const NFD = "cafe\u0301";

test("numbers beyond JavaScript's are refused, and names with another spelling are other names", async () => {
  const noted: unknown[] = [];
  const rpc = new JsonRpc({ logger: silentLog() })
    .method("echo", (params: unknown) => params)
    .method("note", ([value]: [unknown]) => void noted.push(value))
    .method(NFC, () => "here")
    .topic(NFC);
  await using server = await serveHere(rpc);
  const post = async (body: string) => (await rawPost(server.url, body)).body;
  const one = (method: string, params: string, id = "1") =>
    `{"jsonrpc":"2.0","method":"${method}","params":${params},"id":${id}}`;

  for (const number of ["1e400", "-1e400"]) {
    assertStringIncludes(await post(one("echo", `[${number}]`)), "-32602");
    assertStringIncludes(await post(one("echo", "[1]", number)), "-32600");
  }
  assertEquals(await post(one("echo", "[-0,1e-400]")), '{"jsonrpc":"2.0","result":[0,0],"id":1}');
  assertEquals(await post(one("echo", "[1]", "-0")), '{"jsonrpc":"2.0","result":[1],"id":0}');

  assertEquals(await post(one(NFC, "[]")), '{"jsonrpc":"2.0","result":"here","id":1}');
  assertStringIncludes(await post(one(NFD, "[]")), "-32601");
  const line = await RawSocket.open(server.url);
  const subscribe = (name: string) => ({
    jsonrpc: "2.0" as const,
    method: "subscribe",
    params: [name],
    id: 1,
  });
  // An unknown topic is not an error: the answer lists the topics that the connection has.
  const mixed = await line.ask([
    { jsonrpc: "2.0", method: "echo", params: [1], id: 1 },
    subscribe(NFC),
    { jsonrpc: "2.0", method: "note", params: [2] },
    subscribe(NFD),
    { jsonrpc: "2.0", method: "echo", params: [3], id: 1 },
  ]) as unknown as { id: unknown; result?: unknown; error?: { code: number } }[];
  assertEquals(mixed.map(({ id, result, error }) => [id, result ?? error?.code]), [
    [1, [1]],
    [1, [NFC]],
    [1, [NFC]],
    [1, [3]],
  ]);
  assertEquals(noted, [2]);
  line.disconnect();
});
