import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import { beforeEach, describe, test } from "node:test";
import { Outbox, SeenIds, newId } from "../../static/protocol/outbox.js";
import { FakeStorage } from "./fakes.mjs";

globalThis.crypto ??= webcrypto; // Node 18, Debian's, keeps it to itself

const message = (text) => ({ destination: "/topic/chat", text, at: 1 });

let storage;
let outbox;
let sent;
const send = (entry) => sent.push(entry.text);

beforeEach(() => {
  storage = new FakeStorage();
  outbox = new Outbox(storage);
  sent = [];
});

describe("the outbox", () => {
  test("sends in the order of writing, each message once a connection", () => {
    outbox.add(message("one"));
    outbox.add(message("two"));
    outbox.flush(send);
    outbox.add(message("three"));
    outbox.flush(send);
    assert.deepEqual(sent, ["one", "two", "three"]);
  });

  test("sends what is unconfirmed again after a reconnect, under the same id", () => {
    const one = outbox.add(message("one"));
    const two = outbox.add(message("two"));
    outbox.flush(send);
    assert.equal(outbox.confirm(one.id), true);
    outbox.disconnected();
    const ids = [];
    outbox.flush((entry) => ids.push(entry.id));
    assert.deepEqual(ids, [two.id]);
  });

  test("a confirmed message is gone, and confirming again changes nothing", () => {
    const { id } = outbox.add(message("one"));
    assert.equal(outbox.confirm(id), true);
    assert.equal(outbox.confirm(id), false);
    assert.equal(outbox.confirm("never heard of"), false);
    assert.deepEqual(outbox.entries, []);
  });

  test("what fails to go out stays, with all behind it", () => {
    outbox.add(message("one"));
    outbox.add(message("two"));
    assert.throws(() => outbox.flush(() => { throw new Error("not connected"); }));
    outbox.flush(send);
    assert.deepEqual(sent, ["one", "two"]);
  });

  test("knows its own messages, also after they have arrived, and no others", () => {
    const { id } = outbox.add(message("one"));
    outbox.confirm(id);
    assert.equal(outbox.isOwn(id), true);
    assert.equal(outbox.isOwn(newId()), false);
    assert.equal(outbox.isOwn(undefined), false);
  });

  test("holds back what may not go out yet", () => {
    outbox.add(message("here"));
    outbox.add({ ...message("there"), destination: "/topic/chat.b" });
    outbox.flush(send, ({ destination }) => destination === "/topic/chat.b");
    assert.deepEqual(sent, ["there"]);
    outbox.flush(send);
    assert.deepEqual(sent, ["there", "here"]);
  });

  test("knows its own messages after a reload and in another window, the latest thousand", () => {
    const own = new FakeStorage();
    const one = new Outbox(storage, own);
    const first = one.add(message("one"));
    one.confirm(first.id);
    const other = new Outbox(new FakeStorage(), own);
    assert.equal(other.isOwn(first.id), true);
    other.add(message("two"));
    for (let i = 0; i < 998; i++) one.add(message("more"));
    assert.equal(new Outbox(storage, own).isOwn(first.id), true);
    one.add(message("one too many"));
    assert.equal(new Outbox(new FakeStorage(), own).isOwn(first.id), false);
  });

  test("survives a reload", () => {
    const one = outbox.add(message("one"));
    const two = outbox.add({ ...message("zwei 😀"), destination: "/topic/chat.b" });
    outbox.flush(send);
    outbox.confirm(one.id);
    const reloaded = new Outbox(storage);
    assert.deepEqual(reloaded.entries, [two]);
    assert.equal(reloaded.isOwn(two.id), true);
    reloaded.flush(send);
    assert.deepEqual(sent, ["one", "zwei 😀", "zwei 😀"]);
  });

  test("a refused message is not sent again by itself, not even after a reload", () => {
    const bad = outbox.add(message("bad"));
    outbox.add(message("good"));
    outbox.flush(send);
    assert.equal(outbox.refuse(bad.id, "too rude"), true);
    outbox.disconnected();
    outbox.flush(send);
    const reloaded = new Outbox(storage);
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
      const box = new Outbox(poor);
      box.add(message("one"));
      assert.equal(box.isKept, false);
      box.flush(send);
    }
    assert.deepEqual(sent, ["one", "one"]);
    outbox.add(message("x"));
    assert.equal(outbox.isKept, true);
  });

  test("ignores what it did not store itself", () => {
    const good = { id: "1", destination: "/topic/chat", text: "b", at: 1, isAction: false, refused: null };
    for (const [stored, expected] of [
      ["no JSON", []],
      ['{"a":1}', []],
      [JSON.stringify([null, 1, {}, { ...good, text: 5 }, { ...good, at: "x" }, good]), [good]],
    ]) {
      storage.setItem("rtchat.outbox", stored);
      assert.deepEqual(new Outbox(storage).entries, expected);
    }
  });
});

describe("ids", () => {
  test("are 32 hex digits and differ", () => {
    const ids = new Set(Array.from({ length: 1000 }, newId));
    assert.equal(ids.size, 1000);
    for (const id of ids) assert.match(id, /^[0-9a-f]{32}$/);
  });

  test("are new once", () => {
    const seen = new SeenIds();
    assert.equal(seen.add("a"), true);
    assert.equal(seen.add("a"), false);
    assert.equal(seen.add("b"), true);
  });

  test("that are missing or oversized count as none", () => {
    const seen = new SeenIds();
    for (const id of [undefined, "", "x".repeat(201)]) {
      assert.equal(seen.add(id), true);
      assert.equal(seen.add(id), true);
    }
  });

  test("are remembered up to a limit, the latest", () => {
    const seen = new SeenIds(3);
    for (const id of ["a", "b", "c", "d"]) seen.add(id);
    assert.equal(seen.add("d"), false);
    assert.equal(seen.add("b"), false);
    assert.equal(seen.add("a"), true);
  });
});
