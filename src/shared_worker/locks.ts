/**
 * Web Locks as a sign of life: the browser releases the locks of a tab or worker that has ended, however it ended.
 *
 * @see {@link https://w3c.github.io/web-locks/ | Web Locks API}
 *
 * @module
 */

/** What is used of `navigator.locks`. */
export interface Locks {
  /** Holds the lock of a name until what the callback returns has settled. */
  request(
    name: string,
    options: { readonly signal?: AbortSignal },
    callback: () => unknown,
  ): Promise<unknown>;
}

/** A lock that is held, or waited for. */
export interface HeldLock {
  /** The lock's name. */
  readonly name: string;
  /** Lets go of the lock. */
  release(): void;
}

/** The locks of this tab or worker; `undefined` if the browser has none, as on pages without TLS. */
export function ownLocks(): Locks | undefined {
  return (globalThis as { navigator?: { readonly locks?: Locks } }).navigator?.locks;
}

/**
 * Holds a lock that nothing else has.
 *
 * @param locks The locks of this tab or worker.
 * @returns The lock, once it is held; `undefined` if the browser refuses it.
 */
export async function holdLock(locks: Locks | undefined): Promise<HeldLock | undefined> {
  if (locks === undefined) return undefined;
  const name = `@x/jsonrpc ${Date.now()} ${Math.random()}`;
  const { promise, resolve } = Promise.withResolvers<void>();
  const held = Promise.withResolvers<HeldLock | undefined>();
  locks.request(name, {}, () => {
    held.resolve({ name, release: resolve });
    return promise;
  }).catch(() => held.resolve(undefined));
  return await held.promise;
}

/**
 * Waits until the other side no longer has its lock.
 *
 * @param locks The locks of this tab or worker.
 * @param name The name of the other side's lock.
 * @param gone Called once it is free.
 * @returns Stops waiting.
 */
export function watchLock(locks: Locks, name: string, gone: () => void): () => void {
  const controller = new AbortController();
  locks.request(name, { signal: controller.signal }, () => {
    if (!controller.signal.aborted) gone();
  }).catch(() => {});
  return () => controller.abort();
}
