// The README's pictures, taken when asked: UPDATE_SCREENSHOTS=1.
import { mkdir, writeFile } from "node:fs/promises";
import { test } from "node:test";

import { onPage, until } from "./browser.js";
import { dashboard } from "./system.js";

const folder = new URL("../../docs/screenshots/", import.meta.url);
const VIEWPORT = { width: 960, height: 640 };
const QUALITY = 80;

/** What the window shows, as WebP, which Playwright itself does not write. */
async function take(page, name) {
  const session = await page.context().newCDPSession(page);
  const { data } = await session.send("Page.captureScreenshot", { format: "webp", quality: QUALITY });
  await mkdir(folder, { recursive: true });
  await writeFile(new URL(`${name}.webp`, folder), Buffer.from(data, "base64"));
}

async function top(page, selector) {
  await page.locator(selector).evaluate((one) => one.scrollIntoView());
}

for (const colorScheme of ["light", "dark"])
  test(`pictures, ${colorScheme}`, { skip: !process.env.UPDATE_SCREENSHOTS && "UPDATE_SCREENSHOTS is not set" }, () =>
    onPage({ colorScheme, viewport: VIEWPORT }, async (page, context) => {
      const watching = await context.newPage();
      await watching.goto(dashboard);
      await watching.getByText("Live.").waitFor();
      for (let n = 0; n < 12; n += 1) {
        await page.goto(dashboard);
        await page.getByRole("button", { name: "Place an order" }).click();
        await page.getByText("201 Created").waitFor();
      }
      await watching.locator("[data-lane^='order/'] .dot").nth(6).waitFor({ state: "attached" });
      await top(watching, "#lanes");
      await take(watching, `home-${colorScheme}`);

      await page.getByText("delivered, Message-ID").waitFor();
      await page.locator("#timeline").getByText("email: past it").first().waitFor();
      await take(page, `passport-${colorScheme}`);

      await page.goto(`${dashboard}/break`);
      const delivery = page.getByRole("article", { name: "delivery", exact: true });
      await delivery.getByLabel("Instances of delivery").fill("3");
      await delivery.getByRole("button", { name: "Scale" }).click();
      await until("three members", delivery, (text) => /Members 3/.test(text));
      await delivery.getByRole("button", { name: "Kill -9" }).click();
      await until("its next life", delivery, (text) => /Members 3/.test(text) && /was killed/.test(text));
      await top(page, "article[aria-labelledby='service-delivery']");
      await take(page, `break-${colorScheme}`);
      await delivery.getByLabel("Instances of delivery").fill("1");
      await delivery.getByRole("button", { name: "Scale" }).click();
      await until("one member", delivery, (text) => /Members 1/.test(text));
    }));
