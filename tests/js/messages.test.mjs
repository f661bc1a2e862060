import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  cleanNick, countChars, cut, hueOf, placeOf, privateHash, readBody, roomAt, roomHash, roomOf, sentAt, writeBody,
} from "../../static/protocol/messages.js";

const read = (body) => readBody({ body, bytes: new Uint8Array(3) });
const plain = { bytes: null, id: null, isAction: false };

describe("message bodies", () => {
  test("what the page writes it reads back", () => {
    for (const text of ["hello", "a\nb", '"}{', "<img src=x onerror=alert(1)>", "世界 😀", ""]) {
      for (const isAction of [false, true]) {
        const message = { nick: "Ada", text, id: "1f", isAction };
        assert.deepEqual(read(writeBody(message)), { ...message, bytes: null });
      }
    }
    assert.equal(writeBody({ nick: "Ada", text: "x", id: "1" }), '{"nick":"Ada","text":"x","id":"1"}');
  });

  test("anything else is plain text without a nickname", () => {
    for (const body of ["hello", "", "5", "null", "[]", '"x"', "{}", '{"nick":"a"}', '{"text":"a"}', '{"nick":1,"text":"a"}', '{"nick":"a","text":{}}', '{"nick":"a","text":"b"']) {
      assert.deepEqual(read(body), { ...plain, nick: null, text: body }, body);
    }
  });

  test("more keys do no harm, an empty nickname is none, an id is a short text", () => {
    assert.deepEqual(read('{"nick":"a","text":"b","x":1}'), { ...plain, nick: "a", text: "b" });
    assert.deepEqual(read('{"nick":" \\n","text":"b"}'), { ...plain, nick: null, text: "b" });
    for (const id of ["5", '""', "{}", "null", JSON.stringify("x".repeat(201))]) {
      assert.equal(read(`{"nick":"a","text":"b","id":${id}}`).id, null, id);
    }
  });

  test("a body that is not text is told by its length", () => {
    assert.deepEqual(read(Uint8Array.of(1, 2, 3)), { ...plain, nick: null, text: "", bytes: 3 });
  });

  test("the time of sending is a header, never in the future, null if nobody says it", () => {
    assert.equal(sentAt({ timestamp: "1000" }, 5000), 1000);
    assert.equal(sentAt({ timestamp: "9000" }, 5000), 5000);
    for (const timestamp of [undefined, "", "soon", "-5", "0", "1e3", "9".repeat(20)]) {
      assert.equal(sentAt({ timestamp }, 5000), null, timestamp);
    }
  });

  test("characters are counted as people count them", () => {
    assert.equal(countChars("a😀é"), 3);
  });
});

describe("nicknames", () => {
  test("are one line of at most 32 characters without control characters", () => {
    assert.equal(cleanNick("  Ada \n\t Lovelace\0 "), "Ada Lovelace");
    assert.equal(cleanNick("x".repeat(40)).length, 32);
    assert.equal(cleanNick(" \r\n "), "");
    assert.equal(cleanNick("\u202eevil\u2066\ufeff"), "evil");
    assert.equal(cleanNick("👩‍🚀 Zoë"), "👩‍🚀 Zoë");
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
    for (const hash of ["", "#", "#%20", "#...", "#*"]) {
      assert.deepEqual(roomOf(hash), { destination: "/topic/chat", name: null }, hash);
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
    assert.deepEqual(placeOf("#tea"), { destination: "/topic/chat.tea", name: "tea" });
    for (const nick of ["Bob", "Ada Lovelace", "a/b#c", "50%", "世界"]) {
      assert.deepEqual(placeOf(privateHash(nick)), { nick });
    }
    assert.deepEqual(placeOf("#%40Bob"), { nick: "Bob" });
    assert.deepEqual(placeOf("#@"), { destination: "/topic/chat", name: null });
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
