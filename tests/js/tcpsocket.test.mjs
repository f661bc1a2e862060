import assert from "node:assert/strict";
import fs from "node:fs";
import vm from "node:vm";
import { beforeEach, describe, test } from "node:test";
import { FakeWebSocket, Orbited, TCPSocket, bytesOf, leavePageAfter } from "./fakes.mjs";

let socket;
let calls;

beforeEach(() => {
  FakeWebSocket.install();
  Object.assign(Orbited.settings, { protocol: "http", hostname: "proxy.example", port: 9000 });
  socket = new TCPSocket();
  calls = [];
  socket.onopen = () => calls.push(["open"]);
  socket.onread = (data) => calls.push(["read", data]);
  socket.onclose = (code) => calls.push(["close", code]);
});

describe("TCPSocket", () => {
  test("opens /tcp/HOST:PORT of the proxy", () => {
    socket.open("localhost", 61613);
    assert.equal(FakeWebSocket.last.url, "ws://proxy.example:9000/tcp/localhost:61613");
    assert.equal(FakeWebSocket.last.binaryType, "arraybuffer");
    assert.equal(socket.readyState, TCPSocket.READY_STATE_OPENING);
    FakeWebSocket.last.open();
    assert.equal(socket.readyState, TCPSocket.READY_STATE_OPEN);
    assert.deepEqual(calls, [["open"]]);
  });

  test("puts IPv6 addresses in brackets, of the proxy and of the target", () => {
    Orbited.settings.hostname = "::1";
    socket.open("fe80::1", "7");
    assert.equal(FakeWebSocket.last.url, "ws://[::1]:9000/tcp/[fe80::1]:7");
    socket.reset();
    new TCPSocket().open("[fe80::1]", 7);
    assert.equal(FakeWebSocket.last.url, "ws://[::1]:9000/tcp/[fe80::1]:7");
  });

  test("uses wss when the settings say https, and no port when there is none", () => {
    Object.assign(Orbited.settings, { protocol: "https", port: "" });
    socket.open("localhost", 1);
    assert.equal(FakeWebSocket.last.url, "wss://proxy.example/tcp/localhost:1");
  });

  test("refuses what is no host or no port", () => {
    for (const [host, port] of [["", 1], ["a/../b", 1], ["a?b", 1], ["u@h", 1], ["a b", 1], ["a", 0], ["a", 70000], ["a", "1a"]]) {
      assert.throws(() => socket.open(host, port), TypeError, `${host} ${port}`);
    }
    assert.equal(FakeWebSocket.made.length, 0);
  });

  test("is closed when its page is left, and says so when the page comes back", () => {
    leavePageAfter(() => {
      socket.open("localhost", 1);
      FakeWebSocket.last.open();
    });
    assert.equal(FakeWebSocket.last.closedWith, 3001);
    FakeWebSocket.last.lose(3001);
    assert.deepEqual(calls, [["open"], ["close", 3001]]);
    const count = leavePageAfter(() => {
      socket.open("localhost", 1);
      FakeWebSocket.last.lose();
    });
    assert.equal(count, 0, "a socket that is closed has nothing to do with the page");
  });

  test("what is sent before the connection is open waits for it, in order and before onopen", () => {
    socket.open("localhost", 1);
    socket.send("one");
    socket.send(Uint8Array.of(2));
    assert.deepEqual(FakeWebSocket.last.sent, []);
    socket.onopen = () => socket.send("three");
    FakeWebSocket.last.open();
    assert.deepEqual(FakeWebSocket.last.sent, ["one", Uint8Array.of(2), "three"]);
  });

  test("send() without an open connection is refused", () => {
    assert.throws(() => socket.send("x"), /not open/);
    socket.open("localhost", 1);
    FakeWebSocket.last.open();
    socket.close();
    assert.throws(() => socket.send("x"), /not open/);
  });

  test("text mode gives strings, whole characters only, from text and binary messages", () => {
    socket.open("localhost", 1);
    FakeWebSocket.last.open();
    calls.length = 0;
    const [first, second] = bytesOf("é");
    FakeWebSocket.last.receive("a");
    FakeWebSocket.last.receive(Uint8Array.of(first).buffer);
    FakeWebSocket.last.receive(Uint8Array.of(second, 0x62).buffer);
    FakeWebSocket.last.receive("😀");
    assert.deepEqual(calls, [["read", "a"], ["read", "éb"], ["read", "😀"]]);
  });

  test("every way of splitting a text gives the text back", () => {
    const text = "\ufeffaé世😀\0z";
    const wire = bytesOf(text);
    for (let i = 0; i <= wire.length; i++) {
      for (let j = i; j <= wire.length; j++) {
        const part = new TCPSocket();
        let got = "";
        part.onread = (data) => (got += data);
        part.open("localhost", 1);
        FakeWebSocket.last.open();
        for (const chunk of [wire.slice(0, i), wire.slice(i, j), wire.slice(j)]) FakeWebSocket.last.receive(chunk.buffer);
        assert.equal(got, text);
      }
    }
  });

  test("a character that is cut off by the end shows as U+FFFD before onclose", () => {
    socket.open("localhost", 1);
    FakeWebSocket.last.open();
    FakeWebSocket.last.receive(Uint8Array.of(0xc3).buffer);
    FakeWebSocket.last.lose(1000);
    assert.deepEqual(calls, [["open"], ["read", "\ufffd"], ["close", 1000]]);
  });

  test("binary mode gives bytes, from text and binary messages", () => {
    socket.open("localhost", 1, true);
    FakeWebSocket.last.open();
    calls.length = 0;
    FakeWebSocket.last.receive(Uint8Array.of(0xff, 0).buffer);
    FakeWebSocket.last.receive("é");
    assert.deepEqual(calls, [["read", Uint8Array.of(0xff, 0)], ["read", bytesOf("é")]]);
  });

  test("onclose gets the code of the WebSocket", () => {
    for (const code of [1000, 1006, 1011, 3008]) {
      socket.open("localhost", 1);
      FakeWebSocket.last.lose(code);
      assert.deepEqual(calls.splice(0), [["close", code]]);
      assert.equal(socket.readyState, TCPSocket.READY_STATE_CLOSED);
    }
  });

  test("close() still hands over what comes before the end, and calls onclose once", () => {
    socket.open("localhost", 1);
    FakeWebSocket.last.open();
    socket.close();
    socket.close();
    assert.equal(FakeWebSocket.last.closedWith, 1000);
    FakeWebSocket.last.receive("last words");
    FakeWebSocket.last.lose(1000);
    FakeWebSocket.last.lose(1000);
    assert.deepEqual(calls, [["open"], ["read", "last words"], ["close", 1000]]);
  });

  test("close() while opening lets out what waits, then closes", () => {
    socket.open("localhost", 1);
    socket.send("x");
    socket.close();
    assert.equal(FakeWebSocket.last.closedWith, null);
    FakeWebSocket.last.open();
    assert.deepEqual(FakeWebSocket.last.sent, ["x"]);
    assert.equal(FakeWebSocket.last.closedWith, 1000);
    assert.deepEqual(calls, []);
  });

  test("reset() drops the connection and what waits at once; onclose follows", async () => {
    socket.open("localhost", 1);
    socket.send("x");
    const dropped = FakeWebSocket.last;
    socket.reset();
    assert.deepEqual(calls, []);
    await Promise.resolve();
    assert.deepEqual(calls, [["close", 1000]]);
    dropped.open();
    dropped.receive("late");
    dropped.lose(1006);
    assert.deepEqual(dropped.sent, []);
    assert.deepEqual(calls, [["close", 1000]]);
  });

  test("a socket in use cannot be opened again, a closed one can", () => {
    socket.open("localhost", 1);
    assert.throws(() => socket.open("localhost", 2), /in use/);
    FakeWebSocket.last.lose(1006);
    socket.open("localhost", 2);
    assert.equal(FakeWebSocket.last.url, "ws://proxy.example:9000/tcp/localhost:2");
  });

  test("a WebSocket that the browser refuses to make closes with 1006, later", async () => {
    globalThis.WebSocket = class {
      constructor() {
        throw new Error("insecure");
      }
    };
    socket.open("localhost", 1);
    assert.deepEqual(calls, []);
    await new Promise((resolve) => setTimeout(resolve, 0));
    assert.deepEqual(calls, [["close", 1006]]);
  });
});

