/** What the page does with what the server says about users and their rights. */

import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import { beforeEach, describe, test } from "node:test";
import { roomOf } from "../../static/model/addresses.js";
import { Identity } from "../../static/model/identity.js";
import { ReadPositions, Store, forgetAll } from "../../static/model/storage.js";
import { readError } from "../../static/protocol/errors.js";
import { SendQueue } from "../../static/protocol/send-queue.js";
import { ChatSession } from "../../static/protocol/session.js";
import { FakeBroker, FakeTimers } from "./broker.mjs";
import { FakeStorage } from "./fakes.mjs";

globalThis.crypto ??= webcrypto; // Node 18, Debian's, keeps it to itself

let broker;

/** One window of a person whose server knows users. */
class Person {
  constructor({ nick = "", local = new FakeStorage(), hasLogIn = true } = {}) {
    this.person = new Identity(new Store(local), { hasLogIn });
    if (nick !== "") this.person.nick = nick;
    Object.assign(this, { local, timers: new FakeTimers(), notices: [], barred: [], users: [], foreign: 0, nicks: [], states: [], attempts: 0 });
    this.client = broker.client(() => this.session.connectHeaders());
    const connect = this.client.connect.bind(this.client);
    this.client.connect = () => {
      this.attempts++;
      connect();
    };
    const { client, person, timers } = this;
    const sendQueue = new SendQueue(new FakeStorage(), local);
    const readPositions = new ReadPositions(new Store(local));
    this.session = new ChatSession({ client, sendQueue, readPositions, person, timers, now: () => broker.nowMs });
    this.session.onnotice = (conversation, ...notice) => this.notices.push([conversation?.name ?? null, ...notice]);
    this.session.onbarred = (conversation) => this.barred.push(conversation.name);
    this.session.onuser = (name) => this.users.push(name);
    this.session.onforeign = () => this.foreign++;
    this.session.onnick = (...what) => this.nicks.push(what);
    this.session.onstate = (state, { final }) => this.states.push(final ? "closed" : state);
    this.room = this.session.join(roomOf(""));
    this.session.show(this.room);
  }

  logIn(user, nick = user) {
    broker.users.set(this.person.token, { user, nick });
    return this;
  }

  enter() {
    this.session.connect();
    broker.settle();
    return this;
  }

  say(text, to = this.room) {
    this.session.say(to, text);
    broker.settle();
  }
}

beforeEach(() => {
  broker = new FakeBroker();
});

describe("an ERROR", () => {
  const read = (message, isLogin = false) => readError({ headers: { message, "receipt-id": "r" }, body: "" }, isLogin);

  test("says what the user may not do", () => {
    assert.equal(read("access refused", true).kind, "access");
    assert.equal(read("token expired").kind, "expired");
    const { kind, verb, destination, id } = read("not allowed: read /topic/chat.tea: a b");
    assert.deepEqual([kind, verb, destination, id], ["right", "read", "/topic/chat.tea: a b", "r"]);
    assert.equal(read(`not allowed: write /topic/${"x".repeat(1000)}`).destination.length, 1007);
  });

  test("of another kind is another", () => {
    for (const message of ["not allowed", "not allowed: admin /topic/chat", "access refused to x", "no token expired"]) {
      assert.equal(read(message).kind, "other", message);
    }
    assert.equal(read("nick in use", true).kind, "taken");
    assert.equal(read("nick in use").kind, "other");
  });
});

