// @stomp/stompjs, the JavaScript STOMP client of other people, as a puppet of a Python test.
//
//   node stompjs.mjs URL HEARTBEAT_MS COMES_BACK
//
// Orders come as JSON lines on stdin, and news go out as JSON lines on stdout (../scripted.py). What the
// library hands over for each message is kept, so that {"op": "ack", "message": 3} calls its own ack().
// If it comes back, the library connects again by itself, and subscribes again, as its documentation
// shows.

import { obey, require, tell } from "./orders.mjs";

const { Client } = require("@stomp/stompjs");
const WebSocket = require("ws");

const [url, heartbeat, comesBack] = process.argv.slice(2);
const messages = [];
const transactions = new Map();
const wanted = new Map(); // subscriptions by id, to ask for again
const open = new Map();
let receipts = 0;

function take(message) {
  messages.push(message);
  const base64 = Buffer.from(message.binaryBody).toString("base64");
  tell("message", { number: messages.length - 1, headers: message.headers, base64 });
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
  send({ destination, base64, headers, confirm }) {
    const more = confirm === null ? headers : { ...headers, receipt: receipt(confirm) };
    client.publish({ destination, binaryBody: Buffer.from(base64, "base64"), headers: more });
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
  reconnectDelay: comesBack === "1" ? 200 : 0,
  onConnect(frame) {
    for (const { destination, headers } of wanted.values()) {
      open.set(headers.id, client.subscribe(destination, take, { ...headers }));
    }
    tell("connected", { headers: frame.headers });
  },
  onUnhandledMessage: take, // answers: nobody subscribed to /temp-queue/…
  onStompError: (frame) => tell("error", { message: frame.headers.message }),
  onWebSocketClose: (event) => tell("closed", { code: event.code }),
  debug(line) {
    if (line.startsWith("<<< PONG")) tell("heartbeat");
  },
});

obey(orders);
client.activate();
