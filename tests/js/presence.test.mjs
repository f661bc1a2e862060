import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { People, RoomDirectory } from "../../static/protocol/presence.js";
import { Stream } from "../../static/protocol/stream.js";
import { BELIEVE_MS, SAY_EVERY_MS, Typing, typingDestination } from "../../static/protocol/typing.js";

const frame = (value) => ({ body: typeof value === "string" ? value : JSON.stringify(value) });
const ada = { id: "1", nick: "ada" };
const bob = { id: "2", nick: "Bob" };

describe("people", () => {
  test("come, go and change their names", () => {
    const people = new People();
    assert.equal(people.isKnown, false);
    assert.deepEqual(people.take(frame({ event: "here", people: [bob, ada] })), { event: "here" });
    assert.deepEqual(people.nicks, ["Bob", "ada"]);
    assert.deepEqual(people.list, [ada, bob]);
    assert.equal(people.take(frame({ event: "join", person: { id: "3", nick: "Eve" } })).event, "join");
    assert.deepEqual(people.take(frame({ event: "leave", person: ada })), { event: "leave", person: ada });
    assert.equal(people.take(frame({ event: "leave", person: ada })), null);
    const renamed = people.take(frame({ event: "rename", person: { id: "2", nick: "Rob" }, before: "Bob" }));
    assert.deepEqual([renamed.before, renamed.person.nick], ["Bob", "Rob"]);
    assert.deepEqual(people.nicks, ["Rob", "Eve"]);
    people.take(frame({ event: "here", people: [ada] }));
    assert.deepEqual(people.nicks, ["ada"]);
  });

  test("of nonsense nothing is taken", () => {
    const people = new People();
    for (const body of ["", "{", "null", "5", "[]", '{"event":"join"}', '{"event":"join","person":{"nick":5}}', '{"event":"x","person":{"id":"1","nick":"a"}}']) {
      assert.equal(people.take(frame(body)), null, body);
    }
    assert.equal(people.take({ body: Uint8Array.of(1) }), null);
    people.take(frame({ event: "here", people: [null, {}, { nick: "  " }, ada] }));
    assert.deepEqual(people.list, [ada]);
  });
});

test("rooms have people, change, and are forgotten", () => {
  const rooms = new RoomDirectory();
  const tea = { destination: "/topic/chat.tea", people: 2 };
  assert.equal(rooms.take(frame({ event: "here", rooms: [tea, { destination: 5 }, null] })), true);
  assert.equal(rooms.take(frame({ event: "rooms", rooms: [{ ...tea, people: 0 }] })), true);
  assert.equal(rooms.take(frame("[]")), false);
  assert.deepEqual([rooms.destinations, rooms.peopleIn("/topic/chat.tea"), rooms.peopleIn("/x")], [["/topic/chat.tea"], 0, 0]);
  rooms.clear();
  assert.deepEqual(rooms.destinations, []);
});

test("of many rooms without people the latest are remembered, and all that have people", () => {
  const rooms = new RoomDirectory();
  const room = (number, people) => ({ destination: `/topic/chat.${number}`, people });
  rooms.take(frame({ event: "here", rooms: [room("full", 3)] }));
  for (let number = 0; number < 500; number++) rooms.take(frame({ event: "rooms", rooms: [room(number, 0)] }));
  assert.equal(rooms.destinations.length, 101);
  assert.equal(rooms.peopleIn("/topic/chat.full"), 3);
  assert.equal(rooms.destinations.at(-1), "/topic/chat.499");
});

describe("typing", () => {
  test("is said now and then", () => {
    const typing = new Typing();
    assert.equal(typing.isDue("/a", 1000), true);
    assert.equal(typing.isDue("/a", 1000 + SAY_EVERY_MS - 1), false);
    assert.equal(typing.isDue("/b", 1000), true);
    assert.equal(typing.isDue("/a", 1000 + SAY_EVERY_MS), true);
  });

  test("is believed for a while, of a few people, and not of oneself", () => {
    const typing = new Typing();
    for (const body of ["x", "null", '{"nick":5,"typing":true}', '{"nick":"a"}', '{"nick":" ","typing":true}']) typing.hear(body, 0);
    typing.hear('{"nick":"Bob","typing":true}', 0);
    typing.hear('{"nick":"ADA","typing":true}', 0);
    assert.deepEqual(typing.now(BELIEVE_MS - 1, "Ada"), ["Bob"]);
    assert.deepEqual(typing.now(BELIEVE_MS, "Ada"), []);
    for (let i = 0; i < 500; i++) typing.hear(`{"nick":"n${i}","typing":true}`, 0);
    assert.equal(typing.now(1, "Ada").length, 50);
    typing.stop("N0");
    assert.equal(typing.now(1, "Ada").length, 49);
  });

  test("has a destination beside the room's", () => {
    assert.equal(typingDestination("/topic/chat"), "/topic/typing");
    assert.equal(typingDestination("/topic/chat.tea"), "/topic/typing.tea");
  });
});

