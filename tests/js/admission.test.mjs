import assert from "node:assert/strict";
import { test } from "node:test";

import { askAdmission } from "../../static/protocol/admission.js";

const answering = (body, ok = true) => async () => ({ ok, json: async () => body });

test("the page's own address is asked for", async () => {
  const asked = [];
  await askAdmission("https://chat.example:8443", async (address, options) => {
    asked.push(address, options.cache, options.credentials);
    return { ok: true, json: async () => ({ lacking: [] }) };
  });
  assert.deepEqual(asked, ["/embed/check?page=https%3A%2F%2Fchat.example%3A8443", "no-store", "omit"]);
});

test("a page is refused if a rule is lacking", async () => {
  assert.equal(await askAdmission("https://a", answering({ lacking: ["a"] })), "refused");
  assert.equal(await askAdmission("https://a", answering({ lacking: [] })), "");
});

test("rules may ask for a user", async () => {
  assert.equal(await askAdmission("https://a", answering({ lacking: [], asks: true })), "asks");
  assert.equal(await askAdmission("https://a", answering({ lacking: ["a"], asks: true })), "refused");
});

test("a server that does not answer so has refused nothing", async () => {
  const fails = async () => {
    throw new TypeError("no network");
  };
  const bodies = [{}, null, { lacking: "a" }, { lacking: [], asks: "no" }];
  for (const fetch of [fails, ...bodies.map((body) => answering(body)), answering({ lacking: ["a"] }, false)]) {
    assert.equal(await askAdmission("https://a", fetch), "");
  }
});
