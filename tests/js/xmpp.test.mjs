/** XMPP without a browser: cutting the stream, logging in, contacts and messages. */

import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import { beforeEach, describe, test } from "node:test";
import { SaslError, Scram, chooseMechanism, plainMessage, prepare } from "../../examples/demos/sasl.js";
import { XmlError, XmlSplitter } from "../../examples/demos/xml-splitter.js";
import { child, el, escapeXml, textOf, write } from "../../examples/demos/xml-tree.js";
import { XmppContacts } from "../../examples/demos/xmpp-contacts.js";
import { XmppStream, bareOf, parseJid } from "../../examples/demos/xmpp-stream.js";
import { readXml } from "./tinyxml.mjs";

globalThis.crypto ??= webcrypto; // Node 18 keeps it to itself

const HEADER = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='1' from='example.org' version='1.0'>";
const SASL = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";

const base64 = (text) => Buffer.from(text).toString("base64");
const fromBase64 = (text) => Buffer.from(text, "base64").toString();

describe("the splitter", () => {
  const stanza = `<message a='">' b="'/>"><body>x &lt; y</body><e/><![CDATA[</message> <!-- ]] > ]]></message>`;

  test("finds header, stanzas and end in any chunking", () => {
    const text = `<?xml version='1.0'?>\n${HEADER}\n <presence/>${stanza} </stream:stream>`;
    const wanted = [
      { type: "open", text: HEADER },
      { type: "element", text: "<presence/>" },
      { type: "element", text: stanza },
      { type: "close" },
    ];
    assert.deepEqual(new XmlSplitter().feed(text), wanted);
    const slow = new XmlSplitter();
    assert.deepEqual([...text].flatMap((character) => slow.feed(character)), wanted);
    for (let cut = 0; cut < text.length; cut++) {
      const splitter = new XmlSplitter();
      assert.deepEqual([...splitter.feed(text.slice(0, cut)), ...splitter.feed(text.slice(cut))], wanted);
    }
  });

  const refused = {
    "a document type": `<!DOCTYPE x [<!ENTITY a "b">]>${HEADER}`,
    "a document type behind the declaration": `<?xml version='1.0'?><!DOCTYPE x>${HEADER}`,
    "a comment": `${HEADER}<!-- x -->`,
    "a comment in a stanza": `${HEADER}<a><!-- x --></a>`,
    "a processing instruction": `${HEADER}<?php 1 ?>`,
    "another declaration": `${HEADER}<?xml version='1.0'?>`,
    "a stylesheet": "<?xml-stylesheet href='x'?>",
    "text between stanzas": `${HEADER}hello<a/>`,
    "text before the header": `HTTP/1.1 400 Bad Request\r\n${HEADER}`,
    "CDATA between stanzas": `${HEADER}<![CDATA[x]]>`,
    "an end too many": `${HEADER}<a></a></stream:stream></b>`,
    "a stream that is empty": "<stream:stream/>",
    "a tag in a tag": `${HEADER}<a <b>>`,
    "a stanza without end": `${HEADER}<a>${"x".repeat(1024 * 1024 + 1)}`,
    "a tag without end": `${HEADER}<a b='${"x".repeat(1024 * 1024 + 1)}`,
    "elements in elements in elements": HEADER + "<a>".repeat(200),
  };
  for (const [name, text] of Object.entries(refused)) {
    test(`refuses ${name}`, () => {
      assert.throws(() => new XmlSplitter().feed(text), XmlError);
    });
  }

  test("keeps nothing of what is done with", () => {
    const splitter = new XmlSplitter();
    splitter.feed(HEADER);
    for (let count = 0; count < 3000; count++) assert.equal(splitter.feed(`<a>${"x".repeat(1000)}</a>`).length, 1);
  });
});

describe("trees", () => {
  test("become text that cannot break out", () => {
    const tree = el("message", { to: `a'"><x/>`, none: null }, el("body", {}, "<b> & ]]> \0 \ud800 👋"), null);
    assert.equal(
      write(tree),
      '<message to="a&#39;&#34;&#62;&#60;x/&#62;"><body>&#60;b&#62; &#38; ]]&#62; \ufffd \ufffd 👋</body></message>',
    );
    assert.equal(escapeXml("ok\t\n"), "ok\t\n");
  });

  test("name a namespace where it changes", () => {
    assert.equal(
      write(el("iq", { type: "get" }, el("query", { xmlns: "jabber:iq:roster" }, el("item", { jid: "a@b" })))),
      '<iq type="get"><query xmlns="jabber:iq:roster"><item jid="a@b"/></query></iq>',
    );
  });

  test("come back as they were sent", () => {
    const tree = readXml(HEADER, write(el("message", { id: "1" }, el("body", {}, "a < b & 'c'"))));
    assert.equal(textOf(child(tree, "body", "jabber:client")), "a < b & 'c'");
    assert.equal(child(tree, "body", "other"), undefined);
    assert.equal(textOf(undefined), "");
  });
});

