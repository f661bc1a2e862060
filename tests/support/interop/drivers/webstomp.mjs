// webstomp-client as a puppet of a Python test.
//
//   node webstomp.mjs URL HEARTBEAT_MS COMES_BACK

import { require } from "./orders.mjs";
import { run } from "./text_client.mjs";

const webstomp = require("webstomp-client");
const WebSocket = require("ws");

const [url, heartbeat, comesBack] = process.argv.slice(2);
const protocols = ["v12.stomp", "v11.stomp", "v10.stomp"];

run(
  {
    create() {
      const socket = new WebSocket(url, protocols);
      socket.on("error", () => {}); // the close that follows is enough
      return webstomp.over(socket, { protocols });
    },
    send: (client, destination, headers, body) => client.send(destination, body, headers),
    unsubscribe: (client, id, receipt) => client.unsubscribe(id, { receipt }),
  },
  Number(heartbeat),
  comesBack === "1",
);
