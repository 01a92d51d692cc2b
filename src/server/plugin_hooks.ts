/**
 * Calls the hooks of plugins.
 *
 * @module
 */

import { aroundCalls } from "../core/outgoing.ts";
import type { OutgoingCall, RunOutgoing } from "../core/outgoing.ts";
import type { Connection } from "../core/connection.ts";
import type { Plugin } from "../core/plugin.ts";
import { describeError, quoted } from "../protocol/errors.ts";
import type { Logger } from "../util/logger.ts";
import { runSafely } from "../util/maybe_promise.ts";

/** The members of a plugin that are only called, and whose result nobody uses. */
type HookName =
  | "onOpen"
  | "onClose"
  | "onUserChange"
  | "onSubscribe"
  | "onUnsubscribe"
  | "onDrop";

/** The hooks of one server's plugins. If one throws, the others are called all the same. */
export class PluginHooks {
  readonly #plugins: Plugin[] = [];
  readonly #logger: Logger;
  // Made once for all calls to clients, until the plugins change.
  #outgoing: { readonly run: RunOutgoing<OutgoingCall> | undefined } | undefined;

  /** @param logger Where a hook that fails is written. */
  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** The plugins that are mounted, in their order. */
  get plugins(): readonly Plugin[] {
    return this.#plugins;
  }

  /** Mounts a plugin. */
  add(plugin: Plugin): void {
    this.#plugins.push(plugin);
    this.#outgoing = undefined;
  }

  /** Takes back what was mounted last of a plugin that may be mounted twice. */
  remove(plugin: Plugin): void {
    this.#plugins.splice(this.#plugins.lastIndexOf(plugin), 1);
    this.#outgoing = undefined;
  }

  /**
   * Calls one hook of every plugin. Does not throw.
   *
   * @param name The hook.
   * @param args What the hook is given.
   * @returns Whether no hook threw. A hook that rejects later is only logged.
   */
  call<Name extends HookName>(
    name: Name,
    ...args: Parameters<NonNullable<Plugin[Name]>>
  ): boolean {
    let succeeded = true;
    // A copy: a plugin that a hook mounts is called from the next time on.
    for (const plugin of [...this.#plugins]) {
      // A hook has taken it back. It still has to learn that a connection has ended that it saw open.
      if (name !== "onClose" && !this.#plugins.includes(plugin)) continue;
      succeeded = this.#run(plugin, name, args) && succeeded;
    }
    return succeeded;
  }

  /**
   * Tells a plugin that is taken back that it sees the connections no more, as if they had ended.
   *
   * @param plugin The plugin, which is mounted no more.
   * @param connections Those that are open.
   */
  leave(plugin: Plugin, connections: Iterable<Connection>): void {
    for (const connection of connections) {
      for (const topic of [...connection.subscriptions]) {
        this.#run(plugin, "onUnsubscribe", [connection, topic, "close"]);
      }
      this.#run(plugin, "onClose", [connection]);
    }
  }

  /** Calls one hook; returns whether it did not throw. */
  #run(plugin: Plugin, name: HookName, args: readonly unknown[]): boolean {
    let succeeded = true;
    runSafely(
      () => (plugin[name] as ((...args: unknown[]) => void) | undefined)?.(...args),
      (error) => {
        succeeded = false;
        this.#logger.error(
          `${name} of plugin ${quoted(plugin.name)} failed: ${describeError(error)}`,
        );
      },
    );
    return succeeded;
  }

  /** What runs the middleware around calls to clients; `undefined` if there is none. */
  get outgoing(): RunOutgoing<OutgoingCall> | undefined {
    if (this.#outgoing === undefined) {
      const layers = this.#plugins.flatMap(({ outgoing }) => outgoing ?? []);
      this.#outgoing = { run: layers.length === 0 ? undefined : aroundCalls(layers) };
    }
    return this.#outgoing.run;
  }
}
