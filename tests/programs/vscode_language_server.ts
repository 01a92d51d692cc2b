/**
 * A language server as it is written on vscode-jsonrpc.
 */
import process from "node:process";
import {
  CancellationTokenSource,
  createMessageConnection,
  LogTraceNotification,
  ProgressType,
  ResponseError,
  SetTraceNotification,
  StreamMessageReader,
  StreamMessageWriter,
} from "vscode-jsonrpc/node";
import type { CancellationToken } from "vscode-jsonrpc/node";

interface Command {
  readonly command: string;
  readonly workDoneToken?: string | number;
  readonly partialResultToken?: string | number;
}

const REQUEST_CANCELLED = -32800;
const work = new ProgressType<object>();
const connection = createMessageConnection(
  new StreamMessageReader(process.stdin),
  new StreamMessageWriter(process.stdout),
);
let trace = "off";

function cancelled(token: CancellationToken): Promise<void> {
  return new Promise((resolve) => token.onCancellationRequested(() => resolve()));
}

const commands: Record<string, (params: Command, token: CancellationToken) => unknown> = {
  /** Reports progress until it is cancelled. */
  async count({ workDoneToken = "" }, token) {
    for (let percentage = 0; !token.isCancellationRequested; percentage++) {
      await connection.sendProgress(work, workDoneToken, { kind: "report", percentage });
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    throw new ResponseError(REQUEST_CANCELLED, "Cancelled");
  },
  /** Gives half of its result as progress. */
  async partial({ partialResultToken = "" }) {
    await connection.sendProgress(work, partialResultToken, [1, 2]);
    return [3];
  },
  /** Tells of work that belongs to no call, as indexing is. */
  async index(_params, token) {
    await connection.sendRequest("window/workDoneProgress/create", { token: "indexing" });
    await connection.sendProgress(work, "indexing", { kind: "begin", title: "Indexing" });
    const stopped = new Promise<void>((resolve) => {
      connection.onNotification("window/workDoneProgress/cancel", ({ token }) => {
        if (token === "indexing") resolve();
      });
    });
    await Promise.race([stopped, cancelled(token)]);
    await connection.sendProgress(work, "indexing", { kind: "end" });
  },
  /** Asks the editor, and withdraws the question. */
  async edit() {
    const source = new CancellationTokenSource();
    setTimeout(() => source.cancel(), 20);
    try {
      return await connection.sendRequest("workspace/applyEdit", { edit: {} }, source.token);
    } catch (error) {
      return (error as ResponseError<void>).code;
    }
  },
  /** Is done before a cancellation can reach it. */
  quick: () => "done",
};

connection.onRequest("initialize", () => ({ capabilities: { executeCommandProvider: {} } }));
connection.onNotification("initialized", () => {});
connection.onNotification(SetTraceNotification.type, ({ value }) => void (trace = value));
connection.onRequest("workspace/executeCommand", (params: Command, token: CancellationToken) => {
  if (trace !== "off") {
    void connection.sendNotification(LogTraceNotification.type, { message: params.command });
  }
  return commands[params.command]?.(params, token) ?? null;
});
connection.onRequest("shutdown", () => null);
connection.onNotification("exit", () => process.exit());
connection.listen();
