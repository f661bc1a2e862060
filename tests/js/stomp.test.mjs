import assert from "node:assert/strict";
import fs from "node:fs";
import vm from "node:vm";
import { afterEach, beforeEach, describe, mock, test } from "node:test";
import { FakeWebSocket, STOMPClient, TCPSocket, bytesOf, leavePageAfter, record } from "./fakes.mjs";

let client;
let calls;

beforeEach(() => {
  FakeWebSocket.install();
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000 });
  delete globalThis.TCPSocket;
  globalThis.location = { href: "http://chat.example:9000/some/page" };
  // The script read the (missing) address of the page when it was loaded: give absolute ones.
  client = new STOMPClient({ url: "ws://chat.example:9000/ws" });
  calls = record(client);
});

afterEach(() => {
  mock.timers.reset();
  delete globalThis.location;
});

function loggedIn(headers) {
  client.connect();
  FakeWebSocket.last.login(headers);
  calls.length = 0;
  return FakeWebSocket.last;
}

/** Runs stomp.js as a browser's script tag would, from `src`, and gives its globals. */
function asScript(file, globals) {
  const context = vm.createContext({ TextEncoder, TextDecoder, URL, Uint8Array, ArrayBuffer, setTimeout, clearTimeout, ...globals });
  vm.runInContext(fs.readFileSync(new URL(`../../static/${file}`, import.meta.url), "utf8"), context);
  return context;
}

describe("connecting", () => {
  test("without a host goes to /ws and offers the STOMP sub-protocols", () => {
    client.connect();
    assert.equal(FakeWebSocket.last.url, "ws://chat.example:9000/ws");
    assert.deepEqual(FakeWebSocket.last.protocols, ["v12.stomp", "v11.stomp", "v10.stomp"]);
    assert.equal(FakeWebSocket.last.binaryType, "arraybuffer");
  });

  test("sends CONNECT with all versions, the host, heart-beat terms, and the login if there is one", () => {
    client.connect(undefined, undefined, "ada", "se:cret");
    FakeWebSocket.last.open();
    assert.deepEqual(FakeWebSocket.last.sent, [
      "CONNECT\naccept-version:1.0,1.1,1.2\nhost:chat.example\nheart-beat:10000,10000\nlogin:ada\npasscode:se:cret\n\n\0",
    ]);
    assert.deepEqual(calls.names(), ["onopen"]);
  });

  test("a login that cannot be written in CONNECT is an error, not another header", () => {
    client.connect(undefined, undefined, "ada\nhost:other");
    FakeWebSocket.last.open();
    assert.deepEqual(FakeWebSocket.last.sent, []);
    assert.deepEqual(calls.names(), ["onopen", "onerror", "onclose"]);
  });

  test("calls onconnectedframe, and onconnectframe as the tutorial names it", () => {
    const other = [];
    client.onconnectframe = (frame) => other.push(frame);
    client.connect();
    FakeWebSocket.last.open();
    FakeWebSocket.last.receive("CONNECTED\nversion:1.1\nserver:x\n\n\0");
    assert.deepEqual(calls.names(), ["onopen", "onconnectedframe"]);
    assert.equal(other[0].headers.server, "x");
    assert.equal(client.version, "1.1");
    assert.equal(client.connected, true);
  });

  test("a CONNECTED without a version means 1.0", () => {
    loggedIn("");
    assert.equal(client.version, "1.0");
  });

  test("a version that was not offered ends the connection", () => {
    client.connect();
    FakeWebSocket.last.open();
    FakeWebSocket.last.receive("CONNECTED\nversion:1.3\n\n\0");
    assert.deepEqual(calls.names(), ["onopen", "onerror", "onclose"]);
  });

  test("frames behind CONNECTED in the same message are read in the agreed version", () => {
    client.connect();
    FakeWebSocket.last.open();
    FakeWebSocket.last.receive("CONNECTED\nversion:1.1\nx:a\\cb\n\n\0MESSAGE\nx:a\\cb\n\n\0");
    assert.equal(calls.of("onconnectedframe")[0].headers.x, "a\\cb");
    assert.equal(calls.of("onmessageframe")[0].headers.x, "a:b");
  });

  test("no answer within 15 s is an error and closes with 1006", () => {
    client.connect();
    mock.timers.tick(14_999);
    assert.deepEqual(calls.names(), []);
    mock.timers.tick(1);
    assert.deepEqual(calls.names(), ["onerror", "onclose"]);
    assert.deepEqual(calls.of("onclose"), [1006]);
    assert.equal(FakeWebSocket.last.closedWith, 1000);
  });

  test("a WebSocket that the browser refuses to make is told as a lost connection, later", () => {
    globalThis.WebSocket = class {
      constructor() {
        throw new Error("insecure");
      }
    };
    client.connect();
    assert.deepEqual(calls.names(), []);
    mock.timers.tick(0);
    assert.deepEqual(calls.names(), ["onerror", "onclose"]);
    assert.deepEqual(calls.of("onclose"), [1006]);
  });

  test("a bad host or port is refused at once", () => {
    for (const [host, port] of [["", 1], ["a b", 1], ["a/b", 1], ["a", 0], ["a", 65536], ["a", "x"], ["a", undefined]]) {
      assert.throws(() => client.connect(host, port), TypeError, `${host} ${port}`);
    }
    assert.equal(FakeWebSocket.made.length, 0);
  });
});