describe("a user", () => {
  test("is called as the server says, and asks for no other name", () => {
    const ada = new Person().logIn("ada", "Ada L").enter();
    assert.equal(ada.session.connection.state, "online");
    assert.deepEqual([ada.session.nick, ada.session.user, ada.users], ["Ada L", "ada", ["ada"]]);
    assert.equal(ada.client.asked.nick, undefined);
    broker.breakAll();
    broker.users.get(ada.person.token).nick = "Ada B"; // the site has another name for her
    ada.timers.run();
    broker.settle();
    assert.equal(ada.client.asked.nick, undefined);
    assert.equal(ada.session.nick, "Ada B");
  });

  test("keeps a name of her own choice", () => {
    const ada = new Person().logIn("ada").enter();
    ada.session.setNick("Countess");
    broker.settle();
    assert.equal(ada.session.nick, "Countess");
    const later = new Person({ local: ada.local, hasLogIn: false }).enter();
    assert.deepEqual([later.client.asked.nick, later.session.nick, later.session.user], ["Countess", "Countess", "ada"]);
  });

  test("is not called as the anonymous person was before", () => {
    const local = new FakeStorage();
    const visitor = new Person({ nick: "Visitor", local }).enter();
    assert.deepEqual([visitor.session.nick, visitor.session.user], ["Visitor", ""]);
    visitor.logIn("ada");
    broker.breakAll();
    visitor.timers.run();
    broker.settle();
    assert.deepEqual([visitor.session.nick, visitor.session.user, visitor.foreign], ["ada", "ada", 0]);
    assert.equal(visitor.session.connection.state, "online");
    assert.equal(visitor.person.nick, "ada");
  });

  for (const [next, what] of [[{ user: "bob", nick: "bob" }, "another user"], [undefined, "nobody"]]) {
    test(`leaves the page when ${what} is logged in instead`, () => {
      const ada = new Person().logIn("ada").enter();
      broker.breakAll();
      broker.users.set(ada.person.token, next);
      ada.timers.run();
      broker.settle();
      assert.equal(ada.foreign, 1);
      assert.equal(ada.client.subscriptions.size, 0, "nothing of the next one is read into the page of the last one");
      assert.equal(ada.person.user, "ada", "what is stored is hers until it is forgotten");
    });
  }

  test("is asked for a name if the server has none", () => {
    const visitor = new Person().enter();
    assert.deepEqual(visitor.nicks, [["set", ""]]);
    visitor.session.setNick("Visitor");
    broker.settle();
    assert.deepEqual([visitor.client.asked.nick, visitor.session.nick], ["Visitor", "Visitor"]);
    assert.equal(visitor.session.connection.state, "online");
  });

  test("is forgotten, with what belongs to no page", () => {
    const storage = new FakeStorage();
    Object.defineProperties(storage, {
      length: { get: () => storage.items.size },
      key: { value: (index) => [...storage.items.keys()][index] },
      removeItem: { value: (key) => storage.items.delete(key) },
    });
    for (const key of ["rtchat.nick", "rtchat.in http://shop 1 news read", "shop.cart", "rtchat.user"]) storage.setItem(key, "x");
    const store = new Store(storage);
    store.close();
    store.set("nick", "late");
    forgetAll(storage);
    assert.deepEqual([...storage.items.keys()], ["shop.cart"]);
    forgetAll({ get length() { throw new Error("denied"); } });
  });
});

describe("a token that has expired", () => {
  test("is followed by the next one at once, without a word", () => {
    const ada = new Person().logIn("ada").enter();
    ada.client.error("token expired", undefined, 3000);
    broker.settle();
    assert.equal(ada.session.connection.state, "online");
    assert.deepEqual([ada.notices, ada.states.includes("closed")], [[], false]);
  });
});

describe("a refused connection", () => {
  test("ends for good, without a notice", () => {
    const ada = new Person().logIn("ada").enter();
    ada.client.error("access refused", undefined, 3501);
    broker.settle();
    assert.deepEqual([ada.states.at(-1), ada.notices], ["closed", []]);
    assert.equal(ada.timers.pending.size, 0);
  });
});

