// What the drivers for Node.js share: orders from stdin, news to stdout (../scripted.py).

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

/** Load a package of tests/js. */
export const require = createRequire(new URL("../../../js/package.json", import.meta.url));

/** Write one line of news. */
export function tell(event, more = {}) {
  process.stdout.write(`${JSON.stringify({ event, ...more })}\n`);
}

/** Call orders[op](order) for each line of stdin. */
export function obey(orders) {
  createInterface({ input: process.stdin }).on("line", (line) => {
    const order = JSON.parse(line);
    orders[order.op](order);
  });
}
