// @stomp/stompjs, the JavaScript STOMP client of other people, driven by a Python test.
//
//   node stompjs_client.mjs URL DESTINATION [binary [HEADERS]]
//
// Orders come as JSON lines on stdin: {"body": "…"} or {"base64": "…"} sends a message, {"stop": true}
// disconnects. News go out as JSON lines on stdout: {"event": "ready"}, {"event": "message", …}, …
// The third argument makes stompjs pack every frame into a binary WebSocket message; the fourth is JSON, the headers of
// the SUBSCRIBE.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(new URL("../js/package.json", import.meta.url));
const { Client } = require("@stomp/stompjs");
const WebSocket = require("ws");

const [url, destination, mode, headers] = process.argv.slice(2);

function tell(event, more = {}) {
  process.stdout.write(`${JSON.stringify({ event, ...more })}\n`);
}

const client = new Client({
  webSocketFactory: () => new WebSocket(url, ["v12.stomp", "v11.stomp", "v10.stomp"]),
  forceBinaryWSFrames: mode === "binary",
  reconnectDelay: 0,
  onConnect: (frame) => {
    client.subscribe(destination, (message) => {
      const base64 = Buffer.from(message.binaryBody).toString("base64");
      tell("message", { base64, headers: message.headers });
    }, JSON.parse(headers ?? "{}"));
    client.watchForReceipt("subscribed", () => tell("ready", { version: frame.headers.version }));
    client.publish({ destination: `${destination}.ready`, headers: { receipt: "subscribed" } });
  },
  onStompError: (frame) => tell("error", { headers: frame.headers, body: frame.body }),
  onWebSocketClose: (event) => tell("closed", { code: event.code }),
});

createInterface({ input: process.stdin }).on("line", (line) => {
  const order = JSON.parse(line);
  if (order.stop) {
    client.deactivate();
  } else if (order.base64 === undefined) {
    client.publish({ destination, body: order.body, headers: { "content-type": "application/json" } });
  } else {
    const binaryBody = new Uint8Array(Buffer.from(order.base64, "base64"));
    client.publish({ destination, binaryBody, headers: { "content-type": "application/octet-stream" } });
  }
});

client.activate();
