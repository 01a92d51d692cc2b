/**
 * TLS on Node: `https:` and `wss:` with a key and a certificate. Runs on Deno and Bun too.
 *
 *     openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
 *       -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
 *       -keyout key.pem -out cert.pem
 *     node --import ./tools/node.ts examples/tls_node.ts key.pem cert.pem
 *     curl --cacert cert.pem -H 'content-type: application/json' https://localhost:8443 \
 *       -d '{"jsonrpc": "2.0", "method": "ping", "id": 1}'
 *
 * (`--import` only teaches Node the module's name inside this repository.)
 */
import { readFile } from "node:fs/promises";
import process from "node:process";
import { JsonRpc } from "@x/jsonrpc";
import { serve } from "@x/jsonrpc/node";

const hostname = "127.0.0.1";
const port = Number(process.env.PORT ?? 8443);
const [keyFile = "key.pem", certFile = "cert.pem"] = process.argv.slice(2);

const rpc = new JsonRpc({ hosts: [`localhost:${port}`, `${hostname}:${port}`] })
  .method("ping", () => "pong");

const tls = { key: await readFile(keyFile), cert: await readFile(certFile) };
const server = await serve(rpc, { port, hostname, tls });
console.log(`LISTENING ${server.url}`);