describe("a room that may not be read", () => {
  test("is left alone, and the others stay", () => {
    broker.forbids = (verb, destination) => verb === "read" && destination.includes("secret");
    const ada = new Person().logIn("ada").enter();
    ada.session.join(roomOf("#secret"));
    broker.settle();
    assert.deepEqual(ada.barred, ["secret"]);
    assert.equal(ada.session.connection.state, "online");
    assert.equal(ada.attempts, 2);
    ada.say("still here");
    assert.deepEqual(ada.room.messages.map(({ text, state }) => [text, state]), [["still here", "sent"]]);
    assert.ok(![...ada.client.subscriptions.values()].some(({ destination }) => destination.includes("secret")));
    broker.breakAll();
    ada.timers.run();
    broker.settle();
    assert.equal(ada.attempts, 3, "the next connection does not ask for it again");
    assert.equal(ada.session.connection.state, "online");
  });

  test("is asked for again when the reader goes there again", () => {
    broker.forbids = (verb, destination) => destination.includes("secret");
    const ada = new Person().logIn("ada").enter();
    const room = ada.session.join(roomOf("#secret"));
    broker.settle();
    broker.forbids = () => false;
    assert.equal(ada.session.join(roomOf("#secret")), room);
    broker.settle();
    ada.say("now I may", room);
    assert.deepEqual(room.messages.map(({ state }) => state), ["sent"]);
    assert.equal(ada.attempts, 2);
  });

  test("takes no message that nobody would see come back", () => {
    broker.forbids = (verb, destination) => verb === "read" && destination === "/topic/chat";
    const ada = new Person().logIn("ada").enter();
    ada.say("hello?");
    assert.deepEqual(ada.room.messages.map(({ state, reason }) => [state, reason]), [["refused", "noRead"]]);
    assert.equal(ada.attempts, 2);
    assert.deepEqual(broker.published, []);
  });

  for (const name of ["/topic/chat", "/presence/topic/chat", "/topic/typing"]) {
    test(`is known by ${name}, also while one is in it`, () => {
      const ada = new Person().logIn("ada").enter();
      broker.forbids = (verb, destination) => verb === "read" && !/^\/(user\/|presence\/rooms)/.test(destination);
      ada.client.error(`not allowed: read ${name}`, undefined, 3502);
      broker.settle();
      assert.deepEqual(ada.barred, [null]);
      assert.equal(ada.attempts, 2);
    });
  }

  test("may be one of many, of which each costs one connection", () => {
    broker.forbids = (verb, destination) => verb === "read" && /room\d/.test(destination);
    const ada = new Person().logIn("ada");
    for (let number = 0; number < 50; number++) ada.session.join(roomOf(`#room${number}`));
    ada.enter();
    assert.equal(ada.session.connection.state, "online");
    assert.equal(ada.attempts, 51);
  });

  test("is no reason to come back for ever", () => {
    const ada = new Person().logIn("ada").enter();
    for (let round = 0; round < 200 && ada.session.connection.state === "online"; round++) {
      ada.client.error("not allowed: read /topic/chat", undefined, 3502);
      broker.settle();
    }
    assert.equal(ada.session.connection.state, "offline");
    assert.equal(ada.attempts, 61);
    assert.equal(ada.timers.pending.size > 0, true, "it comes back later");
  });

  test("does not take the list of rooms along, nor the other way round", () => {
    broker.forbids = (verb, destination) => destination === "/presence/rooms";
    const ada = new Person().logIn("ada").enter();
    assert.deepEqual([ada.session.connection.state, ada.attempts, ada.barred], ["online", 2, []]);
  });

  test("of another page is none of this one's", () => {
    const ada = new Person().logIn("ada").enter();
    ada.client.error("not allowed: read /queue/jobs", undefined, 3502);
    broker.settle();
    assert.equal(ada.states.at(-1), "closed");
    assert.deepEqual(ada.notices, [[null, "serverSaid", "not allowed: read /queue/jobs"]]);
  });
});

describe("a room that may not be written to", () => {
  beforeEach(() => {
    broker.forbids = (verb, destination) => verb === "write" && /^\/topic\/(chat|typing)\.news$/.test(destination);
  });

  test("shows the message as refused, and sends the rest", () => {
    const ada = new Person().logIn("ada").enter();
    const news = ada.session.join(roomOf("#news"));
    broker.settle();
    ada.session.say(news, "may I?");
    ada.session.say(ada.room, "and this");
    broker.settle();
    const [refused] = news.messages;
    assert.deepEqual([refused.state, refused.reason], ["refused", "not allowed: write /topic/chat.news"]);
    assert.deepEqual(ada.room.messages.map(({ text, state }) => [text, state]), [["and this", "sent"]]);
    assert.equal(ada.attempts, 2);
    assert.deepEqual(ada.notices, []);
    ada.session.retry(news, refused.id);
    broker.settle();
    assert.deepEqual([news.messages[0].state, ada.attempts], ["refused", 3]);
    broker.forbids = () => false;
    ada.session.retry(news, refused.id);
    broker.settle();
    assert.deepEqual([news.messages[0].state, ada.attempts], ["sent", 3]);
  });

  test("is told while one types, once", () => {
    const ada = new Person().logIn("ada").enter();
    const news = ada.session.join(roomOf("#news"));
    ada.session.show(news);
    broker.settle();
    const send = ada.client.send.bind(ada.client);
    // A typing notice asks for no RECEIPT.
    ada.client.send = (body, destination, headers) => send(JSON.stringify({ nick: "ada", ...JSON.parse(body) }), destination, headers);
    for (let keys = 0; keys < 5; keys++) {
      broker.nowMs += 10_000;
      ada.session.type();
      broker.settle();
    }
    assert.deepEqual(ada.notices, [["news", "readOnly"]]);
    assert.equal(ada.attempts, 2);
    assert.equal(ada.session.connection.state, "online");
  });

  test("a private message may be refused, too", () => {
    broker.forbids = (verb, destination) => verb === "write" && destination.startsWith("/user/");
    const ada = new Person().logIn("ada").enter();
    const talk = ada.session.openPrivate("Bob");
    ada.say("psst", talk);
    assert.deepEqual(talk.messages.map(({ state, reason }) => [state, reason]), [["refused", "not allowed: write /user/Bob/queue/private"]]);
    assert.equal(ada.session.connection.state, "online");
  });
});
