/**
 * Sessions of the Model Context Protocol over HTTP: a plugin for a server whose clients cancel calls, and which
 * calls and notifies its clients. See examples/mcp_server.ts:
 *
 *     rpc.use(mcpSessions(rpc, ["2025-11-25"]));
 *
 * A session is one connection of the server, over a transport: what the client POSTs goes in, and what the server
 * sends goes out as events, of the POST that it belongs to or of a GET of the client.
 *
 * @see {@link https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#streamable-http}
 */
import type { JsonRpc, Transport } from "@x/jsonrpc";
import type { Handshake, Plugin } from "@x/jsonrpc/plugin";
import type { Receiver, TransportContext } from "@x/jsonrpc/port";

// Clients may leave without a word. The server keeps what they leave for so long.
const IDLE_MS = 30 * 60_000;
// For more, the session ends that was not used for the longest time.
const MAX_SESSIONS = 1000;
// Proxies and runtimes end responses that are quiet for longer.
const HEARTBEAT_MS = 5000;

/** Makes the plugin, for clients of these versions of the protocol. */
export function mcpSessions(rpc: Pick<JsonRpc, "attach">, versions: readonly string[]): Plugin {
  const sessions = new Map<string, Session>();

  function begin({ user, url, headers, remoteAddress }: Handshake): Session | Response {
    const idle = [...sessions.values()].find((session) => !session.isBusy);
    if (sessions.size >= MAX_SESSIONS) idle?.end(1008, "Too many sessions");
    const session: Session = new Session(userText(user), () => sessions.delete(session.id));
    try {
      rpc.attach(session, { user, url, headers, remoteAddress });
    } catch {
      return refusal(503, "The server is full, or closes");
    }
    sessions.set(session.id, session);
    return session;
  }

  function find({ headers, user }: Handshake): Session | Response {
    const session = sessions.get(headers.get("mcp-session-id") ?? "");
    // The id of a session proves nothing: the checks of the server tell who the user is.
    if (session?.user !== userText(user)) return refusal(404, "No such session: initialize anew");
    const version = headers.get("mcp-protocol-version");
    if (version !== null && !versions.includes(version)) return refusal(400, "Unknown version");
    // The one that was used last is the last of the map.
    sessions.delete(session.id);
    sessions.set(session.id, session);
    session.touch();
    return session;
  }

  return {
    name: "mcp_sessions",
    post({ text, message, handshake }) {
      const hasSession = handshake.headers.has("mcp-session-id");
      // Other calls without a session are answered as those of any POST.
      if (!hasSession && toMessage(message)?.method !== "initialize") return undefined;
      const known = toMessage(message);
      if (known === undefined) return refusal(400, "Expected one message of JSON-RPC");
      const isCall = known.method !== undefined && known.id !== undefined;
      if (isCall && !acceptsEvents(handshake)) return refusal(406, "Accept text/event-stream");
      const session = hasSession ? find(handshake) : begin(handshake);
      return session instanceof Response ? session : session.post(text, known);
    },
    fetch({ method }, handshake) {
      if (!handshake.headers.has("mcp-session-id")) return undefined;
      const session = find(handshake);
      if (session instanceof Response) return session;
      if (method === "GET" && acceptsEvents(handshake)) return session.listen();
      if (method !== "DELETE") return undefined;
      session.end(1000, "The client has ended the session");
      return new Response(null, { status: 204 });
    },
  };
}

/** One session, which is the transport of one connection. */
class Session implements Transport {
  readonly id = crypto.randomUUID();
  readonly #ended: () => void;
  // The calls that are not answered yet, by the JSON of their ids.
  readonly #posts = new Map<string, EventStream>();
  #listener: EventStream | undefined;
  // What is for the next GET.
  #waiting: string[] = [];
  #receiver: Receiver | undefined;
  #received: string | undefined;
  #idle: ReturnType<typeof setTimeout> | undefined;

  /** Who the user is, as JSON. */
  readonly user: string;

  constructor(user: string, ended: () => void) {
    this.user = user;
    this.#ended = ended;
  }

  get isBusy(): boolean {
    return this.#streams.some((stream) => stream.isOpen);
  }

  get #streams(): EventStream[] {
    return [...this.#posts.values(), ...this.#listener ? [this.#listener] : []];
  }

