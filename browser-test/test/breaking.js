// The page "Break it": every control has its effect on that page, live, and nothing is lost.
import assert from "node:assert/strict";
import { test } from "node:test";

import { onPage, until } from "./browser.js";
import { dashboard } from "./system.js";

const service = (page, name) => page.getByRole("article", { name, exact: true });
const press = (part, name) => part.getByRole("button", { name, exact: true }).click();
const lag = (text) => Number(/Lag (\d+) records/.exec(text)?.[1]);
const members = (text) => Number(/Members (\d+)/.exec(text)?.[1]);

async function breakIt(page) {
  await page.getByRole("link", { name: "Break it" }).click();
  await page.getByText("Live.").waitFor();
}

test("a killed service starts again", () =>
  onPage({}, async (page) => {
    await breakIt(page);
    const invoice = service(page, "invoice");
    await press(invoice, "Kill -9");
    assert.ok(page.url().endsWith("/break#service-invoice"), page.url());
    await until("its next life", invoice, (text) => /invoice running \d+ 1 was killed/.test(text));
    await until("its member", invoice, (text) => members(text) === 1);
  }));

test("lag grows while a service is stopped, and drains after its start", () =>
  onPage({}, async (page, context) => {
    await breakIt(page);
    const listening = await context.newPage();
    await listening.goto(page.url());
    await listening.getByText("Live.").waitFor();
    const delivery = service(page, "delivery");
    await press(delivery, "Stop delivery");
    await until("its stop", delivery, (text) => /delivery stopped/.test(text) && members(text) === 0);
    // As a screen reader says it.
    await until("the news", listening.getByRole("status").last(), (text) => /delivery: stopped/.test(text));
    await page.getByLabel("Orders of the burst").fill("100");
    await page.getByRole("button", { name: "Place them all at once" }).click();
    await until("its lag", delivery, (text) => lag(text) >= 100);
    await until("the burst's end", page.locator("#burst"), (text) => /^100 of 100 .* in /.test(text));
    await press(delivery, "Start delivery");
    await until("no lag", delivery, (text) => /delivery running/.test(text) && lag(text) === 0);
  }));

test("members share partitions, and a process that hangs is fenced", () =>
  onPage({}, async (page) => {
    await breakIt(page);
    const delivery = service(page, "delivery");
    const generation = (text) => Number(/Generation (\d+)/.exec(text)?.[1]);
    const before = generation(await until("its member", delivery, (text) => members(text) === 1));
    await delivery.getByLabel("Instances of delivery").fill("2");
    await press(delivery, "Scale");
    const shared = await until("two members", delivery, (text) => members(text) === 2);
    assert.ok(generation(shared) > before, shared);
    await delivery.getByLabel("Process of delivery").selectOption("delivery-2");
    await press(delivery, "Pause");
    await until("its pause", delivery, (text) => /delivery-2 paused/.test(text));
    await until("the other to take over", delivery, (text) => members(text) === 1);
    await delivery.getByLabel("Process of delivery").selectOption("delivery-2");
    await press(delivery, "Go on");
    await until("its return", delivery, (text) => /delivery-2 running/.test(text) && members(text) === 2);
    await delivery.getByLabel("Instances of delivery").fill("1");
    await press(delivery, "Scale");
    await until("one member", delivery, (text) => members(text) === 1 && !/delivery-2/.test(text));
  }));

test("mail waits while SMTP is off, and arrives after", () =>
  onPage({}, async (page) => {
    await breakIt(page);
    const mail = page.locator("#mail-now");
    const waiting = (text) => Number(/Mails waiting (\d+)/.exec(text)?.[1]);
    await until("the mails of the burst", mail, (text) => waiting(text) === 0);
    await press(page, "Turn SMTP off");
    await press(page, "Place one order");
    await page.getByText("201 Created").waitFor();
    await breakIt(page);
    await until("mails to wait", mail, (text) => /refuses mail/.test(text) && waiting(text) > 0);
    await press(page, "Turn SMTP on");
    await until("them to arrive", mail, (text) => /takes mail/.test(text) && waiting(text) === 0);
  }));

test("while order is stopped customers get a 503", () =>
  onPage({ expect: [503] }, async (page) => {
    await breakIt(page);
    await press(page, "Stop order");
    await until("its stop", service(page, "order"), (text) => /order stopped/.test(text));
    await press(page, "Place one order");
    await page.getByRole("heading", { name: "503 Service Unavailable" }).waitFor();
    await page.goto(`${dashboard}/break`);
    await press(page, "Start order");
    await until("its start", service(page, "order"), (text) => /order running/.test(text) && members(text) === 1);
  }));

test("a poisoned record becomes dead letters, which are redriven after a dry run", () =>
  onPage({}, async (page) => {
    await breakIt(page);
    await press(page, "Publish a poisoned record");
    await page.locator("#letters").getByRole("link", { name: "invoice on order" }).click();
    const letters = page.locator("#letters");
    await letters.getByText("1 dead letters").waitFor();
    await letters.getByText(/value is no waybill.OrderPlaced.v1/).waitFor();
    await press(page, "Redrive @ 0: dry run");
    await page.getByText("Nothing was sent. 1 records of topic order").waitFor();
    await press(page, "Redrive now");
    // Nobody can read it, so it comes back.
    await page.getByText("Redriven").waitFor();
    const deadline = Date.now() + 60_000;
    while (!(await page.locator("#found").innerText()).startsWith("2 dead letters")) {
      assert.ok(Date.now() < deadline, "the redriven record did not come back");
      await page.reload();
    }
  }));

test("and nothing was lost", () =>
  onPage({}, async (page) => {
    await breakIt(page);
    await until("the mails", page.locator("#mail-now"), (text) => /Mails waiting 0/.test(text));
    await press(page, "Count everything");
    const counted = await until("the count", page.locator("#counted"), (text) => !/Counting/.test(text) && text !== "");
    assert.match(counted, /Nothing is missing, nothing is double, nothing is left over\./);
    assert.doesNotMatch(counted, /Not true/);
    assert.match(counted, /6 dead letters, which is no loss/);
  }));

test("it works without script", () =>
  onPage({ javaScriptEnabled: false }, async (page) => {
    await page.getByRole("link", { name: "Break it" }).click();
    const email = () => service(page, "email").innerText();
    await press(service(page, "email"), "Pause");
    assert.ok(page.url().endsWith("/break#service-email"), page.url());
    assert.match(await email(), /email\s+paused/);
    await press(service(page, "email"), "Go on");
    assert.match(await email(), /email\s+running/);
  }));
