import assert from "node:assert/strict";
import { test } from "node:test";
import { askWho, logIn, logOut } from "../../static/protocol/login.js";

/** A server that answers requests in turn; `asked` is what it got. */
function server(...answers) {
  const asked = [];
  const fetch = async (address, { method = "GET", headers, body, cache, signal }) => {
    asked.push({ address, method, accept: headers.Accept, body: body?.toString(), cache, signal });
    const [status, value] = answers.shift();
    if (value instanceof Error) throw value;
    return { status, ok: status >= 200 && status < 300, json: async () => JSON.parse(JSON.stringify(value)) };
  };
  return { fetch, asked };
}

test("one asks who one is", async () => {
  const { fetch, asked } = server([200, { user: "ada", form: "token" }]);
  assert.deepEqual(await askWho({ fetch }), { user: "ada", form: "token" });
  assert.deepEqual([asked[0].address, asked[0].accept, asked[0].cache], ["/login", "application/json", "no-store"]);
});

test("a server without a form, or without a log-in, has no form", async () => {
  for (const answer of [[200, { user: "", form: "" }], [404, null], [200, { user: 7, form: null }], [200, {}]]) {
    assert.deepEqual(await askWho(server(answer)), { user: "", form: "" });
  }
});

test("a server that does not answer has not said who one is", async () => {
  for (const answer of [[500, null], [503, null], [0, new TypeError("no network")]]) {
    await assert.rejects(askWho(server(answer)));
  }
});

test("name and password are in the body of one request, with a form of that moment", async () => {
  const { fetch, asked } = server([200, { user: "", form: "a&b" }], [200, { user: "ada", form: "next" }]);
  const { signal } = new AbortController();
  assert.deepEqual(await logIn({ name: "ada", password: "p&=ss wörd" }, { fetch, signal }), { user: "ada", problem: "" });
  const [question, form] = asked;
  assert.deepEqual([question.method, question.body], ["GET", undefined]);
  assert.deepEqual([form.address, form.method, form.accept], ["/login", "POST", "application/json"]);
  assert.deepEqual([...new URLSearchParams(form.body)], [["name", "ada"], ["password", "p&=ss wörd"], ["form", "a&b"]]);
  assert.equal(form.signal, signal);
});

for (const [what, problem, answer] of [
  ["a wrong password", "wrong", [403, { user: "", problem: "The name or the password is wrong. …" }]],
  ["a browser without cookies", "form", [403, { user: "", problem: "…", reason: "form" }]],
  ["a server that is busy", "busy", [503, null]],
  ["a server with a fault", "busy", [500, null]],
  ["an answer without a user", "busy", [200, {}]],
  ["no answer", "silent", [0, new TypeError("no network")]],
]) {
  test(`${what} is told apart`, async () => {
    const { fetch } = server([200, { user: "", form: "token" }], answer);
    assert.deepEqual(await logIn({ name: "ada", password: "x" }, { fetch }), { user: "", problem });
  });
}

test("a server that is gone before the form was there does not answer", async () => {
  assert.deepEqual(await logIn({ name: "a", password: "b" }, server([0, new TypeError("no network")])), { user: "", problem: "silent" });
});

test("logging out tells who one is all the same", async () => {
  const { fetch, asked } = server([200, { user: "ada", form: "token" }], [200, { user: "" }], [200, { user: "", form: "t" }]);
  assert.equal(await logOut({ fetch }), "");
  assert.deepEqual([asked[1].address, asked[1].method, asked[1].body], ["/logout", "POST", "form=token"]);
  const site = server([200, { user: "ada", form: "token" }], [200, { user: "" }], [200, { user: "ada", form: "t" }]);
  assert.equal(await logOut(site), "ada");
  await assert.rejects(logOut(server([200, { user: "ada", form: "t" }], [403, { problem: "x" }])));
});
