/**
 * A language server for plain text: it finds words that are written twice, and says how long a word is.
 *
 *     node --import ./tools/node.ts examples/language_server.ts
 *
 * @see {@link https://microsoft.github.io/language-server-protocol/specifications/lsp/3.17/specification/}
 */
import process from "node:process";
import { JsonRpc, RpcInvalidParamsError } from "@x/jsonrpc";
import type { RpcRequest } from "@x/jsonrpc";
import { lsp } from "@x/jsonrpc/dialect";
import { serveStdio } from "@x/jsonrpc/stdio";

interface Position {
  readonly line: number;
  readonly character: number;
}

interface Document {
  readonly uri: string;
  readonly text?: string;
}

const documents = new Map<string, string>();
let trace = "off";

function check({ uri, text = "" }: Document, request: RpcRequest): void {
  documents.set(uri, text);
  const diagnostics = text.split("\n").flatMap((content, line) =>
    [...content.matchAll(/\b(\w+) \1\b/g)].map(({ index, 0: found, 1: word }) => ({
      range: {
        start: { line, character: index },
        end: { line, character: index + found.length },
      },
      severity: 2,
      message: `"${word}" twice`,
    }))
  );
  if (trace !== "off") request.notify("$/logTrace", { message: `checked ${uri}` });
  request.notify("textDocument/publishDiagnostics", { uri, diagnostics });
}

const rpc = new JsonRpc({ separator: "/", dialect: lsp })
  .method("initialize", () => ({
    capabilities: { textDocumentSync: 1, hoverProvider: true },
    serverInfo: { name: "twice", version: "1.0.0" },
  }))
  .method("initialized", () => {})
  .method("$/setTrace", ({ value }: { value: string }) => void (trace = value))
  .method(
    "textDocument/didOpen",
    ({ textDocument }: { textDocument: Document }, request) => check(textDocument, request),
  )
  .method("textDocument/hover", (params: { textDocument: Document; position: Position }) => {
    const { textDocument: { uri }, position: { line, character } } = params;
    const content = documents.get(uri)?.split("\n")[line] ?? "";
    const word = [...content.matchAll(/\w+/g)]
      .find(({ index, 0: each }) => index <= character && character < index + each.length)?.[0];
    return word === undefined ? null : { contents: `${word}: ${word.length} letters` };
  })
  .method("workspace/executeCommand", async ({ command }: { command: string }, request) => {
    if (command !== "count") throw new RpcInvalidParamsError({ data: `No command ${command}` });
    for (let percentage = 0; !request.signal.aborted; percentage += 10) {
      request.progress({ kind: "report", percentage });
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  })
  .method("shutdown", () => null)
  .method("exit", () => process.exit());

await serveStdio(rpc, { framing: "content-length" }).closed;
