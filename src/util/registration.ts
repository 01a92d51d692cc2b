/**
 * Ways to take back what was registered.
 *
 * @module
 */

/** Takes back what was registered: call it, or let `using` do so. Later calls do nothing. */
export interface Registration extends Disposable {
  (): void;
}

/**
 * Makes a function disposable.
 *
 * @param remove Takes the registration back. It may be called more than once.
 * @returns The same function.
 */
export function toRegistration(remove: () => void): Registration {
  return Object.assign(remove, { [Symbol.dispose]: remove });
}
