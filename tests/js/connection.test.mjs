import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { Connection, mayReturn, retryDelayMs } from "../../static/connection.js";

/** What Connection uses of a STOMPClient. */
class FakeClient {
  connected = false;
  did = [];
  connect() {
    this.did.push("connect");
  }
  subscribe(destination, headers) {
    this.did.push(["subscribe", destination, headers.id]);
    this.receipt = headers.receipt;
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
  confirm(id = this.receipt) {
    this.onreceiptframe({ headers: { "receipt-id": id } });
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
  connection = new Connection(client, "/topic/chat", { timers, random: () => 0 });
  states = [];
  connection.onstate = (state) => states.push(state);
});

function goOnline() {
  connection.connect();
  client.login();
  client.confirm();
}

describe("the connection", () => {
  test("is online when the subscription is confirmed, not before", () => {
    connection.connect();
    client.login();
    assert.deepEqual(client.did, ["connect", ["subscribe", "/topic/chat", "sub-0"]]);
    assert.deepEqual(states, ["connecting"]);
    client.confirm();
    assert.deepEqual(states, ["connecting", "online"]);
    assert.equal(connection.isOnline, true);
  });

  test("comes back by itself and subscribes again, with delays that grow", () => {
    const delays = [];
    connection.connect();
    for (let i = 0; i < 8; i++) {
      client.lose();
      delays.push(...timers.delays);
      timers.run();
    }
    assert.deepEqual(delays, [500, 1000, 2000, 4000, 8000, 15000, 15000, 15000]);
    client.did.length = 0;
    client.login();
    client.confirm();
    assert.deepEqual(client.did, [["subscribe", "/topic/chat", "sub-0"]]);
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

  test("short delays come back only after a connection that lasted", () => {
    goOnline();
    client.lose();
    timers.run();
    client.login();
    client.confirm();
    client.lose(); // lost at once: the delays go on growing
    assert.deepEqual(timers.delays, [1000]);
    timers.run();
    client.login();
    client.confirm();
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

  test("hands on messages of its room, receipts of others, and errors", () => {
    const got = [];
    connection.onmessage = (frame) => got.push(frame.body);
    connection.onreceipt = (id) => got.push(id);
    connection.onerror = (frame) => got.push(frame.headers.message);
    goOnline();
    client.onmessageframe({ headers: { destination: "/topic/chat" }, body: "here" });
    client.onmessageframe({ headers: { destination: "/topic/chat.other" }, body: "elsewhere" });
    client.confirm("mine");
    client.onerrorframe({ headers: { message: "no" } });
    assert.deepEqual(got, ["here", "mine", "no"]);
  });

  test("send() hands its arguments to the client", () => {
    goOnline();
    connection.send("x", "/topic/chat", { receipt: "r" });
    assert.deepEqual(client.did.at(-1), ["send", "x", "/topic/chat", { receipt: "r" }]);
  });

  test("join() changes the room and is online again when that is confirmed", () => {
    goOnline();
    client.did.length = 0;
    connection.join("/topic/chat.tea");
    assert.deepEqual(client.did, [["unsubscribe", "sub-0"], ["subscribe", "/topic/chat.tea", "sub-0"]]);
    assert.equal(connection.isOnline, false);
    client.confirm();
    assert.equal(connection.isOnline, true);
    connection.join("/topic/chat.tea");
    assert.equal(client.did.length, 2);
  });

  test("join() twice in a row is online with the second only", () => {
    goOnline();
    connection.join("/topic/chat.a");
    const first = client.receipt;
    connection.join("/topic/chat.b");
    client.confirm(first);
    assert.equal(connection.isOnline, false);
    client.confirm();
    assert.equal(connection.isOnline, true);
  });

  test("join() while offline is remembered for the next connection", () => {
    connection.join("/topic/chat.tea");
    assert.deepEqual(client.did, []);
    goOnline();
    assert.deepEqual(client.did, ["connect", ["subscribe", "/topic/chat.tea", "sub-0"]]);
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
