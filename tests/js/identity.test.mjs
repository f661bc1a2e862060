import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import { describe, test } from "node:test";
import { ScopedStorage } from "../../static/embed/context.js";
import { Identity } from "../../static/model/identity.js";
import { Store } from "../../static/model/storage.js";
import { FakeStorage } from "./fakes.mjs";

globalThis.crypto ??= webcrypto; // Node 18, Debian's, keeps it to itself

const identityIn = (storage) => new Identity(new Store(storage));

describe("the person of a browser", () => {
  test("has one secret in all windows, also in those that were opened before there was one", () => {
    const storage = new FakeStorage();
    const [one, two] = [identityIn(storage), identityIn(storage)];
    assert.match(one.token, /^[0-9a-f]{32}$/);
    assert.equal(two.token, one.token);
    assert.equal(identityIn(storage).token, one.token);
    assert.notEqual(identityIn(new FakeStorage()).token, one.token);
  });

  test("keeps the secret as long as the window lasts where nothing can be stored", () => {
    const one = identityIn(null);
    assert.equal(one.token, one.token);
    one.learn("id");
    assert.ok(one.owns("id"));
    assert.equal(one.nick, "");
  });

  test("knows the ids that the server has given to any of the windows before", () => {
    const storage = new FakeStorage();
    const [one, two] = [identityIn(storage), identityIn(storage)];
    one.learn("first");
    two.learn("second");
    const later = identityIn(storage);
    assert.deepEqual(["first", "second", "third"].map((id) => later.owns(id)), [true, true, false]);
    for (let i = 0; i < 300; i++) one.learn(`${i}`);
    assert.deepEqual(["first", "100", "299"].map((id) => identityIn(storage).owns(id)), [false, true, true]);
  });
});

describe("the frames of other pages", () => {
  const frame = (storage, more) => identityIn(new ScopedStorage(storage, { host: "https://shop.example", room: "", window: "1", nick: "", ...more }));

  test("are the person of the chat's own page", () => {
    const storage = new FakeStorage();
    const own = identityIn(storage);
    own.nick = "Ada";
    const framed = frame(storage, { room: "support" });
    assert.deepEqual([framed.token, framed.nick], [own.token, "Ada"]);
  });

  test("are a person of their own where the page gives the name", () => {
    const storage = new FakeStorage();
    const own = identityIn(storage);
    const [left, right] = ["1", "2"].map((window) => frame(storage, { window, nick: "Customer 7" }));
    left.nick = "Customer 7";
    assert.deepEqual([right.token, right.nick], [left.token, "Customer 7"]);
    const others = [own, frame(storage, { nick: "Customer 8" }), frame(storage, { nick: "Customer 7", host: "https://other.example" })];
    for (const other of others) assert.notEqual(other.token, left.token);
    assert.equal(own.nick, "");
  });
});
