/**
 * A real browser, for what a person would see.
 */
import { assertEquals } from "@std/assert";
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";
import type { Browser, Page } from "playwright-core";

const PROGRAM = "/usr/bin/chromium";
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
// For each step of a person; machines that run tests are busy.
const PATIENCE_MS = 50_000;

/** Opens a page, each in a window that shares nothing with others. */
export type Visit = (url: string) => Promise<Page>;

/**
 * Lends a browser, and ends it. Fails where a page had an error that it did not handle.
 *
 * @returns Without having called `use`, after a loud message, where there is no Chromium.
 */
export async function withChromium(use: (visit: Visit) => Promise<void>): Promise<void> {
  if (!existsSync(PROGRAM)) {
    console.error(`SKIPPED: no ${PROGRAM} (apt-get install chromium)`);
    return;
  }
  const browser = await chromium.launch({ executablePath: PROGRAM, args: FLAGS });
  const errors: string[] = [];
  try {
    await use((url) => visit(browser, url, errors));
  } finally {
    await browser.close();
  }
  assertEquals(errors, []);
}

async function visit(browser: Browser, url: string, errors: string[]): Promise<Page> {
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  page.on("pageerror", (error) => errors.push(String(error)));
  await page.goto(url);
  return page;
}
