// @stomp/rx-stomp, STOMP as observables, as a puppet of a Python test.
//
//   node rx_stomp.mjs URL HEARTBEAT_MS COMES_BACK
//
// The library subscribes again by itself when it is connected again.

import { obey, require, tell } from "./orders.mjs";

const { RxStomp } = require("@stomp/rx-stomp");
const WebSocket = require("ws");

const [url, heartbeat, comesBack] = process.argv.slice(2);
const client = new RxStomp();
const messages = [];
const open = new Map();
const transactions = new Map();
let receipts = 0;

function take(message) {
  messages.push(message);
  const base64 = Buffer.from(message.binaryBody).toString("base64");
  tell("message", { number: messages.length - 1, headers: message.headers, base64 });
}

function receipt(name) {
  const id = `receipt-${(receipts += 1)}`;
  client.asyncReceipt(id).then(() => tell("receipt", { name }));
  return id;
}

obey({
  subscribe({ destination, headers }) {
    // The receipt belongs to the first SUBSCRIBE; those of later connections ask for none.
    let first = { receipt: receipt(headers.id) };
    const subHeaders = () => {
      const more = { ...headers, ...first };
      first = {};
      return more;
    };
    const unsubHeaders = () => ({ receipt: receipt(headers.id) });
    const watch = client.watch({ destination, subHeaders, unsubHeaders });
    open.set(headers.id, watch.subscribe(take));
  },
  unsubscribe({ id }) {
    open.get(id).unsubscribe();
  },
  send({ destination, base64, headers, confirm }) {
    const more = confirm === null ? headers : { ...headers, receipt: receipt(confirm) };
    client.publish({ destination, binaryBody: Buffer.from(base64, "base64"), headers: more });
  },
  ack: ({ message, headers }) => messages[message].ack(headers),
  nack: ({ message, headers }) => messages[message].nack(headers),
  begin: ({ name }) => transactions.set(name, client.stompClient.begin(name)),
  commit: ({ name }) => transactions.get(name).commit(),
  abort: ({ name }) => transactions.get(name).abort(),
  async leave() {
    await client.deactivate();
    tell("left");
  },
});

client.configure({
  webSocketFactory: () => new WebSocket(url, ["v12.stomp", "v11.stomp", "v10.stomp"]),
  heartbeatIncoming: Number(heartbeat),
  heartbeatOutgoing: Number(heartbeat),
  reconnectDelay: comesBack === "1" ? 200 : 0,
  debug(line) {
    if (line.startsWith("<<< PONG")) tell("heartbeat");
  },
});
client.unhandledMessage$.subscribe(take); // answers: no subscription to /temp-queue/…
client.connected$.subscribe(() => tell("connected"));
client.stompErrors$.subscribe((frame) => tell("error", { message: frame.headers.message }));
client.activate();
