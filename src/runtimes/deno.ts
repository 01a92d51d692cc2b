/**
 * Deno: `Deno.serve(rpc.fetch)`. For servers that strangers can reach use `serve` of `./node`, which works
 * on Deno too: `Deno.serve` collects the fragments of a message without a limit, so that one peer can
 * use up all memory, and it cannot terminate the connection of a peer that does not read.
 *
 * @module
 */

import type { Receiver, UpgradeContext } from "../core/channel.ts";
import { openSocket } from "../core/web_socket_channel.ts";
import type { StandardSocket } from "../core/web_socket_channel.ts";
import { MAX_TIMER_MS, OneShotTimer } from "../util/timer.ts";
import { onAbort } from "./runtime.ts";
import type { Runtime } from "./runtime.ts";

// -- types --

interface DenoHost {
  readonly remoteAddr?: { readonly hostname?: string };
}

interface DenoGlobal {
  upgradeWebSocket(
    request: Request,
    options: { idleTimeout: number },
  ): { socket: StandardSocket; response: Response };
}

// -- runtime --

/** Whether this process is Deno. */
export function isDeno(): boolean {
  return deno ??= typeof denoGlobal()?.upgradeWebSocket === "function";
}

// Looked up once: Deno loads what is behind the name anew on each access.
let deno: boolean | undefined;

/** Deno's own server. Its sockets send pings themselves, and drop a peer that does not answer. */
export const denoRuntime: Runtime = {
  keepsRequest: true,

  warning:
    "Deno.serve does not bound the size of a WebSocket message that is still incomplete: one " +
    "peer can use up all memory. Use serve of @x/jsonrpc/node, which works on Deno, if strangers can " +
    "connect (see docs/security.md)",

  remoteAddress(_request, host) {
    return (host as DenoHost | undefined)?.remoteAddr?.hostname;
  },

  onLeave(request, _host, left) {
    // Not `host.completed`, which settles only with the answer. Deno aborts this signal after an answer
    // too, but by then the listener was removed.
    return onAbort(request, left);
  },

  upgrade(request, _host, context) {
    const { socket, response } = (denoGlobal() as DenoGlobal)
      .upgradeWebSocket(request, { idleTimeout: idleSeconds(context) });
    // Not by Deno's own option, which finds the protocol only among offers separated by ", ".
    const { protocol } = context;
    if (protocol !== undefined) response.headers.set("sec-websocket-protocol", protocol);
    openSocket(socket, inTime(context));
    return response;
  },
};

// -- helpers --

/** Calls `refused` if the socket does not open in time: if the client has left, Deno fires no event. */
function inTime(context: UpgradeContext): Pick<UpgradeContext, "opened" | "refused"> {
  let late = false;
  const timer = new OneShotTimer();
  timer.setDeadline(OPEN_MS, () => {
    late = true;
    context.refused(1006, "Not opened in time");
  });
  return {
    opened(channel) {
      timer.clear();
      // Its slot was given back when it was late.
      if (late) channel.close(1013, "Opened too late");
      // Deno writes only once the turn has ended.
      return late ? IGNORED : context.opened(Object.assign(channel, { countsWholeTurns: true }));
    },
    refused(code, reason) {
      timer.clear();
      if (!late) context.refused(code, reason);
    },
  };
}

const IGNORED: Receiver = { receive() {}, markAlive() {}, closed() {} };
// How long the response to an upgrade may take until the socket is open.
const OPEN_MS = 5000;

/** Closes a peer that is silent for two heartbeats: Deno pings after half of this time, then waits. */
function idleSeconds({ heartbeatMs }: UpgradeContext): number {
  return heartbeatMs === Infinity ? 0 : 2 * Math.min(heartbeatMs, MAX_TIMER_MS) / 1000;
}

function denoGlobal(): DenoGlobal | undefined {
  return (globalThis as { Deno?: DenoGlobal }).Deno;
}
