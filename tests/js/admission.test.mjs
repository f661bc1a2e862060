import assert from "node:assert/strict";
import { test } from "node:test";

import { isRefused } from "../../static/protocol/admission.js";

const answering = (body, ok = true) => async () => ({ ok, json: async () => body });

test("the page's own address is asked for", async () => {
  const asked = [];
  await isRefused("https://chat.example:8443", async (address, options) => {
    asked.push(address, options.cache, options.credentials);
    return { ok: true, json: async () => ({ lacking: [] }) };
  });
  assert.deepEqual(asked, ["/embed/check?page=https%3A%2F%2Fchat.example%3A8443", "no-store", "omit"]);
});

test("a page is refused if a rule is lacking", async () => {
  assert.equal(await isRefused("https://a", answering({ lacking: ["a"] })), true);
  assert.equal(await isRefused("https://a", answering({ lacking: [] })), false);
});

test("a server that does not answer so has refused nothing", async () => {
  const fails = async () => {
    throw new TypeError("no network");
  };
  for (const fetch of [fails, answering({}), answering(null), answering({ lacking: "a" }), answering({ lacking: ["a"] }, false)]) {
    assert.equal(await isRefused("https://a", fetch), false);
  }
});
