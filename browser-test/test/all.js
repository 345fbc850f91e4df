// One system and one browser for all of it, in this order.
import { after } from "node:test";

import * as browser from "./browser.js";
import * as system from "./system.js";

// The browser first: an open page holds the dashboard's stop until it hears of it.
after(async () => {
  await browser.close();
  await system.stop();
});

await import("./story.js");
await import("./records.js");
await import("./breaking.js");
await import("./reading.js");
await import("./pages.js");
