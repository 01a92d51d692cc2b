/**
 * Signs that a browser gives of a network that may be there again.
 *
 * @module
 */

/** What is used of a page, where there is one. */
interface Page {
  readonly document?: EventTarget & { readonly visibilityState: string };
  addEventListener?(type: string, listener: () => void): void;
  removeEventListener?(type: string, listener: () => void): void;
}

/**
 * Calls `wake` when the browser goes online or the page becomes visible. Elsewhere it never does.
 *
 * @returns Stops listening.
 */
export function onWake(wake: () => void): () => void {
  const page = globalThis as Page;
  const { document } = page;
  function shown(): void {
    if (document?.visibilityState === "visible") wake();
  }
  page.addEventListener?.("online", wake);
  document?.addEventListener("visibilitychange", shown);
  return () => {
    page.removeEventListener?.("online", wake);
    document?.removeEventListener("visibilitychange", shown);
  };
}
