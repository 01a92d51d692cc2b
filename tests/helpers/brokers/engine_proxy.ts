/**
 * A TCP proxy between one process and an engine: the network can fail for that process alone.
 */
import { connect, createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import { Transform } from "node:stream";

/** An engine behind the proxy. */
export interface EngineProxy {
  readonly port: number;
  /** Drops all that the engine sends over the open connections; it still receives. */
  mute(): void;
  /** Drops the next piece with this text that the process sends. */
  drop(text: string): void;
  /** Ends all connections, and refuses new ones. */
  break(): Promise<void>;
  /** Accepts connections again. */
  mend(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Puts a proxy in front of an engine's port. */
export async function engineProxy(target: number): Promise<EngineProxy> {
  const ends = new Set<Socket>();
  const answers = new Map<Socket, Socket>();
  let dropped: string | undefined;
  let server = await listen(0);

  /** Passes on what is not to be dropped. */
  function filter(): Transform {
    return new Transform({
      transform(chunk: Uint8Array, _encoding, done) {
        if (dropped === undefined || !new TextDecoder().decode(chunk).includes(dropped)) {
          return done(null, chunk);
        }
        dropped = undefined;
        done();
      },
    });
  }

  async function listen(port: number): Promise<Server> {
    const listener = createServer((near) => {
      const far = connect(target, "127.0.0.1");
      answers.set(far, near);
      far.on("close", () => answers.delete(far));
      for (const [from, to] of [[near, far], [far, near]] as const) {
        ends.add(from);
        from.on("error", () => {}).on("close", () => {
          ends.delete(from);
          to.destroy();
        });
      }
      near.pipe(filter()).pipe(far).pipe(near);
    });
    await new Promise<void>((resolve) => listener.listen(port, "127.0.0.1", resolve));
    return listener;
  }
  async function end(): Promise<void> {
    if (!server.listening) return;
    const closed = new Promise((resolve) => server.close(resolve));
    for (const each of ends) each.destroy();
    await closed;
  }
  const { port } = server.address() as AddressInfo;
  return {
    port,
    mute() {
      for (const [far, near] of answers) far.unpipe(near).resume();
    },
    drop(text) {
      dropped = text;
    },
    break: end,
    async mend() {
      server = await listen(port);
    },
    [Symbol.asyncDispose]: end,
  };
}
