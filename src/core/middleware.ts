/**
 * The onion: functions around functions. Knows nothing of calls or connections.
 *
 * @module
 */

import { isThenable } from "../util/maybe_promise.ts";

/** Goes one layer further in and gives what comes back: a value, or a promise of one. */
export type Next = () => unknown;

/**
 * One layer. What it returns is the result for the layer outside; a layer that returns nothing
 * passes on what its `next()` gave.
 *
 * It fails closed: a layer that neither returns something nor calls `next` is an error, and so is
 * calling `next` twice.
 *
 * @typeParam Context What travels inwards through all layers.
 */
export type Middleware<Context> = (context: Context, next: Next) => unknown;

/** What the layers are around; with layers around it, again one. */
export type Core<Context> = (context: Context) => unknown;

/**
 * Folds layers around a core, once; the first layer is the outermost. Where all of them are
 * synchronous, so is the whole.
 *
 * @example
 * ```ts
 * import { compose } from "./middleware.ts";
 *
 * const shout = compose<string>([(_word, next) => `${next()}!`], (word) => word.toUpperCase());
 * console.assert(shout("hello") === "HELLO!");
 * ```
 */
export function compose<Context>(
  layers: readonly Middleware<Context>[],
  core: Core<Context>,
): Core<Context> {
  return layers.reduceRight<Core<Context>>((inner, layer) => wrap(layer, inner), core);
}

function wrap<Context>(
  layer: Middleware<Context>,
  inner: Core<Context>,
): Core<Context> {
  return function run(context) {
    let called = false;
    let failed = false;
    let passed: unknown;
    function next(): unknown {
      if (called) throw new Error(`Cannot call next() twice: ${nameOf(layer)} already did`);
      called = true;
      try {
        passed = inner(context);
      } catch (error) {
        failed = true;
        passed = error;
        throw error;
      }
      if (!isThenable(passed)) return passed;
      // Asked once: what is no promise may do its work, such as a query, each time it is.
      const promise = Promise.resolve(passed);
      // A layer may leave it alone: that must not end the process.
      promise.catch(() => {});
      return passed = promise;
    }
    function settle(result: unknown): unknown {
      if (result !== undefined) return result;
      if (failed) throw passed; // swallowed, and nothing given in its place
      if (called) return passed;
      throw new Error(`Cannot answer: ${nameOf(layer)} neither returned nor called next()`);
    }
    const result = layer(context, next);
    return isThenable(result) ? result.then(settle) : settle(result);
  };
}

function nameOf(layer: { readonly name: string }): string {
  return layer.name === "" ? "a middleware" : `middleware ${layer.name}`;
}
