/**
 * Telling plugins what happens to connections.
 *
 * @module
 */

import { runSafely } from "../util/maybe_promise.ts";
import { describeError, quoted } from "../protocol/errors.ts";
import type { Logger } from "../util/logger.ts";
import type { Plugin } from "../core/plugin.ts";

/** Those functions of a plugin that are told something, and asked nothing. */
type HookName = "onOpen" | "onClose" | "onUserChange" | "onDrop";

/** The plugins of one server, as those who are told. One that throws keeps nothing from the others. */
export class PluginHooks {
  readonly #plugins: readonly Plugin[];
  readonly #logger: Logger;

  /**
   * @param plugins What is mounted, and what will be.
   * @param logger Where a hook that throws is written.
   */
  constructor(plugins: readonly Plugin[], logger: Logger) {
    this.#plugins = plugins;
    this.#logger = logger;
  }

  /** Tells all of them; answers whether none has thrown. Does not throw itself. */
  call<Name extends HookName>(
    name: Name,
    ...what: Parameters<NonNullable<Plugin[Name]>>
  ): boolean {
    let well = true;
    for (const plugin of this.#plugins) {
      // Nobody waits for one that is asynchronous: where that fails, it is only logged.
      runSafely(
        () => (plugin[name] as ((...what: unknown[]) => void) | undefined)?.(...what),
        (error) => {
          well = false;
          this.#logger.error(
            `${name} of plugin ${quoted(plugin.name)} failed: ${describeError(error)}`,
          );
        },
      );
    }
    return well;
  }
}
