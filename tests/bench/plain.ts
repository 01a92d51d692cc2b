/**
 * The sockets and the HTTP server of each runtime, with nothing on top: the module is measured against these.
 */
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** The part that all sockets have. */
export interface PlainSocket {
  send(text: string): void;
}

/** What answers. */
export interface PlainApp {
  text(socket: PlainSocket, text: string): void;
  close?(socket: PlainSocket): void;
  /** Answers the body of a POST. */
  post?(text: string): string;
}

interface BunServer {
  readonly port: number;
  upgrade(request: Request): boolean;
  publish(topic: string, text: string): number;
}

interface BunSocket extends PlainSocket {
  subscribe(topic: string): void;
}

interface DenoServer {
  readonly addr: { readonly port: number };
}

/** The parts of Deno and Bun that are used here: their type declarations clash. */
interface RuntimeGlobals {
  readonly Deno?: {
    serve(options: object, fetch: (request: Request) => Response | Promise<Response>): DenoServer;
    upgradeWebSocket(request: Request): { socket: WebSocket; response: Response };
  };
  readonly Bun?: { serve(options: object): BunServer };
}

const { Deno, Bun } = globalThis as RuntimeGlobals;
const LOOPBACK = { hostname: "127.0.0.1", port: 0 };
const JSON_TYPE = { headers: { "content-type": "application/json" } };

/** Listens on the runtime's own server; gives the port. */
export function servePlain(app: PlainApp): Promise<number> {
  if (Bun !== undefined) return Promise.resolve(serveBun(app).port);
  if (Deno !== undefined) return Promise.resolve(serveDeno(app));
  return serveNode(app);
}

/** Serves on Bun, which alone has a publish of its own; gives the port and that function. */
export function servePublish(
  app: PlainApp,
): { port: number; publish: (text: string) => void } | undefined {
  if (Bun === undefined) return undefined;
  const server = serveBun(app, (socket) => socket.subscribe("news"));
  return { port: server.port, publish: (text) => void server.publish("news", text) };
}

function serveBun(app: PlainApp, open: (socket: BunSocket) => void = () => {}): BunServer {
  return (Bun as Required<RuntimeGlobals>["Bun"]).serve({
    ...LOOPBACK,
    async fetch(request: Request, server: BunServer) {
      if (request.method === "POST") return await answer(request, app);
      return server.upgrade(request) ? undefined : new Response(null, { status: 426 });
    },
    websocket: {
      idleTimeout: 0,
      open,
      message: (socket: PlainSocket, text: string) => app.text(socket, text),
      close: (socket: PlainSocket) => app.close?.(socket),
    },
  });
}

function serveDeno(app: PlainApp): number {
  const deno = Deno as Required<RuntimeGlobals>["Deno"];
  const server = deno.serve({ ...LOOPBACK, onListen() {} }, (request) => {
    if (request.method === "POST") return answer(request, app);
    const { socket, response } = deno.upgradeWebSocket(request);
    socket.onmessage = ({ data }) => app.text(socket, data);
    socket.onclose = () => app.close?.(socket);
    return response;
  });
  return server.addr.port;
}

async function answer(request: Request, app: PlainApp): Promise<Response> {
  return new Response(app.post?.(await request.text()), JSON_TYPE);
}

async function serveNode(app: PlainApp): Promise<number> {
  const { WebSocketServer } = await import("ws");
  const server = createServer((incoming, outgoing) => answerNode(incoming, outgoing, app));
  new WebSocketServer({ server, perMessageDeflate: false }).on("connection", (socket) => {
    socket.on("message", (data) => app.text(socket, data.toString()));
    socket.on("close", () => app.close?.(socket));
  });
  await new Promise<void>((resolve) => server.listen(LOOPBACK.port, LOOPBACK.hostname, resolve));
  return (server.address() as AddressInfo).port;
}

function answerNode(incoming: IncomingMessage, outgoing: ServerResponse, app: PlainApp): void {
  let body = "";
  incoming.setEncoding("utf8");
  incoming.on("data", (chunk: string) => body += chunk);
  incoming.on("end", () => {
    outgoing.writeHead(200, JSON_TYPE.headers);
    outgoing.end(app.post?.(body));
  });
}
