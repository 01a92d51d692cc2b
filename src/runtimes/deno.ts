/**
 * Deno: `Deno.serve(rpc.fetch)`.
 *
 * @module
 */

import type { Receiver, UpgradeContext } from "../core/channel.ts";
import { openSocket } from "../core/web_socket_channel.ts";
import type { StandardSocket } from "../core/web_socket_channel.ts";
import { MAX_TIMER_MS, unref } from "../util/timer.ts";
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

// Asked once: Deno loads what is behind the name anew each time somebody looks at it.
let deno: boolean | undefined;

/** Deno's own server. Its sockets ping by themselves, and drop a peer that does not answer. */
export const denoRuntime: Runtime = {
  keepsRequest: true,

  remoteAddress(_request, host) {
    return (host as DenoHost | undefined)?.remoteAddr?.hostname;
  },

  onLeave(request, _host, left) {
    // Not `host.completed`, which settles only with the answer. Deno aborts this signal after an
    // answer too, by which time nobody listens.
    return onAbort(request, left);
  },

  upgrade(request, _host, admission) {
    const { socket, response } = (denoGlobal() as DenoGlobal)
      .upgradeWebSocket(request, { idleTimeout: idleSeconds(admission) });
    // Not by Deno's own option: it looks for it only among offers that are parted by ", ".
    const { protocol } = admission;
    if (protocol !== undefined) response.headers.set("sec-websocket-protocol", protocol);
    openSocket(socket, inTime(admission));
    return response;
  },
};

// -- helpers --

/** Refuses by itself where a socket never opens: that of a client which has left tells nothing. */
function inTime(admission: UpgradeContext): Pick<UpgradeContext, "opened" | "refused"> {
  let late = false;
  const giveUp = unref(setTimeout(() => {
    late = true;
    admission.refused(1006, "Not opened in time");
  }, OPEN_MS));
  return {
    opened(channel) {
      clearTimeout(giveUp);
      // Its place is given away by now.
      if (late) channel.close(1013, "Opened too late");
      return late ? NOBODY : admission.opened(channel);
    },
    refused(code, reason) {
      clearTimeout(giveUp);
      if (!late) admission.refused(code, reason);
    },
  };
}

const NOBODY: Receiver = { receive() {}, markAlive() {}, closed() {} };
// How long the answer to an upgrade may take to leave.
const OPEN_MS = 5000;

/** One that is silent for two heartbeats is closed: Deno pings after half of this, then waits. */
function idleSeconds({ heartbeatMs }: UpgradeContext): number {
  return heartbeatMs === Infinity ? 0 : 2 * Math.min(heartbeatMs, MAX_TIMER_MS) / 1000;
}

function denoGlobal(): DenoGlobal | undefined {
  return (globalThis as { Deno?: DenoGlobal }).Deno;
}
