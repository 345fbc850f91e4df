// Every page there is, as its reader comes to it: by links.
import { dashboard } from "./system.js";

/** Name and address of each; an order, a record and a dead letter stand for their kind. */
export async function everyPage(page) {
  const first = async (from, selector) => {
    await page.goto(`${dashboard}${from}`);
    return page.locator(selector).first().getAttribute("href");
  };
  const order = await first("/", "#home-orders a");
  return [
    "/",
    order,
    "/topics",
    "/topics/order",
    "/topics/order/records?partition=0&from=0",
    "/groups",
    "/groups/delivery",
    "/dead-letters",
    "/dead-letters/order/invoice",
    "/analytics",
    "/logs",
    "/logs?level=WARN",
    "/break",
    "/nothing",
  ].map((path) => `${dashboard}${path}`);
}
