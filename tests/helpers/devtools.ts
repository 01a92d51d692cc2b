/**
 * Chromium without a library between: what drives browsers for tests keeps each page visible, and a page that is
 * visible is never frozen.
 */
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { until } from "./deferred.ts";
import { programPath } from "./programs.ts";

interface Answer {
  readonly id?: number;
  readonly result?: unknown;
  readonly error?: { readonly message: string };
}

/** A browser. */
export class DevTools {
  readonly #socket: WebSocket;
  readonly #pending = new Map<number, PromiseWithResolvers<unknown>>();
  #lastId = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.onmessage = ({ data }) => {
      const { id, result, error } = JSON.parse(data) as Answer;
      const call = this.#pending.get(id ?? 0);
      if (error) call?.reject(new Error(error.message));
      else call?.resolve(result);
    };
  }

  /** Connects to a browser. */
  static async connect(url: string): Promise<DevTools> {
    const socket = new WebSocket(url);
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = reject;
    });
    return new DevTools(socket);
  }

  /** Calls a command of the DevTools protocol. */
  send(method: string, params: object = {}, sessionId?: string): Promise<unknown> {
    const call = Promise.withResolvers<unknown>();
    this.#pending.set(++this.#lastId, call);
    this.#socket.send(JSON.stringify({ id: this.#lastId, method, params, sessionId }));
    return call.promise;
  }

  /** Opens a page, in front of all others. */
  async open(url: string): Promise<DevToolsPage> {
    const { targetId } = await this.send("Target.createTarget", { url }) as { targetId: string };
    const attach = { targetId, flatten: true };
    const { sessionId } = await this.send("Target.attachToTarget", attach) as { sessionId: string };
    return new DevToolsPage(this, sessionId);
  }
}

/** A page of a browser. */
export class DevToolsPage {
  readonly #browser: DevTools;
  readonly #session: string;

  constructor(browser: DevTools, session: string) {
    this.#browser = browser;
    this.#session = session;
  }

  /** Freezes the page, which must not be in front, or lets it go on. */
  async freeze(state: "frozen" | "active"): Promise<void> {
    await this.#browser.send("Page.setWebLifecycleState", { state }, this.#session);
  }

  /** Gives the value of an expression, also in a frozen page. */
  async value<T>(expression: string): Promise<T> {
    const params = { expression, returnByValue: true };
    const answer = await this.#browser.send("Runtime.evaluate", params, this.#session);
    return (answer as { result: { value: T } }).result.value;
  }
}

/** Lends a browser, and ends it. */
export async function withDevTools(use: (browser: DevTools) => Promise<void>): Promise<void> {
  const profile = await mkdtemp(join(tmpdir(), "chromium-"));
  const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"];
  const child = spawn(
    programPath("chromium"),
    [...flags, "--remote-debugging-port=0", `--user-data-dir=${profile}`, "about:blank"],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  try {
    let url: string | undefined;
    createInterface({ input: child.stderr }).on("line", (line) => {
      url ??= /DevTools listening on (\S+)/.exec(line)?.[1];
    });
    await until(() => url !== undefined);
    const browser = await DevTools.connect(url ?? "");
    await use(browser);
    await browser.send("Browser.close");
  } finally {
    child.kill();
    await until(() => child.exitCode !== null || child.signalCode !== null);
    // Its other processes write a little longer.
    await until(() => rm(profile, { recursive: true }).then(() => true, () => false));
  }
}
