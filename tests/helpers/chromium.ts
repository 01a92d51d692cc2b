/**
 * Chromium, for tests that look at a page as a person would.
 */
import { assertEquals } from "@std/assert";
import { chromium } from "playwright-core";
import type { Browser, Page } from "playwright-core";
import { programPath } from "./programs.ts";

const FLAGS = [
  "--no-sandbox",
  "--headless",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
// For each step on a page: machines that run tests are busy.
const PATIENCE_MS = 50_000;

/** Opens a page, each in a window that shares nothing with others. */
export type Visit = (url: string) => Promise<Page>;

/**
 * Lends a browser, and ends it; gives the result of `use`. Fails if a page had an error that it did not handle.
 *
 * @param use What to do with the browser.
 * @param flags Flags of Chromium beside the usual ones.
 */
export async function withChromium<T>(
  use: (visit: Visit) => Promise<T>,
  flags: readonly string[] = [],
): Promise<T> {
  const browser = await chromium.launch({
    executablePath: programPath("chromium"),
    args: [...FLAGS, ...flags],
    // As for a person, a page that is left is kept for the way back.
    ignoreDefaultArgs: ["--disable-back-forward-cache"],
  });
  const errors: string[] = [];
  try {
    const result = await use((url) => visit(browser, url, errors));
    assertEquals(errors, []);
    return result;
  } finally {
    await browser.close();
  }
}

async function visit(browser: Browser, url: string, errors: string[]): Promise<Page> {
  const context = await browser.newContext();
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  page.on("pageerror", (error) => errors.push(String(error)));
  await page.goto(url);
  return page;
}
