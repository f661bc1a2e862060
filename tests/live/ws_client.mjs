// ws, the WebSocket client of other people, against an echo server.
//
//   node ws_client.mjs URL deflate|plain SIZE…
//
// Sends a text and a binary message of each size in random fragments with pings between, and
// compares what comes back. Ends with one line of JSON.

import { createHash, randomBytes, randomInt } from "node:crypto";
import { createRequire } from "node:module";

const require = createRequire(new URL("../js/package.json", import.meta.url));
const WebSocket = require("ws");

const [url, mode, ...sizes] = process.argv.slice(2);

const socket = new WebSocket(url, {
  rejectUnauthorized: false,
  perMessageDeflate: mode === "deflate" ? { threshold: 0 } : false,
  maxPayload: 64 * 1024 * 1024,
});

const hash = (data) => createHash("sha256").update(data).digest("hex");
const waiting = [];
let echoes = 0;
let pongs = 0;

function text(size) {
  // Characters of one, two, three and four bytes, as many as fit.
  const characters = "Grüße, 世界 🌍\n".repeat(Math.ceil(size / 10));
  let data = Buffer.from(characters).subarray(0, size);
  while (data.length && !Buffer.from(data.toString()).equals(data)) data = data.subarray(0, -1);
  return Buffer.concat([data, Buffer.alloc(size - data.length, "x")]);
}

function send(data, binary) {
  waiting.push([hash(data), binary]);
  const cuts = Array.from({ length: randomInt(4) }, () => randomInt(data.length + 1));
  const bounds = [0, ...cuts.sort((a, b) => a - b), data.length];
  for (let number = 1; number < bounds.length; number += 1) {
    const fin = number === bounds.length - 1;
    socket.send(data.subarray(bounds[number - 1], bounds[number]), { binary, fin });
    socket.ping(`${number}`);
  }
}

function fail(why) {
  process.stdout.write(`${JSON.stringify({ why })}\n`);
  process.exit(1);
}

socket.on("open", () => {
  for (const size of sizes.map(Number)) {
    send(text(size), false);
    // Half of it can be compressed, half cannot.
    const half = Math.floor(size / 2);
    send(Buffer.concat([randomBytes(half), Buffer.alloc(size - half)]), true);
  }
});
socket.on("message", (data, isBinary) => {
  const [expected, wasBinary] = waiting.shift();
  if (hash(data) !== expected || isBinary !== wasBinary) fail(`echo ${echoes} differs`);
  echoes += 1;
  if (!waiting.length) socket.close(4001, "done");
});
socket.on("pong", () => { pongs += 1; });
socket.on("error", (error) => fail(String(error)));
socket.on("close", (code, reason) => {
  const { extensions } = socket;
  process.stdout.write(
    `${JSON.stringify({ code, reason: String(reason), echoes, pongs, extensions })}\n`,
  );
});
