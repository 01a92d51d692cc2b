/**
 * The cases on one connection through every carrier but a server's own WebSockets: streams of bytes with both
 * framings, standard input and output, message ports, a worker, and sockets that the program attaches.
 */
import { after, test } from "node:test";
import { carriers } from "../helpers/carriers.ts";
import type { Carrier, CarrierKind } from "../helpers/carriers.ts";
import { cases } from "./cases.ts";
import type { Case } from "./case.ts";

/** Why a carrier cannot meet a requirement. */
const ONLY_WEBSOCKET = ["answers -32700 to a binary frame"];
/** A line is junk that is skipped if it is no JSON, or neither an object nor an array. */
const NOT_IN_LINES = [
  "answers -32700 to text that is not JSON, over WebSocket",
  "answers -32600 to JSON that is not a request, over WebSocket",
  "takes or refuses a byte order mark, as one answer, over WebSocket",
];

function fits({ name, needs }: Case, { isShared, framing, label }: CarrierKind): boolean {
  if (needs === "a server" || (isShared && needs === "connections")) return false;
  if (framing === "newline" && NOT_IN_LINES.includes(name)) return false;
  return label.startsWith("attach") || !ONLY_WEBSOCKET.includes(name);
}

for (const kind of carriers) {
  let carrier: Promise<Carrier> | undefined;
  after(async () => await (await carrier)?.stop());
  for (const each of cases.filter((each) => fits(each, kind))) {
    test(`${kind.label}: ${each.name.replace(", over WebSocket", "")}`, async () => {
      carrier ??= kind.start();
      const { url, open } = await carrier;
      await each.run(url, open);
    });
  }
}
