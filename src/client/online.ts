/**
 * Signs that a browser gives of a network that may be there again.
 *
 * @module
 */

/** What is used of a page, where there is one. */
interface Page {
  readonly document?: EventTarget & { readonly visibilityState: string };
  addEventListener?(type: string, listener: () => void, options: { signal: AbortSignal }): void;
}

/**
 * Calls `wake` when the browser goes online or the page becomes visible. Elsewhere it never does.
 *
 * @returns Stops listening.
 */
export function onOnline(wake: () => void): () => void {
  const page = globalThis as Page;
  const { document } = page;
  const listening = new AbortController();
  page.addEventListener?.("online", wake, listening);
  document?.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") wake();
  }, listening);
  return () => listening.abort();
}
