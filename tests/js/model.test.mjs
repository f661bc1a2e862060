import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { parseLine } from "../../static/model/commands.js";
import { Conversation } from "../../static/model/conversation.js";
import { mentions, mentionsIn } from "../../static/model/mentions.js";
import { Offsets } from "../../static/model/offsets.js";
import { ReadNotes } from "../../static/model/read-notes.js";
import { partsOf, safeUrl, searchPattern, split } from "../../static/model/richtext.js";
import { SeenIds } from "../../static/model/seen-ids.js";
import { ReadPositions, Store } from "../../static/model/storage.js";
import { FakeTimers } from "./broker.mjs";
import { FakeStorage } from "./fakes.mjs";

const NOON = new Date(2026, 4, 4, 12, 0, 0).getTime();
const MINUTE = 60000;
const DAY = 24 * 60 * MINUTE;

describe("commands", () => {
  for (const [line, expected] of [
    ["hello", { command: "say", text: "hello" }],
    ["//me", { command: "say", text: "/me" }],
    ["/", { command: "say", text: "/" }],
    ["/usr/bin/env", { command: "say", text: "/usr/bin/env" }],
    ["/me waves\nand goes", { command: "me", text: "waves\nand goes", missing: false }],
    ["/ME", { command: "me", text: "", missing: true }],
    ["/nick  Ada Lovelace ", { command: "nick", nick: "Ada Lovelace", missing: false }],
    ["/join #tea", { command: "join", room: "tea", missing: false }],
    ["/part", { command: "leave", room: "" }],
    ["/leave #tea", { command: "leave", room: "tea" }],
    ["/msg Bob hi there", { command: "msg", nick: "Bob", text: "hi there", missing: false }],
    ["/msg @Bob", { command: "msg", nick: "Bob", text: "", missing: false }],
    ['/msg "Bob B" a\nb', { command: "msg", nick: "Bob B", text: "a\nb", missing: false }],
    ["/msg", { command: "msg", nick: "", text: "", missing: true }],
    ["/help", { command: "help" }],
    ["/dance now", { command: "unknown", name: "dance" }],
  ]) {
    test(JSON.stringify(line), () => assert.deepEqual(parseLine(line), expected));
  }
});