describe("a stream", () => {
  const message = (offset, epoch = "e") => ({ "x-stream-offset": String(offset), "x-stream-epoch": epoch });
  const receipt = (next, epoch = "e", more = {}) => ({ ...message(next, epoch), ...more });

  test("of a server without history takes everything and asks for nothing", () => {
    const stream = new Stream();
    assert.deepEqual(stream.headers(), { "x-stream-offset": "next" });
    assert.equal(stream.probed({ "receipt-id": "1" }), false);
    assert.deepEqual([stream.isCaughtUp, stream.take({}), stream.take({}), stream.hasOlder], [true, true, true, false]);
    assert.deepEqual(stream.headers(), { "x-stream-offset": "next" });
  });

  test("begins some way back and goes on behind the last one", () => {
    const stream = new Stream();
    assert.equal(stream.take(message(1000)), false); // comes again with the replay
    assert.equal(stream.probed(receipt(1000)), true);
    assert.deepEqual(stream.headers(), { "x-stream-epoch": "e", "x-stream-offset": "offset=700" });
    assert.equal(stream.isCaughtUp, false);
    for (let offset = 700; offset < 1001; offset++) assert.equal(stream.take(message(offset)), true);
    assert.equal(stream.take(message(1000)), false);
    assert.equal(stream.isCaughtUp, true);
    assert.deepEqual(stream.headers(), { "x-stream-epoch": "e", "x-stream-offset": "offset=1001" });
    assert.equal(stream.continued(receipt(1001, "e", { "x-stream-recovered": "true" })), true);
    assert.equal(stream.isCaughtUp, true);
    assert.equal(stream.continued(receipt(1003, "e", { "x-stream-recovered": "false" })), false);
    assert.equal(stream.isCaughtUp, false);
    stream.giveUp();
    assert.equal(stream.isCaughtUp, true);
  });

  test("reads back to where it was read, within reason", () => {
    for (const [read, from] of [[null, 9700], [9990, 9700], [9000, 8981], [0, 5000], [20000, 9700]]) {
      const stream = new Stream();
      stream.probed(receipt(10000), read === null ? null : { epoch: "e", offset: read });
      assert.equal(stream.next, from, String(read));
    }
    const other = new Stream();
    other.probed(receipt(10000), { epoch: "of another time", offset: 100 });
    assert.equal(other.next, 9700);
  });

  test("begins anew with another epoch", () => {
    const stream = new Stream();
    stream.probed(receipt(5));
    for (let offset = 0; offset < 5; offset++) stream.take(message(offset));
    assert.equal(stream.continued(receipt(2, "f", { "x-stream-recovered": "false" })), false);
    assert.deepEqual([stream.take(message(0, "f")), stream.take(message(1, "f")), stream.take(message(1, "f"))], [true, true, false]);
    assert.equal(stream.isCaughtUp, true);
    assert.equal(stream.hasOlder, false);
  });

  test("knows when nothing older is left", () => {
    const stream = new Stream();
    stream.probed(receipt(1000));
    stream.take(message(700));
    assert.equal(stream.hasOlder, true);
    assert.deepEqual(stream.olderBlock(500), {
      end: 700,
      from: 200,
      headers: { "x-stream-offset": "offset=200", ack: "client-individual", "prefetch-count": "500" },
    });
    stream.addedOlder(200, 200);
    assert.equal(stream.hasOlder, true);
    stream.addedOlder(0, 150); // the ones before are gone
    assert.equal(stream.hasOlder, false);
    const trimmed = new Stream();
    trimmed.probed(receipt(1000));
    trimmed.take(message(900)); // 700 was asked for
    assert.equal(trimmed.hasOlder, false);
  });
});
