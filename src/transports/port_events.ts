/**
 * The three kinds of ports there are, and how each tells of messages and of its end.
 *
 * @module
 */

/** What is used of the event that brings a message. */
export interface PortEvent {
  /** What was posted. */
  readonly data?: unknown;
  /** Of a message between windows: the origin that posted it. */
  readonly origin?: string;
  /** Of a message between windows: the window that posted it. */
  readonly source?: unknown;
  /** Of an error. */
  readonly message?: string;
}

/** `MessagePort`, `Worker`, and the `self` of a worker. */
export interface StandardPort {
  /** Posts a message. */
  postMessage(message: unknown): void;
  /** Listens for `message`, `messageerror`, `error` and `close`. */
  addEventListener(type: string, listener: (event: PortEvent) => void): void;
  /** Lets messages come; a `MessagePort` holds them back until then. */
  start?(): void;
  /** Closes the port. */
  close?(): void;
}

/** `Worker`, `MessagePort` and `parentPort` of `node:worker_threads`, `MessagePortMain` of Electron. */
export interface NodePort {
  /** Posts a message. */
  postMessage(message: unknown): void;
  /** Listens for `message`, `close`, `exit` and `error`. */
  // deno-lint-ignore no-explicit-any -- the declaration of Node's own Worker says so
  on(type: string, listener: (value: any) => void): unknown;
  /** Lets messages come. */
  start?(): void;
  /** Closes the port. */
  close?(): void;
}

/** `runtime.Port` of browser extensions. */
export interface ExtensionPort {
  /** Posts a message. */
  postMessage(message: unknown): void;
  /** Ends the connection. */
  disconnect(): void;
  /** Tells of messages. */
  readonly onMessage: { addListener(listener: (message: unknown) => void): void };
  /** Tells of the end. */
  readonly onDisconnect: { addListener(listener: () => void): void };
}

/** Anything that posts and brings messages. */
export type Port = StandardPort | NodePort | ExtensionPort;

/** Who is told of what a port brings. */
export interface PortEvents {
  /** Takes what was posted. */
  message(data: unknown): void;
  /** Takes why the port brings nothing more. May be called again. */
  closed(why: string): void;
}

/** Listens to a port of any kind. */
export function listen(port: Port, events: PortEvents): void {
  if ("onMessage" in port) {
    port.onMessage.addListener((message) => events.message(message));
    port.onDisconnect.addListener(() => events.closed("The port was disconnected"));
    return;
  }
  // Node's own ports have both ways; only a worker of its has `on` alone.
  if ("addEventListener" in port) listenStandard(port, events);
  else listenNode(port, events);
  port.start?.();
}

function listenStandard(port: StandardPort, events: PortEvents): void {
  port.addEventListener("message", ({ data }) => events.message(data));
  port.addEventListener("close", () => events.closed("The port was closed"));
  port.addEventListener("error", ({ message }) => events.closed(workerFailed(message)));
}

/** Says why a worker failed. Browsers give no message if they could not load its script. */
export function workerFailed(message: string | undefined): string {
  return `The worker failed: ${message || "its script cannot be loaded, or has a syntax error"}`;
}

function listenNode(port: NodePort, events: PortEvents): void {
  port.on(
    "message",
    (value: unknown) => events.message(isElectronEvent(value) ? value.data : value),
  );
  port.on("close", () => events.closed("The port was closed"));
  port.on("exit", (code: unknown) => events.closed(`The worker ended with code ${code}`));
  port.on("error", (error: unknown) => events.closed(workerFailed(`${error}`)));
}

/** Electron wraps what was posted; Node does not. */
function isElectronEvent(value: unknown): value is PortEvent {
  return typeof value === "object" && value !== null && "ports" in value && "data" in value;
}