describe("the parts of a text", () => {
  const links = (text) => partsOf(text).filter(({ url }) => url).map(({ text: words }) => words);

  test("are the text as it was", () => {
    for (const text of ["", "x", "a https://x.y/ b", "https://a https://b.", "@Ada and ada!", "<b>", "http://"]) {
      assert.equal(partsOf(text, "Ada").map((part) => part.text).join(""), text);
    }
  });

  test("have http and https links and no others", () => {
    assert.deepEqual(links("http://a.b https://c.d/e?f=g#h ftp://x javascript:alert(1) data:x mailto:a@b xhttp://no"), [
      "http://a.b",
      "https://c.d/e?f=g#h",
    ]);
    for (const bad of ["javascript:alert(1)", "data:text/html,x", "https://", "//x", "x", `https://x/${"y".repeat(2000)}`]) {
      assert.equal(safeUrl(bad), null, bad);
    }
  });

  test("leave to the sentence what is the sentence's", () => {
    assert.deepEqual(links('(https://a.b/c) "https://d.e" https://f.g. https://h.i/j_(k), https://l.m!? <https://n.o>'), [
      "https://a.b/c",
      "https://d.e",
      "https://f.g",
      "https://h.i/j_(k)",
      "https://l.m",
      "https://n.o",
    ]);
    for (const [text, link] of [
      ["(see [https://a.b/(c)].)", "https://a.b/(c)"],
      ["https://a.b/)(", "https://a.b/)("],
      ["https://a.b/((c)", "https://a.b/((c)"],
      ["https://a.b)...)...", "https://a.b"],
      ["https://[::1]/]", "https://[::1]/"],
      [`https://a.b${").".repeat(1900)}`, "https://a.b"],
    ]) {
      assert.deepEqual(links(text), [link], text);
    }
  });

  test("show where the reader is named, as a word of its own", () => {
    for (const text of ["Ada", "hi ada!", "@ADA?", "(Ada)", "to Ada: x"]) assert.ok(mentions(text, "Ada"), text);
    for (const text of ["Adam", "xAda", "Ada_2", "a d a", ""]) assert.ok(!mentions(text, "Ada"), text);
    assert.ok(mentions("what, a.b+c?", "a.b+c"));
    assert.ok(!mentions("axb+c", "a.b+c"));
    assert.ok(!mentions("x marks", "x") && mentions("@x marks", "x"));
    assert.ok(mentions("東京 さん", "東京"));
    assert.deepEqual(partsOf("hi @Ada https://ada.example", "Ada"), [
      { text: "hi " },
      { text: "@Ada", isMention: true },
      { text: " " },
      { text: "https://ada.example", url: "https://ada.example/" },
    ]);
  });

  test("name the reader in any form that the server takes for the same name", () => {
    for (const [nick, text] of [
      ["André", "hi andre\u0301!"],
      ["Andre\u0301", "ANDRÉ?"],
      ["anna", "ａｎｎａ, come"],
      ["Straße", "(STRASSE)"],
      ["fin", "ﬁn."],
      ["Ada  Lovelace", "to ada \n lovelace:"],
      ["anna", "an\u200dna and an\u034fna"],
      ["한국", "\u1112\u1161\u11ab\u1100\u116e\u11a8 !"],
      ["👩‍🚀 Zoë", "@👩🚀 zoë"],
    ]) {
      assert.ok(mentions(text, nick), text);
      assert.equal(partsOf(text, nick).map((part) => part.text).join(""), text);
    }
    for (const [nick, text] of [["Ada", "Ada\u0301"], ["i", "@ﬁ"], ["fi", "ﬁn"], ["f", "@ﬁ"], ["𝔸b", "x𝔸b"], ["b", "@𝔸@b"]]) {
      assert.ok(!mentions(text, nick), text);
    }
    assert.deepEqual(mentionsIn("@Ada, x@Ada @@Ada ada", "Ada"), [[0, 4], [18, 21]]);
    assert.deepEqual(mentionsIn("ada ada ada", "ada ada"), [[0, 7]]);
    assert.deepEqual([mentionsIn("", "a"), mentionsIn("a", ""), mentionsIn("a", "\u200d")], [[], [], []]);
  });

  test("can be searched for anything", () => {
    assert.equal(searchPattern("  "), null);
    assert.deepEqual(split("A.b a.B axb", searchPattern("a.b"), "isMatch"), [
      { text: "A.b", isMatch: true },
      { text: " " },
      { text: "a.B", isMatch: true },
      { text: " axb" },
    ]);
    for (const query of ["(", "[a", "\\", "*", "a{2", "-]"]) assert.ok(searchPattern(query).test(`x${query}y`), query);
  });
});

describe("the places of rows", () => {
  test("add up, and every height between has its row", () => {
    const offsets = new Offsets();
    const heights = Array.from({ length: 1000 }, (_, i) => 20 + ((i * 7) % 50));
    offsets.build(heights.length, (i) => heights[i]);
    let top = 0;
    for (const [i, height] of heights.entries()) {
      assert.equal(offsets.top(i), top);
      assert.equal(offsets.indexAt(top), i);
      assert.equal(offsets.indexAt(top + height - 1), i);
      top += height;
    }
    assert.equal(offsets.total, top);
    assert.equal(offsets.indexAt(-5), 0);
    assert.equal(offsets.indexAt(top + 500), 999);
    offsets.build(0, () => 1);
    assert.deepEqual([offsets.total, offsets.indexAt(0)], [0, -1]);
  });
});