describe("where connect() goes, as a script of a page", () => {
  const globals = (src, href) => ({
    WebSocket: FakeWebSocket,
    document: { currentScript: src ? { src } : null },
    location: { href },
  });

  test("the server that the script came from, not that of the page", () => {
    const page = asScript("stomp.js", globals("http://chat.example:9000/static/stomp.js", "http://www.example/"));
    new page.STOMPClient().connect("localhost", 61613);
    assert.equal(FakeWebSocket.last.url, "ws://chat.example:9000/tcp/localhost:61613");
    new page.STOMPClient().connect();
    assert.equal(FakeWebSocket.last.url, "ws://chat.example:9000/ws");
  });

  test("wss when the script came over https", () => {
    const page = asScript("stomp.js", globals("https://chat.example/static/stomp.js", "https://www.example/"));
    new page.STOMPClient({ url: "/stomp" }).connect();
    assert.equal(FakeWebSocket.last.url, "wss://chat.example/stomp");
  });

  test("the page's own server when the script is a module", () => {
    const page = asScript("stomp.js", globals(null, "http://[::1]:9000/"));
    new page.STOMPClient().connect("::1", "61613");
    assert.equal(FakeWebSocket.last.url, "ws://[::1]:9000/tcp/[::1]:61613");
    assert.deepEqual([...FakeWebSocket.last.protocols], []);
  });
});

