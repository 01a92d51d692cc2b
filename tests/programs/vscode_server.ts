/**
 * A server on standard input and output as a language server is written: on vscode-jsonrpc.
 */
import process from "node:process";
import {
  createMessageConnection,
  StreamMessageReader,
  StreamMessageWriter,
} from "vscode-jsonrpc/node";

const connection = createMessageConnection(
  new StreamMessageReader(process.stdin),
  new StreamMessageWriter(process.stdout),
);
connection.onRequest("add", ({ a, b }: { a: number; b: number }) => a + b);
connection.onRequest("ask", async (params: object) => {
  return await connection.sendRequest("confirm", params);
});
connection.onRequest("wait", (_params: unknown, token: { isCancellationRequested: boolean }) => {
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      if (!token.isCancellationRequested) return;
      clearInterval(timer);
      connection.sendNotification("cancelled", {});
      resolve(null);
    }, 5);
  });
});
connection.onNotification("note", (params: object) => connection.sendNotification("noted", params));
connection.listen();
