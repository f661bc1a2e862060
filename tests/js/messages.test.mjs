import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { cleanNick, cut, hueOf, readBody, roomOf, writeBody } from "../../static/messages.js";

const read = (body) => readBody({ body, bytes: new Uint8Array(3) });

describe("message bodies", () => {
  test("what the page writes it reads back", () => {
    for (const text of ["hello", "a\nb", '"}{', "<img src=x onerror=alert(1)>", "世界 😀", ""]) {
      assert.deepEqual(read(writeBody("Ada", text)), { nick: "Ada", text, bytes: null });
    }
  });

  test("anything else is plain text without a nickname", () => {
    for (const body of ["hello", "", "5", "null", "[]", '"x"', "{}", '{"nick":"a"}', '{"text":"a"}', '{"nick":1,"text":"a"}', '{"nick":"a","text":{}}', '{"nick":"a","text":"b"']) {
      assert.deepEqual(read(body), { nick: null, text: body, bytes: null }, body);
    }
  });

  test("more keys than two do no harm, an empty nickname is none", () => {
    assert.deepEqual(read('{"nick":"a","text":"b","x":1}'), { nick: "a", text: "b", bytes: null });
    assert.deepEqual(read('{"nick":" \\n","text":"b"}'), { nick: null, text: "b", bytes: null });
  });

  test("a body that is not text is told by its length", () => {
    assert.deepEqual(read(Uint8Array.of(1, 2, 3)), { nick: null, text: "", bytes: 3 });
  });
});

describe("nicknames", () => {
  test("are one line of at most 32 characters without control characters", () => {
    assert.equal(cleanNick("  Ada \n\t Lovelace\0 "), "Ada Lovelace");
    assert.equal(cleanNick("x".repeat(40)).length, 32);
    assert.equal(cleanNick(" \r\n "), "");
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
