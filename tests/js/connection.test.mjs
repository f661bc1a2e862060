import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { Connection, mayReturn, retryDelayMs } from "../../static/protocol/connection.js";

/** What Connection uses of a STOMPClient. */
class FakeClient {
  connected = false;
  did = [];
  connect() {
    this.connected = false;
    this.did.push("connect");
  }
  subscribe(destination, headers) {
    this.did.push(["subscribe", destination, headers.id]);
  }
  unsubscribe(id) {
    this.did.push(["unsubscribe", id]);
  }
  send(...args) {
    this.did.push(["send", ...args]);
  }
  // the server's part
  login() {
    this.connected = true;
    this.onconnectedframe({});
  }
  lose(code = 1006) {
    this.connected = false;
    this.onclose(code);
  }
}

/** Timers that run when the test says so. */
class FakeTimers {
  pending = new Map();
  #next = 1;
  setTimeout(act, ms) {
    this.pending.set(this.#next, { act, ms });
    return this.#next++;
  }
  clearTimeout(id) {
    this.pending.delete(id);
  }
  get delays() {
    return [...this.pending.values()].map(({ ms }) => ms);
  }
  run() {
    const [[id, { act }]] = this.pending;
    this.pending.delete(id);
    act();
  }
}

let client;
let timers;
let connection;
let states;

beforeEach(() => {
  client = new FakeClient();
  timers = new FakeTimers();
  connection = new Connection(client, { timers, random: () => 0 });
  states = [];
  connection.onstate = (state) => states.push(state);
});

function goOnline() {
  connection.connect();
  client.login();
  connection.ready();
}

describe("the connection", () => {
  test("is online when everything is subscribed, not before", () => {
    let logins = 0;
    connection.onlogin = () => logins++;
    connection.ready(); // no connection yet
    connection.connect();
    connection.ready();
    client.login();
    assert.equal(logins, 1);
    assert.deepEqual(states, ["connecting"]);
    connection.ready();
    connection.ready();
    assert.deepEqual(states, ["connecting", "online"]);
    assert.equal(connection.isOnline, true);
    connection.unready();
    assert.equal(connection.isOnline, false);
    connection.ready();
    assert.deepEqual(states, ["connecting", "online", "connecting", "online"]);
  });

  test("comes back by itself, with delays that grow", () => {
    const delays = [];
    connection.connect();
    for (let i = 0; i < 8; i++) {
      client.lose();
      delays.push(...timers.delays);
      timers.run();
    }
    assert.deepEqual(delays, [500, 1000, 2000, 4000, 8000, 15000, 15000, 15000]);
    client.login();
    connection.ready();
    assert.equal(connection.isOnline, true);
  });

  test("tells when the next attempt is", () => {
    let told;
    connection.onstate = (state, next) => (told = next);
    connection.connect();
    const before = Date.now();
    client.lose();
    assert.ok(told.retryAt >= before + 500 && told.retryAt <= Date.now() + 500);
    assert.equal(told.final, false);
  });

  test("gives up when the page knows why nothing opens, until it is told to connect", () => {
    let told;
    connection.onstate = (state, next) => (told = { state, ...next });
    connection.connect();
    connection.giveUp(3501); // an attempt is under way: it may succeed
    assert.equal(told.state, "connecting");
    client.lose();
    connection.giveUp(3501);
    assert.deepEqual(told, { state: "offline", retryAt: null, final: true, code: 3501 });
    assert.equal(timers.pending.size, 0);
    connection.connect();
    assert.deepEqual(client.did, ["connect", "connect"]);
  });

  test("short delays come back only after a connection that lasted", () => {
    goOnline();
    client.lose();
    timers.run();
    client.login();
    connection.ready();
    client.lose(); // lost at once: the delays go on growing
    assert.deepEqual(timers.delays, [1000]);
    timers.run();
    client.login();
    connection.ready();
    timers.run(); // 10 s later
    client.lose();
    assert.deepEqual(timers.delays, [500]);
  });

  test("connect() does not wait for the timer, and does nothing while there is a connection", () => {
    goOnline();
    connection.connect();
    client.lose();
    connection.connect();
    connection.connect();
    assert.deepEqual(timers.delays, []);
    assert.deepEqual(states, ["connecting", "online", "offline", "connecting"]);
  });

  test("stays away when the close code asks for it, until somebody says connect", () => {
    let told;
    goOnline();
    connection.onstate = (state, next) => (told = [state, next.final]);
    client.lose(3500);
    assert.deepEqual(told, ["offline", true]);
    assert.deepEqual(timers.delays, []);
    connection.connect();
    assert.equal(connection.state, "connecting");
  });

  test("reconnect() drops the connection and makes another at once", () => {
    goOnline();
    client.did.length = 0;
    connection.reconnect();
    assert.deepEqual(client.did, ["connect"]);
    assert.deepEqual(states.slice(2), ["offline", "connecting"]);
    assert.deepEqual(timers.delays, []);
  });

  test("reconnect() does not wait for the next attempt", () => {
    goOnline();
    client.lose();
    connection.reconnect();
    assert.equal(connection.state, "connecting");
    assert.deepEqual(timers.delays, []);
  });

  test("hold() makes the end of the connection the last word, until connect()", () => {
    goOnline();
    connection.hold();
    let told;
    connection.onstate = (state, next) => (told = next);
    client.lose(1000);
    assert.deepEqual(told, { retryAt: null, final: true, code: 1000 });
    connection.connect();
    client.lose();
    assert.equal(told.final, false);
  });

  test("hands on messages, receipts with their headers, and errors", () => {
    const got = [];
    connection.onmessage = (frame) => got.push(frame.body);
    connection.onreceipt = (id, headers) => got.push(id, headers.x);
    connection.onerror = (frame) => got.push(frame.headers.message);
    goOnline();
    client.onmessageframe({ headers: {}, body: "here" });
    client.onreceiptframe({ headers: { "receipt-id": "mine", x: "1" } });
    client.onerrorframe({ headers: { message: "no" } });
    assert.deepEqual(got, ["here", "mine", "1", "no"]);
  });

  test("send(), subscribe() and unsubscribe() hand their arguments to the client", () => {
    goOnline();
    client.did.length = 0;
    connection.send("x", "/topic/chat", { receipt: "r" });
    connection.subscribe("/topic/chat", { id: "1" });
    connection.unsubscribe("1");
    assert.deepEqual(client.did, [
      ["send", "x", "/topic/chat", { receipt: "r" }],
      ["subscribe", "/topic/chat", "1"],
      ["unsubscribe", "1"],
    ]);
  });
});

test("delays lie between half a second and 30 s, spread over half of their range", () => {
  for (let attempt = 0; attempt < 2000; attempt++) {
    const least = retryDelayMs(attempt, () => 0);
    const most = retryDelayMs(attempt, () => 1);
    assert.ok(least >= 500 && most <= 30000, `${attempt}: ${least} to ${most}`);
    assert.equal(most, 2 * least);
  }
});

test("only close codes from 3500 to 3999 ask to stay away", () => {
  for (const code of [1000, 1001, 1006, 1008, 1012, 1013, 3008, 3012, 3499, 4000]) assert.equal(mayReturn(code), true, code);
  for (const code of [3500, 3999]) assert.equal(mayReturn(code), false, code);
});