describe("a conversation", () => {
  let talk;
  const message = (text, more = {}) => ({
    id: text, nick: "Bob", text, bytes: null, at: NOON, offset: null, isOwn: false, isAction: false, live: true, ...more,
  });
  const own = (id) => ({ id, text: id, isAction: false, at: NOON, refused: null, destination: "/topic/chat" });
  const shown = () => talk.display().map((row) => (row.kind === "message" ? row.text : row.kind));

  beforeEach(() => {
    talk = new Conversation({ destination: "/topic/chat", name: null });
  });

  test("groups by sender and minute, and begins each day", () => {
    const rows = [
      ["1", {}],
      ["2", { at: NOON + 59_000 }],
      ["3", { at: NOON + MINUTE }],
      ["4", { at: NOON + MINUTE, nick: "Eve" }],
      ["5", { at: NOON + MINUTE, nick: "Eve", isAction: true }],
      ["6", { at: NOON + MINUTE, nick: "Eve" }],
      ["7", { at: NOON + DAY, nick: "Eve" }],
      ["8", { at: NOON + DAY, nick: null }],
      ["9", { at: NOON + DAY, nick: null }],
    ];
    for (const [text, more] of rows) talk.add(message(text, more));
    assert.deepEqual(shown(), ["day", "1", "2", "3", "4", "5", "6", "day", "7", "8", "9"]);
    assert.deepEqual(talk.messages.filter(({ isContinued }) => isContinued).map(({ text }) => text), ["2"]);
  });

  test("takes an id once", () => {
    assert.notEqual(talk.add(message("1")), null);
    assert.equal(talk.add(message("1")), null);
    talk.add(message("x", { id: null }));
    talk.add(message("x", { id: null }));
    talk.addOlder([message("0"), message("1")]);
    assert.deepEqual(shown(), ["day", "0", "1", "x", "x"]);
  });

  test("keeps own messages at the end until they have a place", () => {
    talk.addPending(own("mine"), "Ada");
    talk.add(message("1"));
    assert.deepEqual(shown(), ["day", "1", "mine"]);
    assert.equal(talk.settle("mine", { epoch: "e", offset: 7 }), true);
    talk.add(message("2", { epoch: "e", offset: 8 }));
    assert.deepEqual(shown(), ["day", "1", "mine", "2"]);
    assert.equal(talk.settle("mine"), false);
    assert.equal(talk.add(message("mine")), null);
    assert.deepEqual(talk.lastPosition, { epoch: "e", offset: 8 });
  });

  test("groups what one person said, not what was said under one name", () => {
    for (const [text, senderId] of [["1", "a"], ["2", "a"], ["3", "b"], ["4", null], ["5", null]]) {
      talk.add(message(text, { senderId }));
    }
    assert.deepEqual(shown(), ["day", "1", "2", "3", "4", "5"]);
    assert.deepEqual(talk.messages.filter(({ isContinued }) => isContinued).map(({ text }) => text), ["2", "5"]);
  });

  test("keeps the server's order: its numbers, or where there are none its time", () => {
    const numbered = (offset, at, epoch = "e") => talk.add(message(`${epoch}${offset}`, { epoch, offset, at }));
    numbered(5, NOON);
    numbered(7, NOON + 2);
    talk.addNotice("something");
    numbered(6, NOON + 1);
    assert.deepEqual(shown(), ["day", "e5", "e6", "e7", "notice"]);
    // Numbers of another epoch tell nothing; the time does.
    numbered(0, NOON + 1, "f");
    numbered(1, NOON + 10, "f");
    assert.deepEqual(shown(), ["day", "e5", "e6", "f0", "e7", "notice", "f1"]);
    // Without history all come in order, even while the server's clock is set back.
    talk.add(message("x", { at: NOON + 20 }));
    talk.add(message("y", { at: NOON + 11 }));
    assert.deepEqual(shown().slice(-2), ["x", "y"]);
  });

  test("has one line for each day, at its beginning, and a line of its own for a day that comes again", () => {
    talk.add(message("1", { at: NOON }));
    talk.add(message("2", { at: NOON + DAY }));
    talk.add(message("3", { at: NOON }));
    talk.add(message("4", { at: NOON + DAY }));
    assert.deepEqual(shown(), ["day", "1", "day", "2", "day", "3", "day", "4"]);
    const rows = talk.display();
    assert.equal(new Set(rows).size, rows.length, "a row cannot stand in two places");
    assert.equal(talk.display()[0], rows[0]);
    // Older messages of the same day leave its line where it was: on top.
    const [line] = rows;
    talk.addOlder([message("0", { at: NOON - MINUTE })]);
    assert.equal(talk.display()[0], line);
    assert.deepEqual(shown().slice(0, 3), ["day", "0", "1"]);
  });

  test("begins a day with the first message of that day, not with a notice or what waits since yesterday", () => {
    talk.addPending({ ...own("waits"), at: NOON - DAY }, "Ada");
    talk.add(message("1"));
    talk.addNotice("something");
    assert.deepEqual(shown(), ["day", "1", "notice", "waits"]);
    talk.addPending({ ...own("after midnight"), at: NOON + DAY }, "Ada");
    assert.deepEqual(shown(), ["day", "1", "notice", "waits", "day", "after midnight"]);
    talk.settle("waits", { at: NOON + DAY });
    assert.deepEqual(shown(), ["day", "1", "notice", "day", "waits", "after midnight"]);
  });

  test("marks the first unread message until the reader has been there and left", () => {
    talk.add(message("1"));
    for (const text of ["2", "3"]) talk.countUnread(talk.add(message(text)), text === "3");
    assert.deepEqual([talk.unread, talk.mentions], [2, 1]);
    assert.deepEqual(shown(), ["day", "1", "mark", "2", "3"]);
    talk.leave();
    assert.equal(shown().includes("mark"), true, "nobody has read it");
    talk.read();
    assert.deepEqual(shown(), ["day", "1", "mark", "2", "3"]);
    talk.leave();
    assert.deepEqual(shown(), ["day", "1", "2", "3"]);
  });

  test("tells the version of what changed", () => {
    talk.addPending(own("mine"), "Ada");
    const [, row] = talk.display();
    const before = row.version;
    talk.refuse("mine", "no");
    assert.ok(row.version > before);
    assert.deepEqual([row.state, row.reason], ["refused", "no"]);
    talk.remove("mine");
    assert.equal(talk.isEmpty, true);
  });

  test("is empty while there is nothing to read but one short notice", () => {
    assert.equal(talk.isEmpty, true);
    talk.addNotice("one");
    assert.equal(talk.isEmpty, true);
    talk.addNotice("two");
    assert.equal(talk.isEmpty, false);
    const helped = new Conversation({ destination: "/topic/chat", name: null });
    helped.addNotice("/me waves\n/nick NAME");
    assert.equal(helped.isEmpty, false);
  });

  test("does not grow without end, and loses the oldest", () => {
    for (let i = 0; i < 20001; i++) talk.add(message(`${i}`));
    const { messages } = talk;
    assert.equal(messages.length, 18001);
    assert.equal(messages.at(-1).text, "20000");
    assert.equal(messages[0].text, "2000");
  });
});