describe("sending", () => {
  test("send() writes the length in bytes and the caller's headers", () => {
    const socket = loggedIn();
    client.send("Grüße", "/topic/chat", { receipt: "r1", "x:y": "a\nb" });
    assert.equal(socket.lastText, "SEND\ncontent-length:7\nreceipt:r1\nx\\cy:a\\nb\ndestination:/topic/chat\n\nGrüße\0");
  });

  test("a body of bytes goes out as a binary message", () => {
    const socket = loggedIn();
    client.send(Uint8Array.of(0xff, 0), "/topic/chat");
    assert.deepEqual(socket.lastText, Uint8Array.of(...bytesOf("SEND\ncontent-length:2\ndestination:/topic/chat\n\n"), 0xff, 0, 0));
  });

  test("numbers are written out, objects are refused with advice", () => {
    const socket = loggedIn();
    client.send(42, "/topic/chat");
    assert.match(socket.lastText, /\n\n42\0$/);
    assert.throws(() => client.send({ nick: "a" }, "/topic/chat"), /JSON\.stringify/);
    assert.throws(() => client.send(undefined, "/topic/chat"), TypeError);
  });

  test("the destination cannot be changed by a header", () => {
    const socket = loggedIn();
    client.send("x", "/topic/chat", { destination: "/topic/other" });
    assert.doesNotMatch(socket.lastText, /other/);
  });

  test("subscribe() makes ids from sub-0 on and takes one that is given", () => {
    const socket = loggedIn();
    assert.equal(client.subscribe("/topic/a"), "sub-0");
    assert.equal(socket.lastText, "SUBSCRIBE\nack:auto\nid:sub-0\ndestination:/topic/a\n\n\0");
    assert.equal(client.subscribe("/topic/b", { id: "sub-1", ack: "client" }), "sub-1");
    assert.equal(client.subscribe("/topic/c"), "sub-2");
    assert.equal(socket.lastText, "SUBSCRIBE\nack:auto\nid:sub-2\ndestination:/topic/c\n\n\0");
  });

  test("unsubscribe() takes an id, or a destination with all its subscriptions", () => {
    const socket = loggedIn();
    client.subscribe("/topic/a");
    client.subscribe("/topic/a");
    client.subscribe("/topic/b");
    socket.sent.length = 0;
    client.unsubscribe("sub-2");
    client.unsubscribe("/topic/a");
    assert.deepEqual(socket.sent, ["UNSUBSCRIBE\nid:sub-2\n\n\0", "UNSUBSCRIBE\nid:sub-0\n\n\0", "UNSUBSCRIBE\nid:sub-1\n\n\0"]);
    assert.throws(() => client.unsubscribe("/topic/a"), /not subscribed/);
  });

  test("unsubscribe() names the destination too in 1.0", () => {
    const socket = loggedIn("");
    client.subscribe("/topic/a");
    client.unsubscribe("/topic/a");
    assert.equal(socket.lastText, "UNSUBSCRIBE\nid:sub-0\ndestination:/topic/a\n\n\0");
  });

  test("transactions: begin() makes an id, commit() and abort() end it", () => {
    const socket = loggedIn();
    assert.equal(client.begin(), "tx-0");
    assert.equal(client.begin("mine"), "mine");
    client.send("x", "/queue/a", { transaction: "mine" });
    client.commit("mine");
    client.abort("tx-0", { receipt: "r" });
    assert.deepEqual(
      [socket.sent[0], socket.sent[1], ...socket.sent.slice(3)],
      ["BEGIN\ntransaction:tx-0\n\n\0", "BEGIN\ntransaction:mine\n\n\0", "COMMIT\ntransaction:mine\n\n\0", "ABORT\nreceipt:r\ntransaction:tx-0\n\n\0"],
    );
  });

  const message = "MESSAGE\nmessage-id:m1\nsubscription:sub-0\nack:a1\ndestination:/queue/a\n\nx\0";

  for (const [version, expected] of [
    ["1.0", "ACK\nmessage-id:m1\nsubscription:sub-0\n\n\0"],
    ["1.1", "ACK\nmessage-id:m1\nsubscription:sub-0\n\n\0"],
    ["1.2", "ACK\nid:a1\n\n\0"],
  ]) {
    test(`ack() in ${version}, by the frame and by its message-id`, () => {
      const socket = loggedIn(`version:${version}\n`);
      socket.receive(message);
      client.ack(calls.of("onmessageframe")[0]);
      assert.equal(socket.lastText, expected);
      socket.receive(message);
      client.ack("m1");
      assert.equal(socket.lastText, expected);
    });
  }

  test("ack() in a transaction, nack() with a header", () => {
    const socket = loggedIn();
    client.ack("a1", "tx-0");
    assert.equal(socket.lastText, "ACK\ntransaction:tx-0\nid:a1\n\n\0");
    client.nack("a2", undefined, { requeue: "false" });
    assert.equal(socket.lastText, "NACK\nrequeue:false\nid:a2\n\n\0");
  });

  test("nack() is refused in 1.0", () => {
    loggedIn("");
    assert.throws(() => client.nack("m1"), /no NACK/);
  });

  test("nothing can be sent without a connection, and the caller is told", () => {
    for (const act of [() => client.send("x", "/topic/a"), () => client.subscribe("/topic/a"), () => client.begin()]) {
      assert.throws(act, /not connected/);
    }
    client.connect();
    FakeWebSocket.last.open();
    assert.throws(() => client.send("x", "/topic/a"), /not connected/);
  });
});

