// The real system, with ports and data of its own.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";

const PORTS = 7;

/** Whether nobody listens there. */
function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

/** Ports in a row, below those that the system gives to outgoing connections. */
async function freePorts() {
  for (;;) {
    const base = 11000 + 10 * Math.floor(Math.random() * 2000);
    const free = await Promise.all([...Array(PORTS).keys()].map((n) => isFree(base + n)));
    if (free.every(Boolean)) return base;
  }
}

const program = process.env.WAYBILL;
assert.ok(program, "set WAYBILL to the waybill program, or run .ci/browser");
const data = await mkdtemp(path.join(tmpdir(), "waybill-browser-"));
const child = spawn(program, ["up", "--json", "--port-base", String(await freePorts()), "--data", data], {
  stdio: ["ignore", "pipe", "inherit"],
});
const ended = new Promise((resolve) => child.once("exit", resolve));
// However the test ends, it takes the system along.
process.once("exit", () => child.kill("SIGINT"));
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));

/** The story's line of this event. */
async function line(lines, event) {
  for (;;) {
    const { value, done } = await lines.next();
    assert.ok(!done, `waybill up ended before it said ${event}`);
    const told = JSON.parse(value);
    if (told.event === event) return told;
  }
}

const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
const ready = await line(lines, "ready");
const accepted = await line(lines, "accepted");
await line(lines, "complete");

/** The link that is printed first, which carries the token. */
export const link = ready.dashboard;
export const dashboard = ready.urls.dashboard;
export const mailbox = ready.mailbox;
/** The order service. */
export const orders = ready.urls.order;
/** The order that the system itself placed, to tell what becomes of it. */
export const story = accepted.order_id;

export async function stop() {
  child.kill("SIGINT");
  assert.equal(await ended, 0, "waybill up ended badly");
  await rm(data, { recursive: true, force: true });
}
