// What webstomp-client and stompjs 2.3.3 have in common: both grew from the same library, and both leave
// coming back to the program.

import { obey, tell } from "./orders.mjs";

/**
 * Obey orders with a client of the library.
 *
 * @param {object} library What differs: create() returns a new client that is not connected,
 *     send(client, destination, headers, body) sends, and unsubscribe(client, id, receipt) ends a
 *     subscription and asks for a receipt.
 * @param {number} heartbeat The period of heart-beats in milliseconds.
 * @param {boolean} comesBack Whether to connect again, and to subscribe again.
 */
export function run(library, heartbeat, comesBack) {
  const messages = [];
  const wanted = new Map(); // subscriptions by id, to ask for again
  const receipts = new Map();
  let count = 0;
  let isLeaving = false;
  let client;

  function take(message) {
    messages.push(message);
    const base64 = Buffer.from(message.body, "utf8").toString("base64");
    tell("message", { number: messages.length - 1, headers: message.headers, base64 });
  }

  function receipt(name) {
    const id = `receipt-${(count += 1)}`;
    receipts.set(id, name);
    return id;
  }

  function failed(problem) {
    if (problem?.command === "ERROR") {
      tell("error", { message: problem.headers.message });
    } else if (comesBack && !isLeaving) {
      setTimeout(connect, 200); // the connection has ended, or was not made
    }
  }

  function connect() {
    client = library.create();
    client.heartbeat = { outgoing: heartbeat, incoming: heartbeat };
    client.debug = (line) => {
      if (line === "<<< PONG") tell("heartbeat");
    };
    client.onreceive = take; // answers: no subscription to /temp-queue/…
    client.onreceipt = (frame) => {
      tell("receipt", { name: receipts.get(frame.headers["receipt-id"]) });
    };
    const connected = () => {
      for (const { destination, headers } of wanted.values()) {
        client.subscribe(destination, take, { ...headers });
      }
      tell("connected");
    };
    client.connect({}, connected, failed);
  }

  obey({
    subscribe({ destination, headers }) {
      wanted.set(headers.id, { destination, headers });
      client.subscribe(destination, take, { ...headers, receipt: receipt(headers.id) });
    },
    unsubscribe({ id }) {
      wanted.delete(id);
      library.unsubscribe(client, id, receipt(id));
    },
    send({ destination, base64, headers, confirm }) {
      const more = confirm === null ? headers : { ...headers, receipt: receipt(confirm) };
      const body = Buffer.from(base64, "base64").toString("utf8");
      library.send(client, destination, { ...more }, body);
    },
    ack: ({ message, headers }) => messages[message].ack(headers),
    nack: ({ message, headers }) => messages[message].nack(headers),
    begin: ({ name }) => client.begin(name),
    commit: ({ name }) => client.commit(name),
    abort: ({ name }) => client.abort(name),
    leave() {
      isLeaving = true;
      client.disconnect(() => tell("left"), {});
    },
  });
  connect();
}