  open({ opened }: TransportContext): void {
    this.touch();
    const queued = () =>
      this.#streams.reduce((sum, stream) => sum + stream.queued, this.#waiting.join("").length);
    this.#receiver = opened({
      watchesPeer: true,
      get bufferedAmount() {
        return queued();
      },
      send: (message) => this.#send(String(message)),
      close: (code, reason) => queueMicrotask(() => this.end(code, reason)),
    });
  }

  /** Notes that the client has used the session. */
  touch(): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(
      () => this.isBusy ? this.touch() : this.end(1001, "Nobody has used the session"),
      IDLE_MS,
    );
  }

  /** Takes what the client has POSTed. A call is answered with a stream. */
  post(text: string, { id, method, params }: Message): Response {
    const isCall = method !== undefined && id !== undefined;
    const key = JSON.stringify(id);
    if (!isCall) {
      this.#receiver?.receive(text);
      // The protocol wants no answer to a call that was cancelled.
      if (method === "notifications/cancelled") this.#endPost(JSON.stringify(params?.requestId));
      return new Response(null, { status: 202 });
    }
    if (this.#posts.has(key)) return refusal(400, "A call with this id is under way");
    const { _meta } = (params ?? {}) as { _meta?: { progressToken?: unknown } };
    const stream = new EventStream(JSON.stringify(_meta?.progressToken));
    this.#posts.set(key, stream);
    this.#received = key;
    this.#receiver?.receive(text);
    this.#received = undefined;
    return stream.response(this.id);
  }

  /** Answers a GET with what belongs to no call. */
  listen(): Response {
    this.#listener?.end();
    const stream = this.#listener = new EventStream();
    for (const text of this.#waiting.splice(0)) stream.send(text);
    return stream.response(this.id);
  }

  end(code: number, reason: string): void {
    if (this.#receiver === undefined) return;
    clearTimeout(this.#idle);
    for (const stream of this.#streams) stream.end();
    this.#posts.clear();
    this.#ended();
    this.#receiver.closed(code, reason);
    this.#receiver = undefined;
  }

  #endPost(key: string, answer?: string): void {
    const stream = this.#posts.get(key);
    this.#posts.delete(key);
    if (answer !== undefined) stream?.send(answer);
    stream?.end();
  }

  #send(text: string): void {
    const { id, method, params } = JSON.parse(text) as Message;
    // What cannot be read as a call is answered at once, with the id `null`.
    const key = id === null ? this.#received : JSON.stringify(id);
    if (method === undefined) return this.#endPost(key ?? "", text);
    const token = JSON.stringify(params?.progressToken);
    const posts = [...this.#posts.values()];
    const stream = method === "notifications/progress"
      ? posts.find((post) => post.token === token)
      : [...posts, this.#listener].findLast((each) => each?.isOpen);
    if (stream !== undefined) stream.send(text);
    else if (method !== "notifications/progress") this.#waiting.push(text);
  }
}

/** A response of events. */
class EventStream {
  readonly #body: ReadableStream<Uint8Array>;
  readonly #heartbeat = setInterval(() => this.#write(":\n\n"), HEARTBEAT_MS);
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;

  /** The token of the progress that belongs here, as JSON. */
  readonly token: string | undefined;

  constructor(token?: string) {
    this.token = token;
    this.#body = new ReadableStream<Uint8Array>({
      start: (controller) => void (this.#controller = controller),
      cancel: () => this.#forget(),
    }, new ByteLengthQueuingStrategy({ highWaterMark: 0 }));
  }

  get isOpen(): boolean {
    return this.#controller !== undefined;
  }

  get queued(): number {
    return -(this.#controller?.desiredSize ?? 0);
  }

  response(id: string): Response {
    return new Response(this.#body, {
      headers: {
        "content-type": "text/event-stream",
        "cache-control": "no-store",
        "mcp-session-id": id,
        "access-control-expose-headers": "mcp-session-id",
      },
    });
  }

  send(text: string): void {
    this.#write(`event: message\ndata: ${text.replace(/\r\n?|\n/g, "\ndata: ")}\n\n`);
  }

  end(): void {
    this.#controller?.close();
    this.#forget();
  }

  #write(text: string): void {
    this.#controller?.enqueue(new TextEncoder().encode(text));
  }

  #forget(): void {
    clearInterval(this.#heartbeat);
    this.#controller = undefined;
  }
}

interface Message {
  readonly id?: unknown;
  readonly method?: string;
  readonly params?: Readonly<Record<string, unknown>>;
}

/** What is one message of JSON-RPC, as far as a session has to know. */
function toMessage(given: unknown): Message | undefined {
  if (typeof given !== "object" || given === null || Array.isArray(given)) return undefined;
  const { method, id } = given as { method?: unknown; id?: unknown };
  return typeof method === "string" || method === undefined && id !== undefined ? given : undefined;
}

function acceptsEvents({ headers }: Handshake): boolean {
  return (headers.get("accept") ?? "").includes("text/event-stream");
}

/** Tells users apart. If yours are the claims of tokens, compare only what stays as tokens are refreshed. */
function userText(user: unknown): string {
  return JSON.stringify(user) ?? "";
}

function refusal(status: number, message: string): Response {
  const error = { code: -32600, message };
  return Response.json({ jsonrpc: "2.0", error, id: null }, { status });
}
