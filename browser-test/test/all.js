// One system and one browser for all of it, in this order. Imported and not awaited: what tests
// there are has to be known before the first has ended.
import { after } from "node:test";

import "./story.js";
import "./records.js";
import "./breaking.js";
import "./reading.js";
import "./pages.js";
import "./screenshots.js";
import * as browser from "./browser.js";
import * as system from "./system.js";

after(async () => {
  await browser.close();
  await system.stop();
});