describe("receiving", () => {
  test("messages, receipts and errors reach their callbacks", () => {
    const socket = loggedIn();
    socket.receive("MESSAGE\nsubscription:sub-0\n\nhello\0\nRECEIPT\nreceipt-id:r1\n\n\0ERROR\nmessage:no\n\nwhy\0");
    assert.deepEqual(calls.names(), ["onmessageframe", "onreceiptframe", "onerrorframe"]);
    assert.equal(calls[0][1].body, "hello");
    assert.equal(calls[1][1].headers["receipt-id"], "r1");
    assert.equal(calls[2][1].body, "why");
  });

  test("a frame may come in text and binary messages by turns, also split inside a character", () => {
    const socket = loggedIn();
    const wire = bytesOf("MESSAGE\nx:y\n\nGrüße\0");
    const at = wire.indexOf(0xc3) + 1;
    socket.receive("MESSAGE\nx:");
    socket.receive(wire.slice("MESSAGE\nx:".length, at).buffer);
    socket.receive(wire.slice(at).buffer);
    assert.equal(calls.of("onmessageframe")[0].body, "Grüße");
  });

  test("a broken frame is an error, closes the socket, and onclose tells so", () => {
    const socket = loggedIn();
    socket.receive("NONSENSE\n\n\0MESSAGE\n\nnever\0");
    assert.deepEqual(calls.names(), ["onerror", "onclose"]);
    assert.equal(calls.of("onerror")[0].name, "ProtocolError");
    assert.deepEqual(calls.of("onclose"), [3002]);
    assert.equal(socket.closedWith, 3002);
  });

  test("a second CONNECTED is a broken conversation", () => {
    const socket = loggedIn();
    socket.receive("CONNECTED\nversion:1.2\n\n\0");
    assert.deepEqual(calls.names(), ["onerror", "onclose"]);
  });

  test("a mistake in a callback shows as uncaught and costs neither the connection nor the next frame", () => {
    const socket = loggedIn();
    const seen = [];
    client.onmessageframe = (frame) => {
      seen.push(frame.body);
      if (frame.body === "1") throw new Error("mistake of the page");
    };
    socket.receive("MESSAGE\n\n1\0MESSAGE\n\n2\0");
    assert.deepEqual(seen, ["1", "2"]);
    assert.equal(client.connected, true);
    assert.throws(() => mock.timers.tick(0), /mistake of the page/);
  });
});

