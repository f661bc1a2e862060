/** The time that texts take, in V8; tests/live/test_page_effort.py has the other engines. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { partsOf } from "../../static/model/richtext.js";
import { fault, measure } from "./effort.mjs";

test("no text takes more time than its length explains", () => {
  const { count, faults } = measure();
  assert.deepEqual(faults, []);
  assert.ok(count > 5000, `only ${count} were measured`);
});

test("what grows with the square of a text is found, and what grows with the text is not", () => {
  const make = (length) => "a".repeat(length);
  let sum = 0;
  const look = (text, times) => {
    for (let i = 0; i < times; i++) sum += text.charCodeAt(i % text.length);
  };
  assert.match(String(fault("the square", (text) => look(text, text.length ** 2 / 4), make, 2500)), /^the square: .* times as long/);
  assert.equal(fault("the length", (text) => look(text, text.length * 2000), make, 2500), null);
  assert.ok(sum > 0);
});

test("a text has a bounded number of links, mentions and marks, and stays whole", () => {
  const units = ["http://a.b ", "@anna ", "http://a.b @anna ", `http://a.b ${"@anna ".repeat(30)}`];
  for (const unit of units) {
    const text = unit.repeat(1400);
    const parts = partsOf(text, "Anna");
    assert.equal(parts.map((part) => part.text).join(""), text);
    assert.ok(parts.length < 2000, `${parts.length} parts`);
    assert.ok(parts.filter(({ url }) => url).length <= 200);
    assert.ok(parts.filter(({ isMention }) => isMention).length <= 200);
    assert.ok(parts.some(({ url, isMention }) => url !== undefined || isMention));
  }
});