describe("the tutorial's scripts, as written", () => {
  const read = (name) => fs.readFileSync(new URL(`../../static/${name}`, import.meta.url), "utf8");

  function page(src) {
    const context = vm.createContext({
      WebSocket: FakeWebSocket, TextEncoder, TextDecoder, URL, Uint8Array, ArrayBuffer, setTimeout, clearTimeout, queueMicrotask,
      document: { currentScript: { src }, domain: "www.example" },
      location: { href: "http://www.example:8080/" },
    });
    vm.runInContext(read("JSON.js"), context);
    vm.runInContext(read("tcpsocket.js"), context);
    return context;
  }

  test("a page on another port reaches the server that Orbited.settings name", () => {
    const context = page("http://localhost:9000/static/Orbited.js");
    vm.runInContext(
      `document.domain = document.domain;
       Orbited.settings.port = 9001;
       Orbited.settings.hostname = "chat.example";
       Orbited.settings.streaming = true;
       TCPSocket = Orbited.TCPSocket;`,
      context,
    );
    vm.runInContext(read("stomp.js"), context);
    vm.runInContext(
      `var seen = [];
       stomp = new STOMPClient();
       stomp.onconnectedframe = function(frame) { stomp.subscribe( "/topic/chat" ); };
       stomp.onmessageframe = function( frame ) { seen.push( frame.body ); };
       stomp.connect("localhost", 61613);`,
      context,
    );
    const wire = FakeWebSocket.last;
    assert.equal(wire.url, "ws://chat.example:9001/tcp/localhost:61613");
    wire.login();
    assert.equal(wire.sent.length, 0);
    wire.receive("MESSAGE\nsubscription:sub-0\n\nhello\0");
    vm.runInContext(`stomp.send("hi", "/topic/chat")`, context);
    assert.match(wire.lastText, /^SEND\n[^]*\n\nhi\0$/);
    assert.deepEqual([...context.seen], ["hello"]);
  });

  test("without settings the server of the script is taken", () => {
    const context = page("https://chat.example/static/Orbited.js");
    vm.runInContext(`new TCPSocket().open("localhost", 1)`, context);
    assert.equal(FakeWebSocket.last.url, "wss://chat.example/tcp/localhost:1");
    assert.equal(vm.runInContext("Orbited.settings.hostname", context), "chat.example");
  });
});
