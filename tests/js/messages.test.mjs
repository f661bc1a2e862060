import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { readBody, stampedAt, writeBody } from "../../static/protocol/messages.js";

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

  test("the time is the server's, null if it says none", () => {
    assert.equal(stampedAt({ timestamp: "1000" }), 1000);
    for (const timestamp of [undefined, "", "soon", "-5", "0", "1e3", "9".repeat(20)]) {
      assert.equal(stampedAt({ timestamp }), null, timestamp);
    }
  });
});
