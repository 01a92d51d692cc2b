/**
 * Composes middleware: layers of functions around a core function. Knows nothing about calls and
 * connections.
 *
 * @module
 */

import { isThenable } from "../util/maybe_promise.ts";
import { SKIPS } from "./internal.ts";

/** Runs the next layer inwards and returns its result: a value, or a promise of one. */
export type Next = () => unknown;

/**
 * One layer. Its return value is the result that the layer outside gets. A layer that returns nothing
 * passes on the result of its `next()`.
 *
 * Layers fail closed: it is an error if a layer neither returns a value nor calls `next`, or if it calls
 * `next` twice.
 *
 * @typeParam Context The value that all layers get.
 */
export type Middleware<Context> = (context: Context, next: Next) => unknown;

/** A layer that can tell before it runs whether it has nothing to do: it then costs one call of a function. */
export interface SkippedLayer<Context> {
  readonly [SKIPS]?: (context: Context) => boolean;
}

/** The function inside all layers. With layers around it, it is again a function of this type. */
export type Core<Context> = (context: Context) => unknown;

/**
 * Puts layers around a core. If all layers and the core are synchronous, so is the result.
 *
 * @param layers The layers; the first one is the outermost.
 * @param core The function inside all layers.
 * @returns One function that runs them all.
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
  return layers.reduceRight<Core<Context>>((inner, layer) => {
    const run = wrap(layer, inner);
    const skips = (layer as SkippedLayer<Context>)[SKIPS];
    return skips === undefined ? run : (context) => (skips(context) ? inner : run)(context);
  }, core);
}

/** How far one run of a layer has come. */
interface LayerRun {
  called: boolean;
  failed: boolean;
  /** What the inner layer has returned or thrown. */
  passed: unknown;
}

function wrap<Context>(
  layer: Middleware<Context>,
  inner: Core<Context>,
): Core<Context> {
  // One object and one closure for each run, since this is on the path of every call.
  return function run(context) {
    const state: LayerRun = { called: false, failed: false, passed: undefined };
    const result = layer(context, () => {
      if (state.called) throw new Error(`Cannot call next() twice: ${nameOf(layer)} already did`);
      state.called = true;
      try {
        state.passed = inner(context);
      } catch (error) {
        state.failed = true;
        state.passed = error;
        throw error;
      }
      if (!hasThen(state.passed)) return state.passed;
      // Call `then` once: a thenable such as a query builder may do its work on each call of it.
      const promise = Promise.resolve(state.passed);
      // A layer may ignore this promise; its rejection must not end the process.
      promise.catch(() => {});
      return state.passed = promise;
    });
    if (result === undefined) return settle(layer, state);
    return hasThen(result)
      ? result.then((value) => value === undefined ? settle(layer, state) : value)
      : result;
  };
}

/** Whether a value is a promise. Numbers and the like are not asked: in Bun that takes as long as all else here. */
function hasThen(value: unknown): value is PromiseLike<unknown> {
  const type = typeof value;
  return (type === "object" || type === "function") && isThenable(value);
}

/** Gives the result of a layer that has returned nothing. */
function settle(layer: { readonly name: string }, { called, failed, passed }: LayerRun): unknown {
  if (failed) throw passed; // the layer caught the error and returned nothing in its place
  if (called) return passed;
  throw new Error(`Cannot answer: ${nameOf(layer)} neither returned nor called next()`);
}

function nameOf(layer: { readonly name: string }): string {
  return layer.name === "" ? "a middleware" : `middleware ${layer.name}`;
}
