// stompit as a puppet of a Python test, with its ConnectFailover if it comes back.
//
//   node stompit.mjs HOST:PORT HEARTBEAT_MS COMES_BACK

import { obey, require, tell } from "./orders.mjs";

const stompit = require("stompit");

const [address, heartbeat, comesBack] = process.argv.slice(2);
const [host, port] = address.split(":");
const heartBeat = `${heartbeat},${heartbeat}`;
const connectHeaders = { host: "localhost", "heart-beat": heartBeat };
const servers = [{ host, port: Number(port), connectHeaders }];
const failover = new stompit.ConnectFailover(servers, { initialReconnectDelay: 200 });
const messages = [];
const wanted = new Map(); // subscriptions by id, to ask for again
const open = new Map();
const transactions = new Map();
let client;
let isLeaving = false;

function take(error, message) {
  if (error) {
    return; // the connection has ended; the client says so as well
  }
  const chunks = [];
  message.on("data", (chunk) => chunks.push(chunk));
  message.on("end", () => {
    messages.push(message);
    const base64 = Buffer.concat(chunks).toString("base64");
    tell("message", { number: messages.length - 1, headers: message.headers, base64 });
  });
}

function subscribe({ destination, headers }, onReceipt) {
  const more = { destination, ...headers };
  if (onReceipt) {
    // subscribe() takes no options: the receipt of the next frame confirms both.
    open.set(headers.id, client.subscribe(more, take));
    client.send("/topic/no.subscriber", { onReceipt }).end();
  } else {
    open.set(headers.id, client.subscribe(more, take));
  }
}

function connect() {
  failover.connect((error, connected) => {
    if (error) {
      tell("error", { message: error.message });
      return;
    }
    client = connected;
    client.on("error", (problem) => {
      if (problem.isApplicationError?.() || !comesBack) {
        tell("error", { message: problem.message });
      }
      if (comesBack === "1" && !isLeaving) connect();
    });
    client.getTransportSocket().on("data", (data) => {
      if (data.equals(Buffer.from("\n"))) tell("heartbeat");
    });
    for (const subscription of wanted.values()) subscribe(subscription);
    tell("connected");
  });
}

obey({
  subscribe(order) {
    wanted.set(order.headers.id, order);
    subscribe(order, () => tell("receipt", { name: order.headers.id }));
  },
  unsubscribe({ id }) {
    wanted.delete(id);
    open.get(id).unsubscribe();
    client.send("/topic/no.subscriber", {
      onReceipt: () => tell("receipt", { name: id }),
    }).end();
  },
  send({ destination, base64, headers, confirm }) {
    const body = Buffer.from(base64, "base64");
    const more = { ...headers, destination, "content-length": body.length };
    const options =
      confirm === null ? {} : { onReceipt: () => tell("receipt", { name: confirm }) };
    client.send(more, options).end(body);
  },
  ack: ({ message, headers }) => client.ack(messages[message], headers),
  nack: ({ message, headers }) => client.nack(messages[message], headers),
  begin: ({ name }) => transactions.set(name, client.begin(name)),
  commit: ({ name }) => transactions.get(name).commit(),
  abort: ({ name }) => transactions.get(name).abort(),
  leave() {
    isLeaving = true;
    client.disconnect(() => tell("left"));
  },
});
connect();