describe("addresses", () => {
  test("are read, and compared in small letters", () => {
    assert.deepEqual(parseJid(" Ada@Example.org/Home "), { local: "ada", domain: "example.org", resource: "Home", bare: "ada@example.org" });
    for (const text of ["ada", "@x", "a@", "a b@c", "a@b@c", "a<b@c"]) assert.equal(parseJid(text), null, text);
    assert.equal(bareOf("Ada@Example.org/Home"), "ada@example.org");
  });
});

describe("SASL", () => {
  const options = { nonce: "fyko+d2lbbFgONRv9qkxdawL" };

  test("SCRAM-SHA-1 as in RFC 5802, 5", async () => {
    const scram = new Scram("SCRAM-SHA-1", "user", "pencil", options);
    assert.equal(fromBase64(scram.first()), "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL");
    const answer = await scram.answer(base64("r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"));
    assert.equal(fromBase64(answer), "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=");
    scram.verify(base64("v=rmF9pqV8S7suAoZWja4dJRkFsKQ="));
    assert.throws(() => scram.verify(base64("v=rmF9pqV8S7suAoZWja4dJRkFsKA=")), SaslError);
    assert.throws(() => scram.verify(""), SaslError);
  });

  test("SCRAM-SHA-256 as in RFC 7677, 3", async () => {
    const scram = new Scram("SCRAM-SHA-256", "user", "pencil", { nonce: "rOprNGfwEbeRWgbNEkqO" });
    const first = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    assert.equal(
      fromBase64(await scram.answer(base64(first))),
      "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    );
    scram.verify(base64("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
  });

  const unsound = {
    "another nonce": "r=other,s=QSXCR+Q6sek8bf92,i=4096",
    "our nonce alone": "r=fyko+d2lbbFgONRv9qkxdawL,s=QSXCR+Q6sek8bf92,i=4096",
    "too few iterations": "r=fyko+d2lbbFgONRv9qkxdawLx,s=QSXCR+Q6sek8bf92,i=1",
    "far too many iterations": "r=fyko+d2lbbFgONRv9qkxdawLx,s=QSXCR+Q6sek8bf92,i=999999999",
    "iterations that are no number": "r=fyko+d2lbbFgONRv9qkxdawLx,s=QSXCR+Q6sek8bf92,i=4e3",
    "an extension": "m=x,r=fyko+d2lbbFgONRv9qkxdawLx,s=QSXCR+Q6sek8bf92,i=4096",
    "a salt that is no base64": "r=fyko+d2lbbFgONRv9qkxdawLx,s=!,i=4096",
  };
  for (const [name, challenge] of Object.entries(unsound)) {
    test(`gives no proof for ${name}`, async () => {
      await assert.rejects(new Scram("SCRAM-SHA-1", "user", "pencil", options).answer(base64(challenge)), SaslError);
    });
  }

  test("a success before the proof proves nothing", () => {
    assert.throws(() => new Scram("SCRAM-SHA-1", "user", "pencil", options).verify(base64("v=")), SaslError);
  });

  test("each exchange has a nonce of its own, and names are escaped", () => {
    const first = () => fromBase64(new Scram("SCRAM-SHA-1", "a=b,c", "x").first());
    assert.match(first(), /^n,,n=a=3Db=2Cc,r=[\w+/]{24}$/);
    assert.notEqual(first(), first());
  });

  test("the strongest way is chosen; the password goes out only if the user allows it", () => {
    const all = ["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS"];
    assert.equal(chooseMechanism(all, { hasCrypto: true, isPlainAllowed: true }), "SCRAM-SHA-256");
    assert.equal(chooseMechanism(["PLAIN", "SCRAM-SHA-1"], { hasCrypto: true, isPlainAllowed: true }), "SCRAM-SHA-1");
    assert.equal(chooseMechanism(all, { hasCrypto: false, isPlainAllowed: true }), "PLAIN");
    assert.equal(chooseMechanism(all, { hasCrypto: false, isPlainAllowed: false }), null);
    assert.equal(chooseMechanism(["PLAIN"], { hasCrypto: true, isPlainAllowed: false }), null);
    assert.equal(fromBase64(plainMessage("ada", "pässword")), "\0ada\0pässword");
  });

  test("names and passwords are spelled one way", () => {
    assert.equal(prepare("I\u00adX \u00a0ª Ⅸ"), "IX  a IX");
    assert.throws(() => prepare("a\x07"), SaslError);
  });
});

/** Lets everything that is promised happen; cryptography needs turns of the event loop. */
const settle = async () => {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setTimeout(resolve, 1));
};

describe("a stream", () => {
  let sent;
  let stream;
  let failures;
  let opened;
  let timers;

  beforeEach(() => {
    sent = [];
    failures = [];
    opened = 0;
    timers = [];
    make();
  });

  function make(crypto = globalThis.crypto) {
    const clock = { setTimeout: (act) => timers.push(act), clearTimeout: (id) => delete timers[id - 1] };
    stream = new XmppStream((text) => sent.push(text), readXml, { crypto, timers: clock });
    stream.onfail = (error) => failures.push(error.message);
    stream.onopen = () => (opened += 1);
  }

  const start = (more = {}) => stream.start({ jid: parseJid("user@example.org"), password: "pencil", ...more });
  const features = (inside) => `${HEADER}<stream:features>${inside}</stream:features>`;
  const mechanisms = (...names) => features(`<mechanisms ${SASL}>${names.map((name) => `<mechanism>${name}</mechanism>`).join("")}</mechanisms>`);
  const receive = async (text) => {
    await stream.receive(text);
    await settle();
  };

  async function bind(more = "") {
    await receive(features(`<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>${more}`));
    const id = /id="(\w+)"/.exec(sent.at(-1))[1];
    await receive(`<iq type='result' id='${id}'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>user@example.org/abc</jid></bind></iq>`);
  }

  async function logIn() {
    start({ isPlainAllowed: true });
    await receive(mechanisms("PLAIN"));
    await receive(`<success ${SASL}/>`);
    await bind();
    sent.length = 0;
  }

  test("opens, logs in with PLAIN when that is allowed, and binds", async () => {
    start({ isPlainAllowed: true });
    assert.match(sent[0], /^<\?xml version='1\.0'\?><stream:stream to='example\.org' version='1\.0'/);
    await receive(mechanisms("PLAIN"));
    assert.equal(sent[1], `<auth xmlns="urn:ietf:params:xml:ns:xmpp-sasl" mechanism="PLAIN">${base64("\0user\0pencil")}</auth>`);
    await receive(`<success ${SASL}/>`);
    assert.match(sent[2], /^<\?xml/);
    await bind("<session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session>");
    assert.equal(opened, 1);
    assert.equal(stream.jid, "user@example.org/abc");
    assert.deepEqual(failures, []);
  });

  test("begins a session where the server insists on one", async () => {
    start({ isPlainAllowed: true });
    await receive(mechanisms("PLAIN"));
    await receive(`<success ${SASL}/>`);
    await bind("<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>");
    assert.equal(opened, 0);
    assert.match(sent.at(-1), /<session xmlns="urn:ietf:params:xml:ns:xmpp-session"\/>/);
    await receive(`<iq type='result' id='${/id="(\w+)"/.exec(sent.at(-1))[1]}'/>`);
    assert.equal(opened, 1);
  });

  test("a server that cannot prove that it knows the password is not trusted", async () => {
    start();
    await receive(mechanisms("SCRAM-SHA-1", "PLAIN"));
    assert.match(sent[1], /mechanism="SCRAM-SHA-1"/);
    await receive(`<success ${SASL}/>`);
    assert.match(failures[0], /could not prove/);
    assert.equal(sent.at(-1), "</stream:stream>");
    assert.equal(opened, 0);
  });

  test("a challenge is answered, and what comes with it waits", async () => {
    start();
    await receive(mechanisms("SCRAM-SHA-256"));
    const nonce = /r=(.*)$/.exec(fromBase64(/>([^<]+)</.exec(sent[1])[1]))[1];
    const challenge = base64(`r=${nonce}server,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`);
    await stream.receive(`<challenge ${SASL}>${challenge}</challenge><failure ${SASL}><not-authorized/></failure>`);
    assert.match(fromBase64(/>([^<]+)</.exec(sent[2])[1]), /^c=biws,r=.*server,p=/);
    assert.deepEqual(failures, ["Not logged in: the name or password is wrong."]);
  });

  test("says why it cannot log in", async () => {
    const cases = [
      [mechanisms("PLAIN"), {}, /only takes the password as it is/],
      [mechanisms("EXTERNAL"), { isPlainAllowed: true }, /none of the ways.*EXTERNAL/],
      [features("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>"), {}, /without TLS/],
      [`${HEADER}<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>`, {}, /host-unknown/],
      ["HTTP/1.1 400 Bad Request", {}, /broke the protocol/],
      ["<html><body></body></html>", {}, /no XMPP stream/],
      [`${HEADER}</stream:stream>`, {}, /ended the stream/],
      [`${mechanisms("PLAIN")}<failure ${SASL}><account-disabled/><text>Gone fishing</text></failure>`, { isPlainAllowed: true }, /Gone fishing/],
    ];
    for (const [answer, more, wanted] of cases) {
      failures.length = 0;
      make();
      start(more);
      await receive(answer);
      assert.equal(failures.length, 1, answer);
      assert.match(failures[0], wanted);
      await receive("<more/>");
      assert.equal(failures.length, 1, "it says so once");
    }
  });

  test("without the browser's cryptography it asks for https", async () => {
    make({});
    start();
    await receive(mechanisms("SCRAM-SHA-1", "PLAIN"));
    assert.match(failures[0], /over https/);
  });

  test("gives up when the server does not let it in", async () => {
    start();
    for (const act of timers) act?.();
    assert.match(failures[0], /within 20 seconds/);
  });

  test("an answer from somebody else is none", async () => {
    await logIn();
    const answers = [];
    const asked = stream.ask("get", null, el("query", { xmlns: "x" })).then((iq) => answers.push(iq.attrs.n));
    const id = /id="(\w+)"/.exec(sent[0])[1];
    await receive(`<iq type='result' id='${id}' from='eve@example.org' n='1'/>`);
    assert.deepEqual(answers, []);
    await receive(`<iq type='result' id='${id}' from='user@example.org' n='2'/>`);
    await asked;
    assert.deepEqual(answers, ["2"]);
  });

  test("an error, silence and the end of the connection end a question", async () => {
    await logIn();
    const refused = stream.ask("get", null, el("query"));
    await Promise.all([
      assert.rejects(refused, /item not found/),
      receive(`<iq type='error' id='${/id="(\w+)"/.exec(sent[0])[1]}'><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`),
    ]);
    const unanswered = assert.rejects(stream.ask("get", null, el("query")), /did not answer/);
    timers.at(-1)();
    await unanswered;
    const lost = assert.rejects(stream.ask("get", null, el("query")), /is gone/);
    stream.closed();
    await lost;
  });

  describe("and its contacts", () => {
    let contacts;
    let news;

    beforeEach(async () => {
      await logIn();
      news = [];
      contacts = new XmppContacts(stream);
      contacts.onmessage = ({ jid, text, isOwn, at }) => news.push({ jid, text, isOwn, at });
      contacts.onproblem = (jid, text) => news.push({ jid, problem: text });
      contacts.onask = (jid) => news.push({ asks: jid });
      const started = contacts.start();
      const id = /id="(\w+)"/.exec(sent[0])[1];
      await receive(
        `<iq type='result' id='${id}'><query xmlns='jabber:iq:roster'><item jid='Bob@example.org' name='Bob' subscription='both'/><item jid='zoe@example.org' subscription='none' ask='subscribe'/></query></iq>`,
      );
      await started;
    });

    const shown = () => contacts.list().map(({ jid }) => `${jid} ${contacts.presenceOf(jid).show}`);

    test("are fetched before anybody is told that we are there", () => {
      assert.match(sent[0], /jabber:iq:roster/);
      assert.equal(sent[1], "<presence/>");
      assert.deepEqual(shown(), ["bob@example.org offline", "zoe@example.org offline"]);
      assert.equal(contacts.nameOf("bob@example.org"), "Bob");
    });

    test("come and go on several devices; the best counts", async () => {
      await receive("<presence from='bob@example.org/phone'><show>away</show><status>tea</status></presence>");
      assert.deepEqual(contacts.presenceOf("bob@example.org"), { show: "away", status: "tea" });
      await receive("<presence from='bob@example.org/desk'/><presence from='stranger@example.org/x'/>");
      assert.deepEqual(shown(), ["bob@example.org online", "zoe@example.org offline"]);
      await receive("<presence from='bob@example.org/desk' type='unavailable'/><presence from='zoe@example.org/a'><show>nonsense</show></presence>");
      assert.deepEqual(shown(), ["bob@example.org away", "zoe@example.org online"]);
    });

    test("write, also while we were away, and are answered", async () => {
      await receive("<message from='bob@example.org/phone' type='chat'><body>hi &amp; ho</body></message>");
      await receive("<message from='bob@example.org'><body>earlier</body><delay xmlns='urn:xmpp:delay' stamp='2026-01-02T03:04:05Z'/></message>");
      await receive("<message from='bob@example.org' type='chat'><composing/></message><message from='r@c/x' type='groupchat'><body>x</body></message>");
      contacts.say("bob@example.org", "<yes>");
      assert.equal(sent.at(-1), '<message to="bob@example.org" type="chat" id="m1"><body>&#60;yes&#62;</body></message>');
      assert.deepEqual(news.map(({ text, isOwn }) => [text, isOwn]), [["hi & ho", false], ["earlier", false], ["<yes>", true]]);
      assert.equal(news[1].at, Date.parse("2026-01-02T03:04:05Z"));
    });

    test("what is not delivered is told", async () => {
      contacts.say("zoe@example.org", "there?");
      await receive("<message from='example.org' id='m1' type='error'><body>there?</body><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>");
      assert.deepEqual(news.at(-1), { jid: "zoe@example.org", problem: "Not delivered: service unavailable." });
    });

    test("ask to see us, and are accepted or declined", async () => {
      await receive("<presence type='subscribe' from='carol@example.org'/>");
      assert.deepEqual(news, [{ asks: "carol@example.org" }]);
      const accepted = contacts.accept("carol@example.org");
      assert.equal(sent.at(-2), '<presence to="carol@example.org" type="subscribed"/>');
      await receive(`<iq type='result' id='${/id="(\w+)"/.exec(sent.at(-1))[1]}'/>`);
      await accepted;
      assert.equal(sent.at(-1), '<presence to="carol@example.org" type="subscribe"/>');
      assert.equal(contacts.asking.size, 0);

      await receive("<presence type='subscribe' from='dave@example.org'/>");
      contacts.decline("dave@example.org");
      assert.equal(sent.at(-1), '<presence to="dave@example.org" type="unsubscribed"/>');
    });

    test("are not asked back when they have let us see already", async () => {
      await receive("<presence type='subscribe' from='bob@example.org'/>");
      await contacts.accept("bob@example.org");
      assert.equal(sent.at(-1), '<presence to="bob@example.org" type="subscribed"/>');
    });

    test("only our own server changes them", async () => {
      const push = (from, item) => `<iq type='set' id='p1'${from}><query xmlns='jabber:iq:roster'>${item}</query></iq>`;
      await receive(push(" from='eve@example.org/x'", "<item jid='eve@example.org' subscription='both'/>"));
      assert.match(sent.at(-1), /type="error".*service-unavailable/);
      assert.equal(contacts.contacts.has("eve@example.org"), false);
      await receive(push("", "<item jid='new@example.org' subscription='to'/>"));
      assert.equal(sent.at(-1), '<iq type="result" id="p1"/>');
      assert.ok(contacts.contacts.has("new@example.org"));
      await receive(push(" from='user@example.org'", "<item jid='new@example.org' subscription='remove'/>"));
      assert.equal(contacts.contacts.has("new@example.org"), false);
    });

    test("a ping is answered, other questions are declined", async () => {
      await receive("<iq type='get' id='a' from='example.org'><ping xmlns='urn:xmpp:ping'/></iq>");
      assert.equal(sent.at(-1), '<iq type="result" id="a" to="example.org"/>');
      await receive("<iq type='get' id='b' from='eve@x/y'><query xmlns='jabber:iq:version'/></iq>");
      assert.match(sent.at(-1), /^<iq type="error" id="b" to="eve@x\/y"><error type="cancel"><service-unavailable/);
    });
  });
});
