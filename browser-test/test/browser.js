// A real Chromium whose pages are watched: an error in the console, a failed request or an
// answer that nobody expected fails the test.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { chromium } from "playwright-core";

import { link } from "./system.js";

/** Only a test that fails waits so long. */
export const PATIENCE = 60_000;

export const DESKTOP = { width: 1200, height: 800 };
/** The narrowest that WCAG asks for. */
export const PHONE = { width: 320, height: 640 };

const home = await mkdtemp(path.join(tmpdir(), "waybill-chromium-"));
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  env: { ...process.env, HOME: home, XDG_CONFIG_HOME: home, XDG_CACHE_HOME: home },
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});

export async function close() {
  await browser.close();
  await rm(home, { recursive: true, force: true });
}

/** Runs `play` on a page of its own, logged in unless said, and then asks what went wrong there. */
export async function onPage(options, play) {
  const { loggedIn = true, expect = [], ...settings } = options;
  const context = await browser.newContext({ viewport: DESKTOP, reducedMotion: "reduce", ...settings });
  context.setDefaultTimeout(PATIENCE);
  const wrong = [];
  const isExpected = (status) => expect.includes(status);
  context.on("console", (message) => {
    const { url } = message.location();
    const status = Number(/status of (\d+)/.exec(message.text())?.[1]);
    if (message.type() === "error" && !isExpected(status)) wrong.push(`console: ${message.text()} (${url})`);
  });
  context.on("weberror", (error) => wrong.push(`script: ${error.error()}`));
  context.on("requestfailed", (request) => {
    // What is under way when its reader goes to another page is no failure.
    const why = request.failure()?.errorText;
    if (why !== "net::ERR_ABORTED") wrong.push(`request: ${request.url()} ${why}`);
  });
  context.on("response", (response) => {
    if (response.status() >= 400 && !isExpected(response.status()))
      wrong.push(`answer: ${response.status()} ${response.url()}`);
  });
  try {
    const page = await context.newPage();
    if (loggedIn) await page.goto(link);
    await play(page, context);
    assert.deepEqual(wrong, []);
  } finally {
    await context.close();
  }
}

/** Waits until the text of this part holds for `holds`, without a reload. */
export async function until(what, locator, holds) {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const text = (await locator.innerText()).replace(/\s+/g, " ");
    if (holds(text)) return text;
    assert.ok(Date.now() < deadline, `waited in vain for ${what}: ${text}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
