/** What a frame in a page of another server may keep of the person who is logged in. */

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

globalThis.location = { pathname: "/embed", search: "?host=http://shop.example&room=news&window=1&nick=Guest" };
const { canLogIn, embedContext, forgetPerson, sharedStorageOf } = await import("../../static/embed/context.js");

/** A browser's Storage. */
class FullStorage {
  items = new Map();
  get length() {
    return this.items.size;
  }
  key(index) {
    return [...this.items.keys()][index] ?? null;
  }
  getItem(key) {
    return this.items.get(key) ?? null;
  }
  setItem(key, value) {
    this.items.set(key, String(value));
  }
  removeItem(key) {
    this.items.delete(key);
  }
}

/** A document whose browser keeps cookies, or does not. */
function documentThat(isKeeping) {
  const cookies = new Map([["other", "1"]]);
  return {
    set cookie(text) {
      const [pair, ...attributes] = text.split("; ");
      const [name, value] = pair.split("=");
      assert.ok(attributes.includes("SameSite=Lax"), "the cookie of a log-in is one of those");
      if (attributes.includes("Max-Age=0")) cookies.delete(name);
      else if (isKeeping) cookies.set(name, value);
    },
    get cookie() {
      return [...cookies].map((pair) => pair.join("=")).join("; ");
    },
  };
}

beforeEach(() => {
  globalThis.localStorage = new FullStorage();
  globalThis.sessionStorage = new FullStorage();
  globalThis.parent = [];
});

test("a log-in is possible where the browser keeps cookies of this site, and the question leaves none", () => {
  globalThis.document = documentThat(true);
  assert.equal(canLogIn(), true);
  assert.equal(document.cookie, "other=1");
  globalThis.document = documentThat(false);
  assert.equal(canLogIn(), false);
  globalThis.document = {
    get cookie() {
      throw new Error("SecurityError");
    },
    set cookie(_) {
      throw new Error("SecurityError");
    },
  };
  assert.equal(canLogIn(), false);
});

test("all of the person is forgotten, and nothing of the site", () => {
  const local = sharedStorageOf("localStorage");
  for (const key of ["rtchat.user", "rtchat.rooms"]) local.setItem(key, "x");
  localStorage.setItem("cart", "apples");
  sharedStorageOf("sessionStorage").setItem("rtchat.talks", "x");
  forgetPerson(["sessionStorage"]);
  assert.deepEqual([localStorage.length, sessionStorage.length], [3, 0]);
  forgetPerson(["localStorage", "sessionStorage"]);
  assert.deepEqual([...localStorage.items], [["cart", "apples"]]);
});

test("where the browser denies storage, the frames of the page forget", () => {
  globalThis.localStorage = null;
  const local = sharedStorageOf("localStorage");
  local.setItem("rtchat.user", "ada");
  globalThis.parent = [globalThis];
  assert.equal(sharedStorageOf("localStorage").getItem("rtchat.user"), "ada");
  forgetPerson(["localStorage"]);
  assert.equal(local.getItem("rtchat.user"), null);
});

test("who is logged in belongs to the person, whatever the room", () => {
  const { nick } = embedContext;
  embedContext.nick = "";
  sharedStorageOf("localStorage").setItem("rtchat.user", "ada");
  sharedStorageOf("localStorage").setItem("rtchat.given", "Ada");
  embedContext.nick = nick;
  assert.deepEqual([...localStorage.items.keys()], ["rtchat.user", "rtchat.given"]);
});
