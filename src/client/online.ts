/**
 * Events of a browser that mean that the network may be back.
 *
 * @module
 */

interface Page {
  readonly document?: EventTarget & { readonly visibilityState: string };
  addEventListener?(type: string, listener: () => void, options: { signal: AbortSignal }): void;
}

/**
 * Listens for the browser going online and for the page becoming visible. Does nothing elsewhere.
 *
 * @param online Called each time.
 * @returns Stops listening.
 */
export function onOnline(online: () => void): () => void {
  const page = globalThis as Page;
  const { document } = page;
  const listening = new AbortController();
  page.addEventListener?.("online", online, listening);
  document?.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") online();
  }, listening);
  return () => listening.abort();
}
