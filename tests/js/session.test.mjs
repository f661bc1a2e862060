import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import { beforeEach, describe, test } from "node:test";
import { roomOf } from "../../static/model/addresses.js";
import { Identity } from "../../static/model/identity.js";
import { ReadPositions, Store } from "../../static/model/storage.js";
import { TalkStore } from "../../static/model/talks.js";
import { SendQueue } from "../../static/protocol/send-queue.js";
import { ChatSession } from "../../static/protocol/session.js";
import { FakeBroker, FakeTimers } from "./broker.mjs";
import { FakeStorage } from "./fakes.mjs";

globalThis.crypto ??= webcrypto; // Node 18, Debian's, keeps it to itself

const LOBBY = roomOf("");

let broker;

/** One person's window. */
class Person {
  constructor(nick, { local = new FakeStorage(), tab = new FakeStorage(), now = () => broker.nowMs } = {}) {
    const person = new Identity(new Store(local));
    if (person.nick === "") person.nick = nick;
    Object.assign(this, { local, tab, person, timers: new FakeTimers(), news: [], notices: [], nicks: [], refused: [] });
    this.sendQueue = new SendQueue(tab, local);
    this.readPositions = new ReadPositions(new Store(local));
    const client = broker.client(() => this.session.connectHeaders());
    this.client = client;
    const { sendQueue, readPositions, timers } = this;
    const talks = new TalkStore(new Store(tab));
    this.session = new ChatSession({ client, sendQueue, readPositions, person, talks, timers, now });
    this.session.onmessage = (conversation, row) => this.news.push(row.text);
    this.session.onnotice = (conversation, ...notice) => this.notices.push(notice);
    this.session.onnick = (...what) => this.nicks.push(what);
    this.session.onrefused = (conversation, id, reason) => this.refused.push(reason);
    this.room = this.session.join(LOBBY);
    this.session.show(this.room);
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

  /** Comes back after a loss. */
  comeBack() {
    broker.settle();
    this.timers.run();
    broker.settle();
  }

  texts(room = this.room) {
    return room.messages.map(({ text }) => text);
  }

  states(room = this.room) {
    return room.messages.map(({ state }) => state);
  }
}

const publish = (nick, text, id) => broker.publish("/topic/chat", JSON.stringify({ nick, text, id }));
const numbers = (from, to) => Array.from({ length: to - from }, (_, i) => String(from + i));

beforeEach(() => {
  broker = new FakeBroker();
});

for (const history of [true, false]) {
  for (const people of [true, false]) {
    test(`two people chat, history ${history}, people ${people}`, () => {
      broker = new FakeBroker({ history, people });
      const ada = new Person("Ada").enter();
      const bob = new Person("Bob").enter();
      assert.equal(ada.session.connection.state, "online");
      ada.say("hello");
      bob.say("hi");
      for (const one of [ada, bob]) {
        assert.deepEqual(one.texts(), ["hello", "hi"]);
        assert.deepEqual(one.states(), ["sent", "sent"]);
        assert.deepEqual(one.sendQueue.entries, []);
      }
      assert.deepEqual(ada.room.messages.map(({ isOwn }) => isOwn), [true, false]);
      assert.deepEqual(ada.news, ["hi"]);
    });
  }
}

describe("history", () => {
  test("is read on entering, and is no news", () => {
    for (let i = 0; i < 5; i++) publish("Bob", `${i}`);
    const ada = new Person("Ada").enter();
    assert.deepEqual(ada.texts(), numbers(0, 5));
    assert.deepEqual(ada.news, []);
    publish("Bob", "5");
    broker.settle();
    assert.deepEqual(ada.news, ["5"]);
    // The first question was with another subscription, which is over.
    assert.deepEqual([...ada.client.subscriptions.values()].filter(({ destination }) => destination === "/topic/chat").length, 1);
  });

  test("what is said between the question and the answer comes once and in order", () => {
    publish("Bob", "0");
    const ada = new Person("Ada");
    ada.session.connect();
    for (let i = 1; i < 12; i++) {
      ada.client.step();
      publish("Bob", `${i}`);
    }
    broker.settle();
    assert.deepEqual(ada.texts(), numbers(0, 12));
  });

  test("only the latest part is read at first, the rest block by block", async () => {
    for (let i = 0; i < 1200; i++) publish("Bob", `${i}`);
    const ada = new Person("Ada").enter();
    assert.deepEqual(ada.texts(), numbers(900, 1200));
    for (const from of [400, 0]) {
      const more = ada.session.loadOlder(ada.room);
      broker.settle();
      assert.equal(await more, true);
      assert.deepEqual(ada.texts(), numbers(from, 1200));
    }
    assert.equal(await ada.session.loadOlder(ada.room), false);
    publish("Bob", "1200");
    broker.settle();
    assert.deepEqual(ada.texts(), numbers(0, 1201));
  });

  test("older messages that the server has dropped end the reading", async () => {
    broker.limit = 400;
    for (let i = 0; i < 1000; i++) publish("Bob", `${i}`);
    const ada = new Person("Ada").enter();
    const more = ada.session.loadOlder(ada.room);
    broker.settle();
    assert.equal(await more, true);
    assert.deepEqual(ada.texts(), numbers(600, 1000));
    assert.equal(await ada.session.loadOlder(ada.room), false);
  });

  test("messages that the server cannot read leave a notice, and what is older can still be read", async () => {
    for (let i = 0; i < 1000; i++) publish("Bob", `${i}`);
    const { kept } = broker.stream("/topic/chat");
    kept.splice(0, kept.length, ...kept.filter(({ offset }) => !(offset >= 200 && offset < 250) && !(offset >= 800 && offset < 810)));
    const ada = new Person("Ada").enter();
    assert.deepEqual(ada.texts(), [...numbers(700, 800), ...numbers(810, 1000)]);
    assert.deepEqual(ada.notices, [["damaged"]]);
    for (const first of [250, 0]) {
      const more = ada.session.loadOlder(ada.room);
      broker.settle();
      assert.equal(await more, true);
      assert.equal(ada.texts()[0], `${first}`);
    }
    assert.equal(ada.texts().length, 1000 - 50 - 10);
    publish("Bob", "1000");
    broker.settle();
    assert.equal(ada.texts().at(-1), "1000");
  });

  test("a loss in the middle of reading older messages ends it, and it can be done again", async () => {
    for (let i = 0; i < 900; i++) publish("Bob", `${i}`);
    const ada = new Person("Ada").enter();
    const more = ada.session.loadOlder(ada.room);
    ada.client.lose();
    assert.equal(await more, false);
    ada.comeBack();
    const again = ada.session.loadOlder(ada.room);
    broker.settle();
    assert.equal(await again, true);
    assert.deepEqual(ada.texts(), numbers(100, 900));
  });

  test("marks what is new since the last visit, and reads at least that far back", () => {
    for (let i = 0; i < 10; i++) publish("Bob", `${i}`);
    const local = new FakeStorage();
    const ada = new Person("Ada", { local }).enter();
    ada.readPositions.note("/topic/chat", ada.session.room("/topic/chat").stream.epoch, 9);
    ada.client.lose();
    for (let i = 10; i < 700; i++) publish("Bob", `${i}`);
    const again = new Person("Ada", { local }).enter();
    assert.equal(again.texts()[0], "0");
    assert.equal(again.room.mark.text, "10");
    assert.equal(again.room.unread, 690);
  });
});

describe("a loss", () => {
  test("costs nothing and doubles nothing, wherever it happens", () => {
    // The connection breaks after any number of steps; what Ada and Bob say goes on.
    for (let breakAfter = 0; breakAfter < 40; breakAfter++) {
      broker = new FakeBroker();
      const ada = new Person("Ada").enter();
      const bob = new Person("Bob").enter();
      for (let i = 0; i < 6; i++) {
        ada.session.say(ada.room, `a${i}`);
        bob.session.say(bob.room, `b${i}`);
      }
      for (let i = 0; i < breakAfter; i++) (i % 2 ? ada : bob).client.step();
      if (breakAfter % 3 === 0) ada.client.isDeaf = true;
      ada.session.say(ada.room, "a6");
      broker.breakAll();
      bob.session.say(bob.room, "b6");
      bob.comeBack();
      publish("Eve", "e");
      ada.comeBack();
      broker.settle();
      assert.deepEqual(ada.texts(), bob.texts(), `after ${breakAfter}`);
      const expected = ["e", ...[..."0123456"].flatMap((i) => [`a${i}`, `b${i}`])].sort();
      assert.deepEqual([...ada.texts()].sort(), expected, `after ${breakAfter}`);
      assert.ok(ada.states().every((state) => state === "sent"));
      assert.deepEqual([ada.sendQueue.entries, bob.sendQueue.entries], [[], []]);
    }
  });

  test("what the server had already is not sent again", () => {
    const ada = new Person("Ada").enter();
    ada.session.say(ada.room, "once"); // stored; the receipt is lost with the connection
    ada.client.lose();
    ada.comeBack();
    assert.deepEqual(broker.published.map(({ body }) => JSON.parse(body).text), ["once"]);
    assert.deepEqual(ada.states(), ["sent"]);
  });

  test("what was said meanwhile is news, and a hole in it is told", () => {
    broker.limit = 3;
    const ada = new Person("Ada").enter();
    publish("Bob", "0");
    broker.settle();
    ada.client.lose();
    for (let i = 1; i < 3; i++) publish("Bob", `${i}`);
    ada.comeBack();
    assert.deepEqual(ada.news, ["0", "1", "2"]);
    assert.deepEqual(ada.notices, []);
    ada.client.lose();
    for (let i = 3; i < 9; i++) publish("Bob", `${i}`);
    ada.comeBack();
    assert.deepEqual(ada.texts(), ["0", "1", "2", "6", "7", "8"]);
    assert.deepEqual(ada.notices, [["gap"]]);
  });

  test("a server that has forgotten everything begins anew, and what is known by id is not shown twice", () => {
    const ada = new Person("Ada").enter();
    publish("Bob", "old", "id-1");
    broker.settle();
    broker.breakAll();
    broker.streams.clear();
    broker.stream("/topic/chat").epoch = "another";
    publish("Bob", "old", "id-1");
    publish("Bob", "new", "id-2");
    ada.comeBack();
    assert.deepEqual(ada.texts(), ["old", "new"]);
    ada.say("mine");
    assert.deepEqual(ada.texts(), ["old", "new", "mine"]);
  });

  test("a history that was switched off does not keep the page out", () => {
    const ada = new Person("Ada").enter();
    ada.say("before");
    ada.client.lose();
    broker.history = false;
    ada.timers.run();
    ada.client.step(); // CONNECTED; the SUBSCRIBE with an offset is refused
    ada.client.error("no history", "ready-8");
    ada.comeBack();
    ada.comeBack();
    ada.say("after");
    assert.deepEqual(ada.texts(), ["before", "after"]);
    assert.equal(ada.session.connection.state, "online");
  });

  test("without history an own message that the server has stays, and one that it has not goes out again", () => {
    broker = new FakeBroker({ history: false });
    const ada = new Person("Ada").enter();
    ada.say("one");
    ada.client.isDeaf = true;
    ada.session.say(ada.room, "two");
    ada.client.lose();
    ada.comeBack();
    assert.deepEqual(ada.texts(), ["one", "two"]);
    assert.deepEqual(ada.states(), ["sent", "sent"]);
  });
});

describe("the nickname", () => {
  test("that is taken: the old one stays, or another is asked for", () => {
    new Person("Ada").enter();
    const bob = new Person("Bob").enter();
    bob.session.setNick("Ada");
    broker.settle();
    assert.deepEqual(bob.nicks.map(([what, nick]) => [what, nick]), [["set", "Bob"], ["taken", "Ada"], ["set", "Bob"]]);
    assert.equal(bob.session.connection.state, "online");
    const other = new Person("Ada").enter();
    assert.deepEqual(other.nicks.map(([what, nick]) => [what, nick]), [["needed", "Ada"]]);
    assert.deepEqual([...other.timers.pending], [], "it does not try again by itself");
    other.session.setNick("Ada2");
    broker.settle();
    assert.equal(other.session.connection.state, "online");
  });

  test("may be chosen again before the connection that refused it has ended", () => {
    new Person("Ada").enter();
    for (const again of ["Ada2", "Ada"]) {
      const other = new Person("Ada");
      other.session.connect();
      other.client.step();
      assert.deepEqual(other.nicks.map(([what]) => what), ["needed"]);
      if (again === "Ada") for (const one of [...broker.clients]) if (one !== other.client) one.lose();
      other.session.setNick(again);
      broker.settle();
      assert.equal(other.session.connection.state, "online", again);
      assert.equal(other.session.nick, again);
    }
  });

  test("that is chosen while the login with another one is under way is the one that counts", () => {
    const ada = new Person("Ada");
    ada.session.connect();
    ada.session.setNick("Countess");
    broker.settle();
    assert.equal(ada.session.nick, "Countess");
    assert.equal(ada.client.nick, "Countess");
  });

  test("changes without losing anything", () => {
    const ada = new Person("Ada").enter();
    ada.say("one");
    ada.session.setNick("Countess");
    publish("Bob", "two");
    ada.say("three");
    assert.deepEqual(ada.texts(), ["one", "two", "three"]);
    assert.equal(JSON.parse(broker.published.at(-1).body).nick, "Countess");
  });

  test("changes in the page alone where the server knows no people", () => {
    broker = new FakeBroker({ people: false });
    const ada = new Person("Ada").enter();
    ada.session.setNick("Countess");
    ada.say("one");
    assert.equal(ada.session.connection.state, "online");
    assert.equal(JSON.parse(broker.published.at(-1).body).nick, "Countess");
  });
});

describe("the windows of one person", () => {
  const windows = (count) => {
    const local = new FakeStorage();
    return Array.from({ length: count }, () => new Person("Ada", { local }).enter());
  };

  test("have one secret, and each has a number of its own", () => {
    const [one, two] = windows(2).map(({ session }) => session.connectHeaders());
    assert.equal(one["x-presence-token"], two["x-presence-token"]);
    assert.notEqual(one["x-presence-window"], two["x-presence-window"]);
    assert.deepEqual([one.nick, two.nick], ["Ada", "Ada"]);
  });

  test("show what either says as the person's own, and what others say as theirs", () => {
    const [one, two] = windows(2);
    const bob = new Person("Bob").enter();
    one.say("from one");
    bob.say("from Bob");
    two.say("from two");
    for (const own of [one, two]) {
      assert.deepEqual(own.room.messages.map(({ isOwn }) => isOwn), [true, false, true]);
      assert.deepEqual(own.news, ["from Bob"]);
    }
    assert.deepEqual(bob.room.messages.map(({ isOwn }) => isOwn), [false, true, false]);
  });

  test("take a change of the nickname over, also where nobody watches", () => {
    const [one, two] = windows(2);
    one.session.setNick("Countess");
    broker.settle();
    two.session.follow();
    assert.equal(two.session.nick, "Countess");
    two.say("as the countess");
    assert.deepEqual(two.states(), ["sent"]);
    // One that was away does not bring the old name back.
    one.client.lose();
    two.session.setNick("Ada");
    broker.settle();
    one.comeBack();
    assert.deepEqual([one.session.nick, two.session.nick, one.client.nick], ["Ada", "Ada", "Ada"]);
  });

  test("lose nothing that was sent under the old name just then", () => {
    const [one, two] = windows(2);
    one.session.setNick("Countess");
    broker.settle();
    two.say("in the same moment"); // still as Ada: refused
    two.comeBack();
    assert.deepEqual(two.states(), ["sent"]);
    assert.deepEqual(broker.published.map(({ body }) => JSON.parse(body).nick), ["Countess"]);
  });
});

describe("whose a message is", () => {
  test("does not depend on its id, nor on the name", () => {
    const local = new FakeStorage();
    const ada = new Person("Ada", { local }).enter();
    ada.say("mine");
    const { id } = JSON.parse(broker.published[0].body);
    ada.session.setNick("Countess");
    broker.settle();
    // Another person takes the name that is free now, and the id.
    const eve = new Person("Ada").enter();
    eve.client.send(JSON.stringify({ nick: "Ada", text: "mine too", id }), "/topic/chat", {});
    eve.say("really");
    const again = new Person("Countess", { local }).enter();
    assert.deepEqual(again.room.messages.map(({ text, isOwn }) => [text, isOwn]), [["mine", true], ["really", false]]);
    assert.deepEqual(eve.room.messages.map(({ text, isOwn }) => [text, isOwn]), [["mine", false], ["really", true]]);
  });

  test("is known after a restart of the server, which gives everybody another public id", () => {
    const local = new FakeStorage();
    const ada = new Person("Ada", { local }).enter();
    ada.say("before");
    const bob = new Person("Bob").enter();
    for (const person of [ada, bob]) person.session.connection.onlogin({ headers: { nick: person.session.nick, "x-presence-id": `other ${person.client.token}` } });
    const again = new Person("Ada", { local });
    again.enter();
    assert.deepEqual(again.room.messages.map(({ isOwn }) => isOwn), [true]);
    assert.deepEqual(bob.room.messages.map(({ isOwn }) => isOwn), [false]);
  });

  test("is told by the id alone where the server does not say who sent it", () => {
    broker = new FakeBroker({ people: false });
    const local = new FakeStorage();
    new Person("Ada", { local }).enter().say("mine");
    publish("Bob", "not mine", "x");
    const again = new Person("Ada", { local }).enter();
    assert.deepEqual(again.room.messages.map(({ isOwn }) => isOwn), [true, false]);
  });
});

describe("times", () => {
  test("are the server's, however wrong the readers' clocks are", () => {
    const slow = new Person("Slow", { now: () => broker.nowMs - 2 * 86400_000 }).enter();
    const fast = new Person("Fast", { now: () => broker.nowMs + 2 * 86400_000 }).enter();
    slow.session.say(slow.room, "one");
    assert.equal(slow.room.messages[0].at, broker.nowMs, "also while it is under way");
    broker.settle();
    broker.nowMs += 60_000;
    fast.say("two");
    for (const { room } of [slow, fast]) {
      assert.deepEqual(room.messages.map(({ at }) => at), [broker.nowMs - 60_000, broker.nowMs]);
      assert.deepEqual(room.display().map(({ kind }) => kind), ["day", "message", "message"]);
    }
    const talk = slow.session.openPrivate("Fast");
    slow.say("psst", talk);
    assert.equal(fast.session.conversations[1].messages[0].at, broker.nowMs);
  });

  test("of what waited are those of its arrival", () => {
    const ada = new Person("Ada").enter();
    ada.client.lose();
    ada.session.say(ada.room, "written offline");
    broker.nowMs += 3 * 86400_000;
    publish("Bob", "meanwhile");
    ada.comeBack();
    assert.deepEqual(ada.texts(), ["meanwhile", "written offline"]);
    assert.deepEqual(ada.room.messages.map(({ at }) => at), [broker.nowMs, broker.nowMs]);
  });
});

describe("a page that is left", () => {
  test("is gone at once, does not come back by itself, and goes on where it was", () => {
    const ada = new Person("Ada").enter();
    const bob = new Person("Bob").enter();
    ada.session.connection.sleep();
    assert.deepEqual(broker.clients, [bob.client]);
    assert.deepEqual([...ada.timers.pending.values()], [], "no timer runs on");
    bob.say("meanwhile");
    ada.session.say(ada.room, "written in my sleep");
    ada.session.connection.wake();
    broker.settle();
    assert.deepEqual(ada.texts(), ["meanwhile", "written in my sleep"]);
    assert.deepEqual(ada.states(), ["sent", "sent"]);
    ada.session.connection.wake();
    broker.settle();
    assert.equal(broker.clients.length, 2, "once is enough");
  });

  test("while it waited for the next attempt connects when it is back", () => {
    const ada = new Person("Ada").enter();
    ada.client.lose();
    ada.session.connection.sleep();
    assert.deepEqual([...ada.timers.pending.values()], []);
    ada.session.connection.wake();
    broker.settle();
    assert.equal(ada.session.connection.state, "online");
  });

  test("does not ask for a name again that was refused", () => {
    new Person("Ada").enter();
    const other = new Person("Ada").enter();
    other.session.connection.sleep();
    other.session.connection.wake();
    assert.deepEqual(other.nicks.map(([what]) => what), ["needed"]);
    assert.equal(other.session.connection.state, "offline");
  });
});

describe("what the server refuses", () => {
  for (const [reason, maxChars] of [["not your nick", Infinity], ["text longer than 10 characters", 10]]) {
    test(`"${reason}" stays with its reason and is not sent again by itself`, () => {
      const ada = new Person("Ada").enter();
      ada.client.isDeaf = true;
      ada.session.say(ada.room, "something");
      const [{ id }] = ada.sendQueue.entries;
      ada.client.error(reason, id);
      ada.comeBack();
      assert.deepEqual(ada.states(), ["refused"]);
      assert.deepEqual(ada.refused, [reason]);
      assert.equal(ada.session.maxTextChars, maxChars);
      assert.equal(broker.published.length, 0);
      ada.session.retry(ada.room, id);
      broker.settle();
      assert.deepEqual(ada.states(), ["sent"]);
    });
  }

  test("can be taken back", () => {
    const ada = new Person("Ada").enter();
    ada.client.isDeaf = true;
    ada.session.say(ada.room, "something");
    const [{ id }] = ada.sendQueue.entries;
    ada.client.error("no", id);
    assert.equal(ada.session.takeBack(ada.room, id), "something");
    assert.deepEqual([ada.texts(), ada.sendQueue.entries], [[], []]);
  });

  test("an error that belongs to nothing is told", () => {
    const ada = new Person("Ada").enter();
    ada.client.error("server shutting down");
    assert.deepEqual(ada.notices, [["serverSaid", "server shutting down"]]);
  });

});

describe("private messages", () => {
  test("reach one person, with the name that the server vouches for", () => {
    const [ada, bob, eve] = ["Ada", "Bob", "Eve"].map((nick) => new Person(nick).enter());
    const toBob = ada.session.openPrivate("Bob");
    ada.session.say(toBob, "psst");
    broker.settle();
    const [, fromAda] = bob.session.conversations;
    assert.deepEqual([fromAda.nick, bob.texts(fromAda)], ["Ada", ["psst"]]);
    assert.deepEqual(ada.states(toBob), ["sent"]);
    assert.equal(eve.session.conversations.length, 1);
    assert.equal(ada.session.openPrivate("BOB"), toBob);
  });

  test("that find nobody say so, and can be sent again or taken back", () => {
    const ada = new Person("Ada").enter();
    const toBob = ada.session.openPrivate("Bob");
    ada.say("hello?", toBob);
    ada.say("anybody?", toBob);
    assert.deepEqual(ada.states(toBob), ["undelivered", "undelivered"]);
    const bob = new Person("Bob").enter();
    const [first, second] = toBob.messages;
    ada.session.retry(toBob, first.id);
    broker.settle();
    assert.equal(ada.session.takeBack(toBob, second.id), "anybody?");
    assert.deepEqual([ada.texts(toBob), ada.states(toBob)], [["hello?"], ["sent"]]);
    assert.deepEqual(bob.news, ["hello?"]);
    assert.deepEqual(ada.sendQueue.entries, []);
    // Offline it waits, like any other.
    bob.client.lose();
    ada.say("still there?", toBob);
    ada.client.lose();
    ada.session.retry(toBob, toBob.messages.at(-1).id);
    assert.deepEqual(ada.states(toBob), ["sent", "waiting"]);
    bob.comeBack();
    ada.comeBack();
    assert.deepEqual(ada.states(toBob), ["sent", "sent"]);
    assert.deepEqual(bob.news, ["hello?", "still there?"]);
  });

  /** Two who talk, and what each sees of the other. */
  function talk() {
    const [ada, bob] = ["Ada", "Bob"].map((nick) => new Person(nick).enter());
    const toBob = ada.session.openPrivate("bob");
    ada.say("1", toBob);
    const toAda = bob.session.conversations[1];
    return { ada, bob, toBob, toAda };
  }

  const rename = (person, nick) => {
    person.session.setNick(nick);
    broker.settle();
  };

  test("go on when either is called otherwise, and reach nobody else", () => {
    const { ada, bob, toBob, toAda } = talk();
    assert.equal(toBob.nick, "Bob"); // as the server writes it
    rename(bob, "Rob");
    const eve = new Person("Bob").enter();
    ada.say("2", toBob);
    rename(ada, "Eda");
    bob.say("3", toAda);
    ada.say("4", toBob);
    assert.deepEqual([ada.texts(toBob), bob.texts(toAda)], [["1", "2", "3", "4"], ["1", "2", "3", "4"]]);
    assert.deepEqual([toBob.nick, toAda.nick], ["Rob", "Eda"]);
    assert.deepEqual([ada, bob, eve].map(({ session }) => session.conversations.length), [2, 2, 1]);
    assert.deepEqual(ada.notices.filter(([name]) => name === "renamed"), [["renamed", "Bob", "Rob"]]);
    // The one who is called Bob now has a conversation of his own.
    const toEve = ada.session.openPrivate("Bob");
    ada.say("hello Bob", toEve);
    assert.deepEqual([eve.news, bob.news], [["hello Bob"], ["1", "2", "4"]]);
    assert.notEqual(toEve.destination, toBob.destination);
  });

  test("that wait go to the same person after their conversation was closed", () => {
    const { ada, bob, toBob } = talk();
    ada.client.lose();
    ada.session.say(toBob, "for Bob alone");
    ada.session.leave(toBob);
    rename(bob, "Rob");
    const eve = new Person("Bob").enter();
    ada.comeBack();
    assert.deepEqual([eve.news, bob.news, ada.sendQueue.entries], [[], ["1", "for Bob alone"], []]);
  });

  test("of a name that belongs to another person now say so", () => {
    const { ada, bob, toBob } = talk();
    bob.client.lose();
    const other = new Person("Bob").enter();
    other.say("hi", other.session.openPrivate("Ada"));
    assert.deepEqual(ada.notices.filter(([name]) => name === "senderChanged"), [["senderChanged", "Bob"]]);
    // What was said to the one before, and what is said there from now on, is not the other's.
    const toOther = ada.session.conversations.at(-1);
    assert.deepEqual([toOther.nick, ada.texts(toOther)], ["Bob", ["hi"]]);
    assert.deepEqual([toBob.nick, ada.texts(toBob)], ["Bob (2)", ["1"]]);
    ada.say("2", toBob);
    ada.say("3", toOther);
    assert.deepEqual([other.news, ada.states(toBob)], [["3"], ["sent", "undelivered"]]);
    assert.equal(ada.session.openPrivate("Bob"), toOther);
  });

  test("that wait while the server restarts go to nobody until the reader says so", () => {
    const { ada, bob, toBob } = talk();
    ada.client.lose();
    ada.session.say(toBob, "for Bob alone");
    broker.life = " again";
    broker.breakAll();
    bob.session.connection.sleep();
    const other = new Person("Bob").enter();
    ada.comeBack();
    assert.deepEqual([other.news, ada.states(toBob)], [[], ["sent", "refused"]]);
    assert.equal(toBob.messages.at(-1).reason, "restarted");
    assert.deepEqual(ada.notices.filter(([name]) => name === "restarted"), [["restarted", "Bob"]]);
    ada.session.retry(toBob, toBob.messages.at(-1).id);
    broker.settle();
    assert.deepEqual(other.news, ["for Bob alone"]);
  });

  test("after a restart of the server find a person by the name", () => {
    const { ada, bob, toBob, toAda } = talk();
    broker.life = " again";
    broker.breakAll();
    for (const one of [ada, bob]) one.comeBack();
    ada.say("2", toBob);
    bob.say("3", toAda);
    assert.deepEqual([ada.texts(toBob), bob.texts(toAda)], [["1", "2", "3"], ["1", "2", "3"]]);
    assert.deepEqual([...ada.notices, ...bob.notices].filter(([name]) => name === "senderChanged"), []);
  });

  test("are the same in all windows of a person", () => {
    const { ada, bob, toBob, toAda } = talk();
    const second = new Person("Ada", { local: ada.local }).enter();
    ada.say("2", toBob);
    const there = second.session.conversations[1];
    assert.deepEqual([there.nick, second.texts(there)], ["Bob", ["2"]]);
    second.say("3", there);
    bob.say("4", toAda);
    assert.deepEqual(ada.texts(toBob), ["1", "2", "3", "4"]);
    assert.deepEqual(second.texts(there), ["2", "3", "4"]);
    assert.deepEqual(there.messages.map(({ isOwn }) => isOwn), [true, true, false]);
    assert.deepEqual([ada.news, second.news, bob.news], [["4"], ["4"], ["1", "2", "3"]]);
  });

  test("survive a reload of the window, with whom they are with", () => {
    const { ada, bob, toBob, toAda } = talk();
    bob.say("2", toAda);
    toBob.countUnread(toBob.messages.at(-1), true);
    ada.say("3", ada.session.openPrivate("Nobody"));
    ada.session.keepTalks();
    ada.client.lose();
    rename(bob, "Rob");
    const again = new Person("Ada", { local: ada.local, tab: ada.tab });
    again.session.restoreTalks();
    again.enter();
    const [, first, second] = again.session.conversations;
    assert.deepEqual([first.nick, again.texts(first), first.unread], ["Bob", ["1", "2"], 1]);
    assert.deepEqual([again.texts(second), again.states(second)], [["3"], ["undelivered"]]);
    assert.deepEqual(again.notices.filter(([name]) => name.startsWith("private")), [["privateKept"], ["privateKept"]]);
    again.say("4", first);
    assert.deepEqual(bob.news.at(-1), "4");
    assert.equal(first.nick, "Rob");
    // Another window has its own.
    const other = new Person("Ada", { local: ada.local });
    other.session.restoreTalks();
    assert.equal(other.session.conversations.length, 1);
  });

  test("that are stored badly are not taken", () => {
    const tab = new FakeStorage();
    const good = { nick: "Bob", destination: "/user/Bob/queue/private", personId: null, unread: 0, messages: [] };
    for (const talks of ["5", "{}", '{"talks":5}', JSON.stringify({ talks: [null, 5, { ...good, messages: [{}] }, { ...good, nick: 5 }, good] })]) {
      tab.setItem("rtchat.talks", talks);
      const ada = new Person("Ada", { tab });
      ada.session.restoreTalks();
      assert.equal(ada.session.conversations.length, talks.includes("nick") ? 2 : 1);
    }
  });

  test("do not go to a server that would give them to everybody", () => {
    broker = new FakeBroker({ people: false });
    const ada = new Person("Ada").enter();
    const toBob = ada.session.openPrivate("Bob");
    ada.session.say(toBob, "psst");
    broker.settle();
    assert.deepEqual(ada.states(toBob), ["refused"]);
    assert.deepEqual(broker.published, []);
  });
});

test("rooms are joined and left while online", () => {
  const [ada, bob] = ["Ada", "Bob"].map((nick) => new Person(nick).enter());
  const tea = ada.session.join(roomOf("#tea"));
  assert.equal(ada.session.connection.state, "connecting");
  broker.settle();
  assert.equal(ada.session.connection.state, "online");
  const bobsTea = bob.session.join(roomOf("#tea"));
  bob.say("in the tea room", bobsTea);
  assert.deepEqual(ada.texts(tea), ["in the tea room"]);
  assert.deepEqual(ada.texts(), []);
  ada.session.leave(tea);
  bob.say("gone?", bobsTea);
  assert.deepEqual(ada.texts(tea), ["in the tea room"]);
  assert.equal([...ada.client.subscriptions.values()].filter(({ destination }) => destination.includes("tea")).length, 0);
});

test("what waits survives a reload and goes out then", () => {
  const tab = new FakeStorage();
  const ada = new Person("Ada", { tab });
  ada.session.say(ada.room, "written offline");
  const again = new Person("Ada", { tab });
  assert.deepEqual(again.states(), ["waiting"]);
  again.enter();
  assert.deepEqual(again.states(), ["sent"]);
  assert.deepEqual(again.texts(), ["written offline"]);
});

test("typing is told at most every three seconds, and not while offline", () => {
  const [ada, bob] = ["Ada", "Bob"].map((nick) => new Person(nick).enter());
  for (let i = 0; i < 10; i++) ada.session.type();
  broker.settle();
  const typing = broker.published.filter(({ destination }) => destination === "/topic/typing");
  assert.deepEqual(typing.map(({ body }) => JSON.parse(body)), [{ nick: "Ada", typing: true }]);
  assert.deepEqual(bob.session.room("/topic/chat").typing.now(broker.nowMs, "Bob"), ["Ada"]);
  ada.say("done");
  assert.deepEqual(bob.session.room("/topic/chat").typing.now(broker.nowMs, "Bob"), []);
  // Not while a message is under way, and not while offline.
  const bob2 = new Person("Bob2").enter();
  bob2.session.say(bob2.room, "on its way");
  bob2.session.type();
  ada.client.lose();
  ada.session.type();
  broker.settle();
  assert.equal(broker.published.filter(({ destination }) => destination === "/topic/typing").length, 1);
});