describe("what was read", () => {
  test("is stored for each room, a little later, or when the page is left", () => {
    const positions = new ReadPositions(new Store(new FakeStorage()));
    const timers = new FakeTimers();
    const notes = new ReadNotes(positions, timers);
    const room = (name, offset) => ({ destination: `/topic/chat.${name}`, lastPosition: { epoch: "e", offset } });
    notes.note(room("tea", 1));
    notes.note(room("milk", 2));
    notes.note(room("tea", 3));
    notes.note({ destination: "/topic/chat.empty", lastPosition: null });
    assert.equal(timers.pending.size, 1);
    assert.equal(positions.of("/topic/chat.tea"), null);
    timers.run();
    assert.deepEqual(["tea", "milk"].map((name) => positions.of(`/topic/chat.${name}`).offset), [3, 2]);
    notes.note(room("tea", 4));
    notes.store();
    assert.equal(positions.of("/topic/chat.tea").offset, 4);
    assert.equal(timers.pending.size, 0);
  });
});

describe("the storage", () => {
  test("gives what was put in, and the other thing where that is broken", () => {
    const storage = new FakeStorage();
    const store = new Store(storage);
    store.setJson("rooms", ["tea"]);
    assert.deepEqual(store.getJson("rooms", []), ["tea"]);
    for (const broken of ["", "{", "5", "null", '{"a":1}']) {
      store.set("rooms", broken);
      assert.deepEqual(store.getJson("rooms", []), []);
    }
    const none = new Store(null);
    none.set("x", "y");
    assert.equal(none.get("x"), "");
  });

  test("knows how far a room was read, and never goes back", () => {
    const readPositions = new ReadPositions(new Store(new FakeStorage()));
    assert.equal(readPositions.of("/topic/chat"), null);
    readPositions.note("/topic/chat", "e", 5);
    readPositions.note("/topic/chat", "e", 3);
    readPositions.note("/topic/chat.b", "e", 9);
    assert.deepEqual(readPositions.of("/topic/chat"), { epoch: "e", offset: 5 });
    readPositions.note("/topic/chat", "f", 0);
    assert.deepEqual(readPositions.of("/topic/chat"), { epoch: "f", offset: 0 });
  });
});

describe("seen ids", () => {
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
