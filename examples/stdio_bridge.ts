/**
 * A server that is reached by WebSocket, as a program that speaks over standard input and output: for editors and
 * agents that can only start programs.
 *
 *     deno run -A examples/stdio_bridge.ts ws://127.0.0.1:8080
 */
import process from "node:process";
import { bridge } from "@x/jsonrpc/bridge";
import { byteStream } from "@x/jsonrpc/byte_stream";

const [, , url = "ws://127.0.0.1:8080"] = process.argv;
const streams = { readable: process.stdin, writable: process.stdout };
const stdio = byteStream(streams, { framing: "detect", name: "standard input" });
const { side, code, reason } = await bridge(stdio, new WebSocket(url));
if (side === "far") console.error(`The server has ended the connection (${code} ${reason})`);
process.exit(side === "near" ? 0 : 1);
