import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { addressOf, privateHash, roomAt, roomHash, roomNamed, roomOf } from "../../static/model/addresses.js";
import { lookalikes, mixesAlphabets } from "../../static/model/lookalikes.js";
import { chosenNick, cleanNick, hueOf, sameNick } from "../../static/model/nicknames.js";
import { countChars, cut } from "../../static/model/text.js";

test("characters are counted as people count them", () => {
  assert.equal(countChars("a😀é"), 3);
});

describe("nicknames", () => {
  test("are one line of at most 32 characters without control characters", () => {
    assert.equal(cleanNick("  Ada \n\t Lovelace\0 "), "Ada Lovelace");
    assert.equal(chosenNick("x".repeat(40)).length, 32);
    assert.equal(cleanNick(" \r\n "), "");
    assert.equal(cleanNick("\u202eevil\u2066\ufeff"), "evil");
    assert.equal(cleanNick("👩‍🚀 Zoë"), "👩‍🚀 Zoë");
    for (const unseen of ["\u034f", "\u115f", "\u3164", "\uffa0", "\u2800", "\ud800", "\u17b4", "\u{e0041}"]) {
      assert.equal(cleanNick(`an${unseen}na`), "anna", unseen.codePointAt(0).toString(16));
    }
    assert.equal(cleanNick("葛\u{e0100}❤\ufe0f"), "葛\u{e0100}❤\ufe0f");
  });

  test("of other people are not cut, so that two do not become one", () => {
    assert.notEqual(cleanNick(`${"x".repeat(40)}1`), cleanNick(`${"x".repeat(40)}2`));
    assert.equal(cleanNick("👋".repeat(32)), "👋".repeat(32));
  });

  test("are the same in any case of letters", () => {
    assert.ok(sameNick("ADA", "ada") && sameNick("ａｄａ", "ada") && !sameNick("ada", "adam"));
    assert.ok(sameNick("Straße", "STRASSE") && sameNick("ΟΔΌΣ", "οδός") && !sameNick("ılık", "ilik"));
    assert.ok(sameNick("A  B", "a b") && sameNick("A\u200db❤\ufe0f", "ab❤"));
    assert.ok(sameNick("André", "Andre\u200d\u0301") && sameNick("André", "Andre\ufe0f\u0301"));
    assert.ok(sameNick("anna", "an\u034fn\u3164a\u2800") && sameNick("葛", "葛\u{e0100}"));
  });

  test("have one colour of eight, in any case of letters", () => {
    assert.equal(hueOf("Ada"), hueOf("ada"));
    const hues = new Set(Array.from({ length: 200 }, (_, i) => hueOf(`nick${i}`)));
    assert.deepEqual([...hues].sort(), [0, 1, 2, 3, 4, 5, 6, 7]);
  });
});

test("cut() never leaves half of a character", () => {
  assert.equal(cut("abc", 3), "abc");
  assert.equal(cut("abcd", 3), "abc");
  assert.equal(cut("ab😀", 3), "ab");
  assert.equal(cut("ab😀", 4), "ab😀");
});

