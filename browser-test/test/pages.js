// Every page: no violation that axe finds, light and dark, wide and narrow; all of it reachable
// by keyboard.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";

import { DESKTOP, PHONE, onPage } from "./browser.js";
import { everyPage } from "./every_page.js";
import { dashboard, mailbox } from "./system.js";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Fails with what axe finds, and where the page is wider than its window. */
async function look(page) {
  await page.locator("details").evaluateAll((all) => all.forEach((details) => (details.open = true)));
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  const told = ({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.html).join(" ")}`;
  assert.deepEqual(violations.map(told), [], page.url());
  const wide = await page.evaluate(() => document.scrollingElement.scrollWidth - innerWidth);
  assert.ok(wide <= 0, `${page.url()} is ${wide} pixels wider than the window`);
}

for (const colorScheme of ["light", "dark"])
  for (const [name, viewport] of [["desktop", DESKTOP], ["phone", PHONE]])
    test(`axe finds nothing, ${colorScheme}, ${name}`, () =>
      onPage({ colorScheme, viewport, expect: [404] }, async (page) => {
        for (const address of [...(await everyPage(page)), mailbox]) {
          await page.goto(address);
          await look(page);
        }
        await page.getByRole("link", { name: /^Invoice INV-/ }).first().click();
        await look(page);
        // What forms lead to.
        await page.goto(`${dashboard}/groups/delivery`);
        await page.getByLabel("To", { exact: true }).fill("earliest");
        await page.getByRole("button", { name: "Show what this would do" }).click();
        await page.getByRole("heading", { name: /dry run/ }).waitFor();
        await look(page);
        await page.goto(`${dashboard}/dead-letters/order/invoice`);
        await page.getByRole("button", { name: /^Redrive @ 0/ }).click();
        await page.getByRole("heading", { name: /dry run/ }).waitFor();
        await look(page);
      }));

/** What the keyboard has in hand: whether it is seen, and where on the page it is. */
function inHand() {
  const one = document.activeElement;
  if (!one || one === document.body) return null;
  const { outlineStyle, outlineWidth } = getComputedStyle(one);
  const box = one.getBoundingClientRect();
  return {
    html: one.outerHTML.slice(0, 200),
    at: [...document.querySelectorAll("*")].indexOf(one),
    isMarked: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2,
    isSeen: box.width > 0 && box.right > 0 && box.bottom > 0 && box.top < innerHeight && box.left < innerWidth,
  };
}

test("every page is used by keyboard alone", () =>
  onPage({ expect: [404] }, async (page) => {
    for (const address of await everyPage(page)) {
      await page.goto(address);
      // Nothing is drawn anew under the reader's hands.
      await page.evaluate(() => document.querySelectorAll("[data-live]").forEach((one) => delete one.dataset.live));
      const stops = await page.locator("a[href], button, input:not([type=hidden]), select, summary").filter({ visible: true }).count();
      const reached = new Set();
      for (;;) {
        await page.keyboard.press("Tab");
        const now = await page.evaluate(inHand);
        if (!now || reached.has(now.at)) break;
        reached.add(now.at);
        assert.ok(now.isMarked && now.isSeen, `${address}: focus does not show on ${now.html}`);
      }
      assert.ok(reached.size >= stops, `${address}: ${reached.size} of ${stops} are reached`);
    }
  }));

test("the first key skips to the content", () =>
  onPage({}, async (page) => {
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the content");
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement.id), "main");
    await page.keyboard.press("Tab");
    assert.ok(await page.evaluate(() => document.getElementById("main").contains(document.activeElement)));
  }));
