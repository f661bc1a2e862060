// stompjs 2.3.3 as a puppet of a Python test.
//
//   node stompjs2.mjs URL HEARTBEAT_MS COMES_BACK

import { require } from "./orders.mjs";
import { run } from "./text_client.mjs";

const { Stomp } = require("stompjs/lib/stomp.js");
const WebSocket = require("ws");

const [url, heartbeat, comesBack] = process.argv.slice(2);
Stomp.setInterval = (interval, call) => setInterval(call, interval);
Stomp.clearInterval = (timer) => clearInterval(timer);

run(
  {
    create() {
      const socket = new WebSocket(url, ["v11.stomp", "v10.stomp"]);
      socket.on("error", () => {}); // the close that follows is enough
      return Stomp.over(socket);
    },
    send: (client, destination, headers, body) => client.send(destination, headers, body),
    unsubscribe(client, id, receipt) {
      // It sends no headers with UNSUBSCRIBE: the receipt of the next frame confirms both.
      client.unsubscribe(id);
      client.send("/topic/no.subscriber", { receipt }, "");
    },
  },
  Number(heartbeat),
  comesBack === "1",
);
