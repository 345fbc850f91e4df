// Whoever has no token reads everything and changes nothing.
import assert from "node:assert/strict";
import { test } from "node:test";

import { onPage } from "./browser.js";
import { everyPage } from "./every_page.js";
import { dashboard } from "./system.js";

test("without the token no page has a control, and no change is taken", () =>
  onPage({ loggedIn: false, expect: [404] }, async (page, context) => {
    for (const address of await everyPage(page)) {
      await page.goto(address);
      assert.equal(await page.locator("form[method=post]").count(), 0, address);
      for (const button of await page.getByRole("button").all())
        assert.match(await button.innerText(), /^(Show|Open)$/, address);
    }
    const form = { action: "stop", service: "delivery", topic: "order", form_token: "" };
    for (const path of ["/break", "/orders", "/groups/delivery/pause", "/groups/delivery/seek", "/dead-letters/order/invoice/redrive"]) {
      const key = "6f6f6f6f-0000-4000-8000-000000000001";
      const order = { key, name: "Ada", email: "ada@example.org", sku: "TEA-SENCHA", quantity: "1" };
      const answer = await context.request.post(`${dashboard}${path}`, {
        form: { ...form, ...order },
        headers: { origin: dashboard },
      });
      assert.equal(answer.status(), 403, path);
    }
  }));