describe("closing", () => {
  test("when the page is left, so that no page in the back/forward cache looks present", () => {
    leavePageAfter(() => {
      client.connect();
      FakeWebSocket.last.login();
    });
    assert.equal(FakeWebSocket.last.closedWith, 3001);
    FakeWebSocket.last.lose(3001);
    assert.deepEqual(calls.of("onclose"), [3001]);
    const count = leavePageAfter(() => {
      client.connect();
      FakeWebSocket.last.lose();
    });
    assert.equal(count, 0);
  });

  test("at once, without a word and without onclose", () => {
    client.connect();
    FakeWebSocket.last.login();
    client.close();
    assert.deepEqual([FakeWebSocket.last.closedWith, FakeWebSocket.last.sent], [1000, []]);
    assert.deepEqual([client.connected, calls.of("onclose")], [false, []]);
    client.close();
  });

  test("onclose gets the code, whatever it is, once", () => {
    for (const code of [1001, 1006, 1012, 3008, 3999]) {
      const socket = loggedIn();
      socket.lose(code);
      socket.lose(code);
      assert.deepEqual(calls, [["onclose", code]]);
      assert.equal(client.connected, false);
    }
  });

  test("disconnect() waits for the server's receipt, then closes with 1000", () => {
    const socket = loggedIn();
    client.disconnect();
    const receipt = /^DISCONNECT\nreceipt:(.+)\n\n\0$/.exec(socket.lastText)[1];
    assert.equal(socket.closedWith, null);
    socket.receive("MESSAGE\n\nunder way\0");
    socket.receive(`RECEIPT\nreceipt-id:${receipt}\n\n\0`);
    assert.deepEqual(calls.names(), ["onmessageframe", "onclose"]);
    assert.deepEqual(calls.of("onclose"), [1000]);
    assert.equal(socket.closedWith, 1000);
  });

  test("disconnect() with the caller's receipt shows that receipt", () => {
    const socket = loggedIn();
    client.disconnect({ receipt: "bye" });
    socket.receive("RECEIPT\nreceipt-id:bye\n\n\0");
    assert.deepEqual(calls.names(), ["onreceiptframe", "onclose"]);
  });

  test("disconnect() does not wait longer than 2 s", () => {
    loggedIn();
    client.disconnect();
    mock.timers.tick(1_999);
    assert.deepEqual(calls.names(), []);
    mock.timers.tick(1);
    assert.deepEqual(calls, [["onclose", 1000]]);
  });

  test("disconnect() before the login just closes", () => {
    client.connect();
    client.disconnect();
    assert.deepEqual(calls, [["onclose", 1000]]);
    assert.equal(FakeWebSocket.last.closedWith, 1000);
  });

  test("reset() makes a new connection with the same arguments, without onclose, and ids start anew", () => {
    client.connect(undefined, undefined, "ada", "x");
    FakeWebSocket.last.login();
    client.subscribe("/topic/a");
    const old = FakeWebSocket.last;
    calls.length = 0;
    client.reset();
    assert.equal(FakeWebSocket.made.length, 2);
    assert.equal(old.closedWith, 1000);
    old.receive("MESSAGE\n\nlate\0");
    old.lose(1000);
    assert.deepEqual(calls.names(), []);
    FakeWebSocket.last.open();
    assert.match(FakeWebSocket.last.lastText, /login:ada/);
    FakeWebSocket.last.receive("CONNECTED\nversion:1.2\n\n\0");
    assert.equal(client.subscribe("/topic/a"), "sub-0");
  });

  test("reset() from inside onmessageframe stops the frames behind it", () => {
    const socket = loggedIn();
    const seen = [];
    client.onmessageframe = (frame) => {
      seen.push(frame.body);
      client.reset();
    };
    socket.receive("MESSAGE\n\n1\0MESSAGE\n\n2\0");
    assert.deepEqual(seen, ["1"]);
    assert.equal(FakeWebSocket.made.length, 2);
  });

  test("reset() in onclose connects again", () => {
    const socket = loggedIn();
    client.onclose = () => client.reset();
    socket.lose(1012);
    assert.equal(FakeWebSocket.made.length, 2);
    FakeWebSocket.last.login();
    assert.equal(client.connected, true);
  });

  test("reset() needs a connect() before it", () => {
    assert.throws(() => client.reset(), /connect\(\) first/);
  });

  test("no timer is left when the connection is over", () => {
    const socket = loggedIn("version:1.2\nheart-beat:1000,1000\n");
    socket.lose(1001);
    calls.length = 0;
    mock.timers.tick(100_000);
    assert.deepEqual(calls.names(), []);
    assert.deepEqual(socket.sent, []);
  });
});

