// @stomp/stompjs, the JavaScript STOMP client of other people, as a puppet of a Python test.
//
//   node client.mjs URL HEARTBEAT_MS RECONNECT_DELAY_MS
//
// Orders come as JSON lines on stdin, such as {"op": "subscribe", "destination": "…", "headers": {…}};
// news go out as JSON lines on stdout: connected, message, receipt, error, closed. What the library
// hands over for each message is kept, so that {"op": "ack", "message": 3} calls its own ack().
// With a delay other than 0 the client connects again by itself, and subscribes again, as its
// documentation shows.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(new URL("../../js/package.json", import.meta.url));
const { Client } = require("@stomp/stompjs");
const WebSocket = require("ws");

const [url, heartbeat, reconnectDelay] = process.argv.slice(2);
const messages = [];
const transactions = new Map();
const wanted = new Map(); // subscriptions by id, to ask for again
const open = new Map();
let receipts = 0;

function tell(event, more = {}) {
  process.stdout.write(`${JSON.stringify({ event, ...more })}\n`);
}

function take(message) {
  messages.push(message);
  const body = Buffer.from(message.binaryBody).toString("utf8");
  tell("message", { number: messages.length - 1, headers: message.headers, body });
}

function receipt(name) {
  const id = `receipt-${(receipts += 1)}`;
  client.watchForReceipt(id, () => tell("receipt", { name }));
  return id;
}

const orders = {
  subscribe({ destination, headers }) {
    wanted.set(headers.id, { destination, headers });
    const more = { ...headers, receipt: receipt(headers.id) };
    open.set(headers.id, client.subscribe(destination, take, more));
  },
  unsubscribe({ id }) {
    wanted.delete(id);
    open.get(id).unsubscribe({ receipt: receipt(id) });
  },
  send({ destination, body, headers, confirm }) {
    const more = confirm === undefined ? headers : { ...headers, receipt: receipt(confirm) };
    client.publish({ destination, body, headers: more });
  },
  ack: ({ message, headers }) => messages[message].ack(headers),
  nack: ({ message, headers }) => messages[message].nack(headers),
  begin: ({ name }) => transactions.set(name, client.begin(name)),
  commit: ({ name }) => transactions.get(name).commit(),
  abort: ({ name }) => transactions.get(name).abort(),
  async leave() {
    await client.deactivate();
    tell("left");
  },
};

const client = new Client({
  webSocketFactory: () => new WebSocket(url, ["v12.stomp", "v11.stomp", "v10.stomp"]),
  heartbeatIncoming: Number(heartbeat),
  heartbeatOutgoing: Number(heartbeat),
  reconnectDelay: Number(reconnectDelay),
  onConnect(frame) {
    for (const { destination, headers } of wanted.values()) {
      open.set(headers.id, client.subscribe(destination, take, { ...headers }));
    }
    tell("connected", { headers: frame.headers });
  },
  onUnhandledMessage: take, // answers: nobody subscribed to /temp-queue/…
  onStompError: (frame) => tell("error", { headers: frame.headers, body: frame.body }),
  onWebSocketClose: (event) => tell("closed", { code: event.code }),
  debug(line) {
    if (line.startsWith("<<< PONG")) tell("heartbeat");
  },
});

createInterface({ input: process.stdin }).on("line", (line) => {
  const order = JSON.parse(line);
  orders[order.op](order);
});

client.activate();
