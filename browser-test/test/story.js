// The first paragraph, click by click.
import assert from "node:assert/strict";
import { test } from "node:test";

import { onPage, until } from "./browser.js";
import { dashboard, mailbox, orders, story } from "./system.js";

const GROUPS = ["analytics", "delivery", "email", "invoice", "order"];
const MAILS = ["confirmation", "invoice", "dispatched", "delivered"];

test("an order is placed, and its reader sees who reacts", () =>
  onPage({}, async (page, context) => {
    assert.equal(page.url(), `${dashboard}/`, "the token does not stay in the address");
    const watching = await context.newPage();
    await watching.goto(dashboard);
    await watching.getByText("Live.").waitFor();

    await page.getByRole("button", { name: "Place an order" }).click();
    await page.getByRole("heading", { name: /^Order / }).waitFor();
    const id = page.url().split("/").at(-1);
    const timeline = page.locator("#timeline");
    await timeline.getByText("201 Created").waitFor();

    // The other page, which nobody touched: the record as a dot, and the order among the newest.
    const [place, partition, offset] = /order\/(\d+) @ (\d+)/.exec(
      await until("the record's place", timeline, (text) => /order\/\d+ @ \d+/.test(text)),
    );
    const dot = watching.locator(`[data-lane="order/${partition}"] .dot`).first();
    await dot.waitFor({ state: "attached" });
    assert.equal(await dot.getAttribute("title"), `OrderPlaced @ ${offset}`);
    await watching.locator("#home-orders").getByRole("link", { name: id }).waitFor();

    // It goes on without a reload.
    const steps = page.getByRole("heading", { level: 3 });
    for (const step of ["OrderPlaced", "ShipmentScheduled", "ShipmentDispatched", "ShipmentDelivered", "InvoiceIssued"])
      await steps.filter({ hasText: step }).waitFor();
    const placed = timeline.getByRole("listitem").filter({ has: page.getByRole("heading", { name: "OrderPlaced" }) });
    for (const group of GROUPS) await placed.first().getByText(`${group}: past it`).waitFor();
    for (const mail of MAILS) await timeline.getByText(`${mail}, Message-ID`).waitFor();

    const pdf = await context.request.get(await page.getByRole("link", { name: "Open the PDF" }).getAttribute("href"));
    assert.equal(pdf.status(), 200);
    assert.equal((await pdf.body()).subarray(0, 4).toString(), "%PDF");

    const invoice = timeline.getByRole("listitem").filter({ hasText: "invoice, Message-ID" });
    await invoice.getByRole("link", { name: "Open in the mailbox" }).click();
    assert.ok(page.url().startsWith(mailbox));
    await page.getByText(/Invoice INV-/).first().waitFor();

    await watching.getByRole("link", { name: id }).click();
    await watching.getByRole("link", { name: `order/${partition} @ ${offset}` }).click();
    await watching.getByText("Headers and value").first().click();
    const record = watching.getByRole("article").first();
    for (const told of ["ce_type", "waybill.OrderPlaced.v1", "traceparent", id]) await record.getByText(told).first().waitFor();
    assert.equal(place, `order/${partition} @ ${offset}`);
  }));

test("an order that was placed elsewhere has its answer, and each that was given again", () =>
  onPage({}, async (page, context) => {
    const timeline = page.locator("#timeline");
    const entry = (kind) =>
      timeline.getByRole("listitem").filter({ has: page.getByRole("heading", { name: kind, exact: true }) });
    await page.goto(`${dashboard}/orders/${story}`);
    const own = await entry("201 Created").innerText();
    assert.match(own, /\+\d.* ms.*The order service answered after \d.* ms/s);

    const customer = { name: "Ada", email: "ada@example.org" };
    const ship_to = { street: "1 High St", postal_code: "SW1Y", city: "London", country: "GB" };
    const place = async () => {
      const answer = await context.request.post(`${orders}/orders`, {
        data: { customer, ship_to, lines: [{ sku: "TEA-SENCHA", quantity: 1 }] },
        headers: { "idempotency-key": "mine-1" },
      });
      assert.equal(answer.status(), 201);
      return (await answer.json()).order_id;
    };
    const id = await place();
    assert.equal(await place(), id);
    await page.goto(`${dashboard}/logs?order=${id}`);
    await page.getByText("replayed=true").waitFor();
    await page.goto(`${dashboard}/orders/${id}`);
    assert.match(await entry("201 Created, replayed").innerText(), /nothing was done twice/);
    assert.match(await entry("201 Created").innerText(), /The order service answered after /);
    const inOrder = await timeline.getByRole("heading", { level: 3 }).allInnerTexts();
    assert.deepEqual(inOrder.slice(0, 2), ["201 Created", "OrderPlaced"]);
  }));

test("what happens before a page is live is shown, too", () =>
  onPage({}, async (page, context) => {
    const late = await context.newPage();
    let release;
    const placed = new Promise((resolve) => (release = resolve));
    await late.route("**/live", async (route) => {
      await placed;
      await route.continue();
    });
    await late.goto(dashboard);
    await page.getByRole("button", { name: "Place an order" }).click();
    await page.getByRole("heading", { name: "ShipmentDelivered" }).waitFor();
    const id = page.url().split("/").at(-1);
    assert.equal(await late.getByRole("link", { name: id }).count(), 0);
    release();
    await late.locator("#home-orders").getByRole("link", { name: id }).waitFor();
  }));
