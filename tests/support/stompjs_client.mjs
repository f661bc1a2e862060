// @stomp/stompjs, the JavaScript STOMP client of other people, driven by a Python test.
//
//   node stompjs_client.mjs URL DESTINATION MODE HEADERS CONNECT_HEADERS REQUEST_HEADERS
//
// Orders come as JSON lines on stdin: {"body": "…"} or {"base64": "…"} sends a message, {"token": "…"} a new token,
// {"stop": true} disconnects. News go out as JSON lines on stdout: {"event": "ready"}, {"event": "message", …}, …
// The mode "binary" makes stompjs pack every frame into a binary WebSocket message. The rest is JSON: more headers of
// the SUBSCRIBE, of the CONNECT, and of the request that opens the WebSocket.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(new URL("../js/package.json", import.meta.url));
const { Client } = require("@stomp/stompjs");
const WebSocket = require("ws");

const [url, destination, mode, ...more] = process.argv.slice(2);
const [headers, connectHeaders, requestHeaders] = more.map((text) => JSON.parse(text));
const PROTOCOLS = ["v12.stomp", "v11.stomp", "v10.stomp"];

function tell(event, more = {}) {
  process.stdout.write(`${JSON.stringify({ event, ...more })}\n`);
}

const client = new Client({
  webSocketFactory: () => new WebSocket(url, PROTOCOLS, { headers: requestHeaders }),
  connectHeaders,
  forceBinaryWSFrames: mode === "binary",
  reconnectDelay: 0,
  onConnect: (frame) => {
    client.watchForReceipt("subscribed", () => tell("ready", { version: frame.headers.version }));
    client.subscribe(destination, (message) => {
      const base64 = Buffer.from(message.binaryBody).toString("base64");
      tell("message", { base64, headers: message.headers });
    }, { receipt: "subscribed", ...headers });
  },
  onStompError: (frame) => tell("error", { headers: frame.headers, body: frame.body }),
  onWebSocketClose: (event) => tell("closed", { code: event.code }),
});

createInterface({ input: process.stdin }).on("line", (line) => {
  const order = JSON.parse(line);
  if (order.stop) {
    client.deactivate();
  } else if (order.token !== undefined) {
    client.watchForReceipt("renewed", () => tell("renewed"));
    client.publish({ destination: "/session/token", body: order.token, headers: { receipt: "renewed" } });
  } else if (order.base64 === undefined) {
    client.publish({ destination, body: order.body, headers: { "content-type": "application/json" } });
  } else {
    const binaryBody = new Uint8Array(Buffer.from(order.base64, "base64"));
    client.publish({ destination, binaryBody, headers: { "content-type": "application/octet-stream" } });
  }
});

client.activate();
