// deno-lint-ignore-file no-unused-vars -- the files share one scope: tools/inspector.ts joins them
// The connection: plain JSON-RPC over one WebSocket, so that every frame can be shown as it is.

/** Codes that people meet, in words. */
const CODES = {
  [-32700]: "The message is no JSON, is nested too deeply, or is a binary frame.",
  [-32600]: "The message is no JSON-RPC 2.0 request.",
  [-32601]:
    "There is no such method, or a guard keeps it from you: log in, or look at the server's log.",
  [-32602]: "The method does not take these params.",
  [-32603]: "The method failed. The reason is in the server's log.",
  [-32800]: "The call was cancelled.",
  [-32002]: "The call took too long for the server.",
  [-32003]: "You may not do this.",
  [-32005]: "A limit is exceeded: try again later.",
  [-32006]: "Too many subscriptions on this connection.",
  [-32007]: "The request is too big.",
  [-32008]: "The answer is too big.",
  [-32009]: "The server is busy.",
  [-32010]: "The batch has too many entries.",
  [-32011]: "The answer to the batch is too big.",
};

const wire = {
  socket: undefined,
  token: undefined,
  lastId: 0,
  waiting: new Map(),
  delay: 500,
  wanted: true,
  timer: undefined,
  listeners: { state: [], frame: [], notification: [], ask: [] },

  on(type, listener) {
    this.listeners[type].push(listener);
  },

  tell(type, what) {
    for (const listener of this.listeners[type]) listener(what);
  },

  connect() {
    clearTimeout(this.timer);
    this.socket?.close();
    const url = new URL(location.href);
    url.protocol = url.protocol.replace("http", "ws");
    url.hash = "";
    const protocols = this.token ? ["jsonrpc", `bearer.${this.token}`] : ["jsonrpc"];
    this.tell("state", { state: "connecting", text: "connecting …" });
    let socket;
    try {
      socket = new WebSocket(url, protocols);
    } catch (error) {
      this.tell("state", { state: "closed", text: `cannot connect: ${error.message}` });
      return;
    }
    this.socket = socket;
    socket.onopen = () => {
      this.delay = 500;
      this.tell("state", { state: "open", text: "connected" });
    };
    socket.onmessage = ({ data }) => this.take(String(data));
    socket.onclose = ({ code, reason }) => {
      if (this.socket !== socket) return;
      for (const { reject } of this.waiting.values()) {
        reject({ message: "The connection was closed" });
      }
      this.waiting.clear();
      const why = `closed (${code}${reason ? `: ${reason}` : ""})`;
      this.tell("state", {
        state: "closed",
        text: `${why}, trying again in ${this.delay / 1000} s`,
      });
      this.timer = setTimeout(() => this.connect(), this.delay);
      this.delay = Math.min(this.delay * 2, 30000);
    };
  },

  send(message) {
    if (this.socket?.readyState !== 1) throw { message: "Not connected" };
    const text = JSON.stringify(message);
    this.tell("frame", { out: true, text, at: new Date() });
    this.socket.send(text);
  },

  /** Makes a call; `id` can be cancelled. */
  start(method, params) {
    const id = ++this.lastId;
    const promise = new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      try {
        this.send({ jsonrpc: "2.0", id, method, params });
      } catch (error) {
        this.waiting.delete(id);
        reject(error);
      }
    });
    return { id, promise };
  },

  call(method, params) {
    return this.start(method, params).promise;
  },

  take(text) {
    this.tell("frame", { out: false, text, at: new Date() });
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return;
    }
    for (const each of Array.isArray(message) ? message : [message]) this.takeOne(each);
  },

  takeOne({ id, method, params, result, error }) {
    if (method !== undefined) {
      this.tell(id === undefined ? "notification" : "ask", { id, method, params });
      return;
    }
    const waiting = this.waiting.get(id);
    if (waiting === undefined) return;
    this.waiting.delete(id);
    if (error === undefined || error === null) waiting.resolve(result);
    else waiting.reject(error);
  },
};