describe("rooms", () => {
  test("no name is the lobby", () => {
    for (const hash of ["", "#", "#%20", "#lobby", "#Lobby", "#LOBBY"]) {
      assert.deepEqual(roomOf(hash), { destination: "/topic/chat", name: null }, hash);
    }
  });

  test("a text without anything for a name is refused", () => {
    for (const text of ["...", "*", "!?", ">", "#", "\u0301", "\u200d"]) {
      assert.deepEqual(roomNamed(text), { destination: "/topic/chat", name: null, isRefused: true }, text);
    }
  });

  test("one name has one room, in whatever case and Unicode form", () => {
    for (const [name, others] of [
      ["tea", ["Tea", "TEA", "ｔｅａ", "t\u200bea", "tea\ufe0f", "\u202etea", "t\u034fe\u3164a\u2800", "tea\u{e0100}"]],
      ["café", ["cafe\u0301", "CAFÉ", "CAFE\u0301", "cafe\u200b\u0301", "cafe\u200d\u0301"]],
      ["strasse", ["straße", "STRASSE", "STRAẞE"]],
      ["οδός", ["ΟΔΌΣ", "οδόσ"]],
      ["한국", ["\u1112\u1161\u11ab\u1100\u116e\u11a8"]],
      ["ılık", ["ılık"]],
      ["green-tea", ["Green Tea", "green  tea", "-Green-Tea-"]],
      ["👍", ["👍", "👍\ufe0f"]],
      ["👍🏽", ["👍🏽"]],
      ["👨‍👩‍👧", ["👨‍👩‍👧"]],
      ["c++", ["C++"]],
      ["🇩🇪", ["🇩🇪"]],
      ["∞", ["∞"]],
    ]) {
      for (const text of [name, ...others]) {
        assert.deepEqual(roomNamed(text), { destination: `/topic/chat.${name}`, name }, JSON.stringify(text));
        assert.deepEqual(roomOf(`#${encodeURIComponent(text)}`), roomNamed(text));
      }
      assert.deepEqual(roomOf(roomHash(name)).name, name);
    }
    assert.notEqual(roomNamed("👨‍👩‍👧").name, roomNamed("👨👩👧").name);
    assert.notEqual(roomNamed("ılık").name, roomNamed("ilik").name);
  });

  test("a name is the same when it is read again, in capitals or decomposed", () => {
    for (let code = 0; code <= 0x1ffff; code++) {
      if (code >= 0xd800 && code <= 0xdfff) continue; // halves of characters
      const text = `a${String.fromCodePoint(code)}b`;
      const { name } = roomNamed(text);
      const others = [name, text.normalize("NFD"), ...(text === "aıb" ? [] : [text.toUpperCase()])];
      for (const other of others) assert.equal(roomNamed(other).name, name, `U+${code.toString(16)}: ${other}`);
    }
  });

  test("a name is a topic below the lobby's", () => {
    assert.deepEqual(roomOf("#tea"), { destination: "/topic/chat.tea", name: "tea" });
    assert.deepEqual(roomOf("#team.blue_2"), { destination: "/topic/chat.team.blue_2", name: "team.blue_2" });
    assert.equal(roomOf("#caf%C3%A9").name, "café");
  });

  test("a name cannot subscribe to other rooms or write another header", () => {
    for (const hash of ["#*", "#a.*", "#>", "#a.>", "##", "#a/b", "#a%0Ab:c", "#a%00", "#.a..b.", "#%zz%23", `#${"x".repeat(999)}`]) {
      assert.match(roomOf(hash).destination, /^\/topic\/chat(\.[\p{L}\p{N}_-]{1,64})*$/u, hash);
    }
  });
});

describe("addresses", () => {
  test("lead to a room or to a person, and back", () => {
    assert.deepEqual(addressOf("#tea"), { destination: "/topic/chat.tea", name: "tea" });
    for (const nick of ["Bob", "Ada Lovelace", "a/b#c", "50%", "世界"]) {
      assert.deepEqual(addressOf(privateHash(nick)), { nick });
    }
    assert.deepEqual(addressOf("#%40Bob"), { nick: "Bob" });
    assert.deepEqual(addressOf("#@"), { destination: "/topic/chat", name: null });
    for (const name of [null, "tea", "café", "team.blue_2"]) assert.equal(roomOf(roomHash(name)).name, name);
  });

  test("only destinations that an address can name are rooms", () => {
    assert.deepEqual(roomAt("/topic/chat"), { destination: "/topic/chat", name: null });
    assert.deepEqual(roomAt("/topic/chat.tea"), { destination: "/topic/chat.tea", name: "tea" });
    for (const other of ["/topic/typing", "/topic/chatter", "/topic/chat.", "/topic/chat.a b", "/queue/chat.a", "/topic/chat.*"]) {
      assert.equal(roomAt(other), null, other);
    }
  });
});

describe("rooms that may be taken for others", () => {
  test("have a word of several alphabets", () => {
    for (const name of ["t\u0435a", "te\u03b1", "green-t\u0435a", "\u0441offee", "tea\u05d0", "чай東京"]) {
      assert.ok(mixesAlphabets(name), name);
    }
    for (const name of ["tea", "чай", "tea-чай", "東京tokyo", "日本のお茶", "café", "tea2", "🍵", "שלום", "한국어abc", "ελλάδα"]) {
      assert.ok(!mixesAlphabets(name), name);
    }
  });

  test("look like another one", () => {
    const cyrillic = "\u0441\u043e\u0440";
    assert.deepEqual(lookalikes(["cop", "tea", cyrillic, "чай"]), new Set(["cop", cyrillic]));
    assert.deepEqual(lookalikes(["tea", "t\u0435a", "tee"]), new Set(["tea", "t\u0435a"]));
    assert.deepEqual(lookalikes(["tea", "tea", "Lobby", "чай"]), new Set());
  });
});
