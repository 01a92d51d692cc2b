/**
 * Events of a browser after which the network may have changed.
 *
 * @module
 */

interface Page {
  readonly document?: { readonly visibilityState: string };
  addEventListener?(type: string, listener: () => void, options: { signal: AbortSignal }): void;
}

/**
 * Listens for the browser going online, for the page becoming visible or hidden, and for its return from
 * the browser's cache. Does nothing elsewhere.
 *
 * @param online Called each time.
 * @returns Stops listening.
 */
export function onOnline(online: () => void): () => void {
  const page = globalThis as Page;
  const listening = new AbortController();
  for (const type of ["online", "pageshow", "visibilitychange"]) {
    page.addEventListener?.(type, online, listening);
  }
  return () => listening.abort();
}

/** Whether this is a page that is not visible. Browsers let the timers of such a page fire late. */
export function isHidden(): boolean {
  return (globalThis as Page).document?.visibilityState === "hidden";
}