describe("heart-beats", () => {
  test("go out at 0.8 of the longer of both terms, counted from what was sent last", () => {
    const socket = loggedIn("version:1.2\nheart-beat:0,20000\n");
    mock.timers.tick(15_999);
    assert.deepEqual(socket.sent, []);
    mock.timers.tick(1);
    assert.deepEqual(socket.sent, ["\n"]);
    mock.timers.tick(10_000);
    client.send("x", "/topic/a");
    mock.timers.tick(15_999);
    assert.equal(socket.sent.length, 2);
    mock.timers.tick(1);
    assert.equal(socket.sent.length, 3);
    assert.equal(socket.lastText, "\n");
  });

  test("none go out when the server wants none, and silence is no loss when it sends none", () => {
    const socket = loggedIn("version:1.2\nheart-beat:0,0\n");
    mock.timers.tick(1_000_000);
    assert.deepEqual(socket.sent, []);
    assert.equal(client.connected, true);
  });

  test("can be turned off on this side", () => {
    client = new STOMPClient({ url: "ws://chat.example:9000/ws", heartBeatMs: [0, 0] });
    calls = record(client);
    const socket = loggedIn("version:1.2\nheart-beat:1000,1000\n");
    mock.timers.tick(1_000_000);
    assert.deepEqual(socket.sent, []);
    assert.equal(client.connected, true);
  });

  test("twice the agreed silence is a lost connection", () => {
    const socket = loggedIn("version:1.2\nheart-beat:10000,0\n");
    mock.timers.tick(19_999);
    assert.deepEqual(calls.names(), []);
    mock.timers.tick(1);
    assert.deepEqual(calls.names(), ["onerror", "onclose"]);
    assert.deepEqual(calls.of("onclose"), [3012]);
    assert.equal(socket.closedWith, 3012);
  });

  test("any byte of the server's is life", () => {
    const socket = loggedIn("version:1.2\nheart-beat:10000,0\n");
    for (let i = 0; i < 20; i++) {
      mock.timers.tick(15_000);
      socket.receive(i % 2 ? "\n" : "MESS");
      if (!(i % 2)) socket.receive("AGE\n\n\0");
    }
    assert.equal(client.connected, true);
  });

  test("what comes in sends our heart-beat on, where the browser slows timers down", () => {
    const socket = loggedIn("version:1.2\nheart-beat:10000,10000\n");
    mock.timers.setTime(1_000_000 + 7_000); // no timer is due yet
    socket.receive("\n");
    assert.deepEqual(socket.sent, ["\n"]);
    socket.receive("\n");
    assert.equal(socket.sent.length, 1);
  });

  test("a page that was asleep itself first reads what has come in meanwhile", () => {
    const real = globalThis.setTimeout;
    const due = [];
    globalThis.setTimeout = (act, ms) => due.push({ act, ms });
    try {
      client.connect();
      FakeWebSocket.last.login("version:1.2\nheart-beat:10000,0\n");
      const silence = due.at(-1);
      assert.equal(silence.ms, 20_000);
      mock.timers.setTime(1_000_000 + 3_600_000); // an hour later the timer comes, far too late
      silence.act();
      assert.equal(client.connected, true);
      assert.equal(due.at(-1).ms, 1_000);
      mock.timers.setTime(1_000_000 + 3_601_000);
      due.at(-1).act(); // and nothing had come in
      assert.equal(client.connected, false);
    } finally {
      globalThis.setTimeout = real;
    }
  });
});

describe("over a TCPSocket of the page", () => {
  test("connect(host, port) opens it in binary mode and speaks STOMP through it", () => {
    globalThis.TCPSocket = TCPSocket;
    client.connect("localhost", 61613);
    assert.equal(FakeWebSocket.last.url, "ws://localhost/tcp/localhost:61613");
    FakeWebSocket.last.open();
    assert.match(FakeWebSocket.last.lastText, /^CONNECT\n[^]*host:localhost\n/);
    FakeWebSocket.last.receive("CONNECTED\nversion:1.2\n\n\0");
    client.send(Uint8Array.of(0xff), "/topic/a");
    assert.ok(FakeWebSocket.last.lastText instanceof Uint8Array);
    FakeWebSocket.last.receive(Uint8Array.of(...bytesOf("MESSAGE\ncontent-length:1\n\n"), 0xff, 0).buffer);
    assert.deepEqual(calls.of("onmessageframe")[0].body, Uint8Array.of(0xff));
    FakeWebSocket.last.lose(1011);
    assert.deepEqual(calls.of("onclose"), [1011]);
  });

  test("any other TCPSocket will do, whether it hands over strings, bytes or arrays of numbers", () => {
    let socket;
    globalThis.TCPSocket = class {
      open(...where) {
        socket = this;
        this.where = where;
        this.sent = [];
      }
      send(data) {
        this.sent.push(data);
      }
      close() {}
    };
    client.connect("broker", 61613);
    assert.deepEqual(socket.where, ["broker", 61613, true]);
    socket.onopen();
    assert.match(socket.sent[0], /^CONNECT\n/);
    socket.onread("CONNECTED\nversion:1.2\n\n\0MESSAGE\n\n");
    socket.onread([...bytesOf("é")]);
    socket.onread(Uint8Array.of(0));
    assert.equal(calls.of("onmessageframe")[0].body, "é");
  });
});
