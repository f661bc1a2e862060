import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import { beforeEach, describe, test } from "node:test";
import { newId } from "../../static/model/ids.js";
import { SendQueue } from "../../static/protocol/send-queue.js";
import { FakeStorage } from "./fakes.mjs";

globalThis.crypto ??= webcrypto; // Node 18, Debian's, keeps it to itself

const message = (text) => ({ destination: "/topic/chat", text, at: 1 });

let storage;
let sendQueue;
let sent;
const send = (entry) => sent.push(entry.text);

beforeEach(() => {
  storage = new FakeStorage();
  sendQueue = new SendQueue(storage);
  sent = [];
});

describe("the send queue", () => {
  test("sends in the order of writing, each message once a connection", () => {
    sendQueue.add(message("one"));
    sendQueue.add(message("two"));
    sendQueue.flush(send);
    sendQueue.add(message("three"));
    sendQueue.flush(send);
    assert.deepEqual(sent, ["one", "two", "three"]);
  });

  test("sends what is unconfirmed again after a reconnect, under the same id", () => {
    const one = sendQueue.add(message("one"));
    const two = sendQueue.add(message("two"));
    sendQueue.flush(send);
    assert.equal(sendQueue.confirm(one.id), true);
    sendQueue.disconnected();
    const ids = [];
    sendQueue.flush((entry) => ids.push(entry.id));
    assert.deepEqual(ids, [two.id]);
  });

  test("a confirmed message is gone, and confirming again changes nothing", () => {
    const { id } = sendQueue.add(message("one"));
    assert.equal(sendQueue.confirm(id), true);
    assert.equal(sendQueue.confirm(id), false);
    assert.equal(sendQueue.confirm("never heard of"), false);
    assert.deepEqual(sendQueue.entries, []);
  });

  test("what fails to go out stays, with all behind it", () => {
    sendQueue.add(message("one"));
    sendQueue.add(message("two"));
    assert.throws(() => sendQueue.flush(() => { throw new Error("not connected"); }));
    sendQueue.flush(send);
    assert.deepEqual(sent, ["one", "two"]);
  });

  test("knows its own messages, also after they have arrived, and no others", () => {
    const { id } = sendQueue.add(message("one"));
    sendQueue.confirm(id);
    assert.equal(sendQueue.isOwn(id), true);
    assert.equal(sendQueue.isOwn(newId()), false);
    assert.equal(sendQueue.isOwn(undefined), false);
  });

  test("holds back what may not go out yet", () => {
    sendQueue.add(message("here"));
    sendQueue.add({ ...message("there"), destination: "/topic/chat.b" });
    sendQueue.flush(send, ({ destination }) => destination === "/topic/chat.b");
    assert.deepEqual(sent, ["there"]);
    sendQueue.flush(send);
    assert.deepEqual(sent, ["there", "here"]);
  });

  test("knows its own messages after a reload and in another window, the latest thousand", () => {
    const own = new FakeStorage();
    const one = new SendQueue(storage, own);
    const first = one.add(message("one"));
    one.confirm(first.id);
    const other = new SendQueue(new FakeStorage(), own);
    assert.equal(other.isOwn(first.id), true);
    other.add(message("two"));
    for (let i = 0; i < 998; i++) one.add(message("more"));
    assert.equal(new SendQueue(storage, own).isOwn(first.id), true);
    one.add(message("one too many"));
    assert.equal(new SendQueue(new FakeStorage(), own).isOwn(first.id), false);
  });

  test("survives a reload", () => {
    const one = sendQueue.add(message("one"));
    const two = sendQueue.add({ ...message("zwei 😀"), destination: "/topic/chat.b" });
    sendQueue.flush(send);
    sendQueue.confirm(one.id);
    const reloaded = new SendQueue(storage);
    assert.deepEqual(reloaded.entries, [two]);
    assert.equal(reloaded.isOwn(two.id), true);
    reloaded.flush(send);
    assert.deepEqual(sent, ["one", "zwei 😀", "zwei 😀"]);
  });

  test("a refused message is not sent again by itself, not even after a reload", () => {
    const bad = sendQueue.add(message("bad"));
    sendQueue.add(message("good"));
    sendQueue.flush(send);
    assert.equal(sendQueue.refuse(bad.id, "too rude"), true);
    sendQueue.disconnected();
    sendQueue.flush(send);
    const reloaded = new SendQueue(storage);
    reloaded.flush(send);
    assert.deepEqual(sent, ["bad", "good", "good", "good"]);
    assert.equal(reloaded.entries[0].refused, "too rude");
    reloaded.retry(bad.id);
    reloaded.flush(send);
    assert.equal(sent.at(-1), "bad");
    assert.equal(reloaded.refuse("never heard of", "x"), false);
    assert.equal(reloaded.refuse(undefined, "x"), false);
  });

  test("works without a storage and says that it does not keep", () => {
    const full = { getItem: () => null, setItem: () => { throw new Error("QuotaExceededError"); } };
    for (const poor of [null, full]) {
      const box = new SendQueue(poor);
      box.add(message("one"));
      assert.equal(box.isKept, false);
      box.flush(send);
    }
    assert.deepEqual(sent, ["one", "one"]);
    sendQueue.add(message("x"));
    assert.equal(sendQueue.isKept, true);
  });

  test("ignores what it did not store itself", () => {
    const good = { id: "1", destination: "/topic/chat", text: "b", at: 1, isAction: false, refused: null };
    for (const [stored, expected] of [
      ["no JSON", []],
      ['{"a":1}', []],
      [JSON.stringify([null, 1, {}, { ...good, text: 5 }, { ...good, at: "x" }, good]), [good]],
    ]) {
      storage.setItem("rtchat.outbox", stored);
      assert.deepEqual(new SendQueue(storage).entries, expected);
    }
  });
});

test("ids are 32 hex digits and differ", () => {
  const ids = new Set(Array.from({ length: 1000 }, newId));
  assert.equal(ids.size, 1000);
  for (const id of ids) assert.match(id, /^[0-9a-f]{32}$/);
});
