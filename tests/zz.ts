import { chromium } from "playwright-core";
import { programPath } from "./helpers/programs.ts";
const browser = await chromium.launch({
  executablePath: programPath("chromium"),
  args: ["--no-sandbox", "--headless", "--disable-gpu"],
});
const page = await browser.newPage();
page.on("console", (m) => console.log("console", m.text()));
page.on("pageerror", (e) => console.log("error", String(e)));
await page.goto(process.argv[2] ?? "http://localhost:15173/");
await page.waitForFunction('document.title !== ""', undefined, { timeout: 30000 }).catch((e) =>
  console.log(String(e))
);
console.log(await page.title());
await browser.close();
