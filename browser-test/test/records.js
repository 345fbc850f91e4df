// The record browser: seeks by offset and time, filters by key and content, shows headers.
import assert from "node:assert/strict";
import { test } from "node:test";

import { onPage } from "./browser.js";
import { dashboard } from "./system.js";

test("records are found by offset, time, key and content", () =>
  onPage({ loggedIn: false, expect: [400] }, async (page) => {
    const show = async (fields) => {
      await page.goto(`${dashboard}/topics/order/records`);
      for (const [label, value] of Object.entries(fields)) {
        if (label === "Partition") await page.getByLabel(label).selectOption(value);
        else await page.getByLabel(label, { exact: true }).fill(value);
      }
      await page.getByRole("button", { name: "Show" }).click();
      return page.getByRole("article");
    };
    const all = await show({});
    const [, partition, offset] = /order\/(\d+) @ (\d+)/.exec(await all.first().innerText());
    const key = (await all.first().getByRole("link").nth(1).innerText()).trim();
    const heading = `order/${partition} @ ${offset}`;

    const byOffset = await show({ Partition: partition, From: offset });
    assert.ok((await byOffset.first().innerText()).startsWith(heading));
    await byOffset.first().getByText("Headers and value").click();
    await byOffset.first().getByText("ce_id").waitFor();

    const byKey = await show({ Key: key });
    assert.ok((await byKey.count()) > 0);
    for (const record of await byKey.all()) assert.match(await record.innerText(), new RegExp(`key ${key}`));

    const byContent = await show({ From: "earliest", Content: `/order_id=${key}` });
    assert.equal(await byContent.count(), 1);
    assert.ok((await byContent.innerText()).startsWith(heading));
    assert.equal(await (await show({ From: "earliest", Content: "said by nobody" })).count(), 0);

    assert.ok((await (await show({ From: "@2000-01-01T00:00:00Z" })).count()) > 0);
    assert.equal(await (await show({ From: "@2100-01-01T00:00:00Z" })).count(), 0);

    await show({ From: "soon" });
    await page.getByRole("heading", { name: "400 Bad Request" }).waitFor();
  }));
