/** The demo pages without a page: what may be reached, lines, the console's transcript, IRC. */

import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { IrcClient } from "../../examples/demos/irc-client.js";
import { runCommand } from "../../examples/demos/irc-commands.js";
import { foldName, formatLine, isNick, otherNick, parseLine, plainText, splitText } from "../../examples/demos/irc-format.js";
import { LineSplitter, decodeLine } from "../../examples/demos/lines.js";
import { askTargets, kindOf, parseTarget, targetsFor, usableDemos } from "../../examples/demos/targets.js";
import { HexView, TextView, Transcript, hexRows, hexToBytes, textToBytes, visible } from "../../examples/demos/transcript.js";
import { bytesOf } from "./fakes.mjs";

const targetsOf = (...texts) => texts.map((text) => parseTarget(text));

describe("targets", () => {
  test("HOST:PORT, IPv6 in brackets, and HOST where there is a default port", () => {
    assert.deepEqual(parseTarget(" irc.example:6667 "), { host: "irc.example", port: 6667, text: "irc.example:6667" });
    assert.deepEqual(parseTarget("[::1]:7"), { host: "::1", port: 7, text: "[::1]:7" });
    assert.deepEqual(parseTarget("localhost", 5222), { host: "localhost", port: 5222, text: "localhost:5222" });
  });

  test("anything else is none", () => {
    for (const text of ["", "localhost", "a:0", "a:65536", "a:1x", "a:", "::1:7", "a/b:7", "u@h:7", "a b:7", "unix:/run/x", "http://a:80"]) {
      assert.equal(parseTarget(text), null, text);
    }
  });

  test("the server is asked; its own broker and what has no port are left out", async () => {
    const asked = [];
    const answer = { targets: ["localhost:61613", "[::1]:7", "unix:/run/x"], broker: ["localhost:61613"] };
    const fetch = (url) => {
      asked.push(url);
      return Promise.resolve({ ok: true, json: () => Promise.resolve(answer) });
    };
    const { targets, broker } = await askTargets(fetch);
    assert.deepEqual(asked, ["/tcp/"]);
    assert.deepEqual(targets.map(({ text }) => text), ["[::1]:7"]);
    assert.deepEqual(broker.map(({ text }) => text), ["localhost:61613"]);
    await assert.rejects(askTargets(() => Promise.resolve({ ok: false, status: 404 })), /404/);
  });

  test("a well-known port tells what it speaks; any other may be anything", () => {
    assert.deepEqual(targetsOf("a:6667", "a:5222", "a:80", "a:12345").map(kindOf), ["irc", "xmpp", "other", "any"]);
    assert.deepEqual(usableDemos([]), []);
    assert.deepEqual(usableDemos(targetsOf("a:6667")), ["irc", "console"]);
    assert.deepEqual(usableDemos(targetsOf("a:443")), ["console"]);
    assert.deepEqual(usableDemos(targetsOf("a:12345")), ["irc", "xmpp", "console"]);
    const both = targetsOf("a:12345", "a:80", "a:6667");
    assert.deepEqual(targetsFor("irc", both).map(({ port }) => port), [6667, 12345]);
    assert.deepEqual(targetsFor("console", both), both);
  });
});

describe("lines", () => {
  const text = (lines) => lines.map(decodeLine);

  test("are whole in any chunking, with LF and with CR LF", () => {
    const bytes = bytesOf("one\r\ntwö 👋\n\nfour\r\n");
    for (let first = 0; first <= bytes.length; first++) {
      for (let second = first; second <= bytes.length; second++) {
        const splitter = new LineSplitter();
        const parts = [bytes.subarray(0, first), bytes.subarray(first, second), bytes.subarray(second)];
        assert.deepEqual(parts.flatMap((part) => text(splitter.feed(part))), ["one", "twö 👋", "", "four"]);
      }
    }
  });

  test("that are too long come in pieces", () => {
    const splitter = new LineSplitter(4);
    assert.deepEqual(text(splitter.feed(bytesOf("0123456789"))), ["0123", "4567"]);
    assert.deepEqual(text(splitter.feed(bytesOf("\n"))), ["89"]);
  });

  test("that are not UTF-8 are read as Western", () => {
    assert.equal(decodeLine(Uint8Array.of(0x47, 0x72, 0xfc, 0xdf, 0x65)), "Grüße");
  });
});

describe("the console's transcript", () => {
  const bytes = (text) => bytesOf(text);

  test("text gets its line end, hexadecimal is sent as it stands", () => {
    assert.deepEqual(textToBytes("hi", "crlf"), bytes("hi\r\n"));
    assert.deepEqual(textToBytes("a\nb", "crlf"), bytes("a\r\nb\r\n"));
    assert.deepEqual(textToBytes("a\nb", "none"), bytes("a\nb"));
    assert.deepEqual(hexToBytes("48 65,6C:0x0a"), Uint8Array.of(0x48, 0x65, 0x6c, 0x0a));
    for (const text of ["4", "4g", "48 6"]) assert.equal(hexToBytes(text), null, text);
  });

  test("control characters are seen", () => {
    assert.equal(visible("a\0\x1b[1m\x7f\tb"), "a␀␛[1m␡\tb");
  });

  test("hexadecimal rows have sixteen bytes, an offset and letters", () => {
    const rows = hexRows(bytes("0123456789abcdefG\n"), 0x10);
    assert.deepEqual(rows, [
      { offset: "00000010", hex: "30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66", ascii: "0123456789abcdef" },
      { offset: "00000020", hex: "47 0a", ascii: "G." },
    ]);
  });

  /** What stands in the page after these entries: a line that comes again replaces itself. */
  function shown(view, entries) {
    const lines = new Map();
    for (const entry of entries) for (const line of view.feed(entry)) lines.set(line.key, `${line.direction} ${line.text}`);
    return [...lines.values()];
  }

  test("a line without its end is there at once and grows", () => {
    const view = new TextView();
    assert.deepEqual(shown(view, [{ direction: "in", bytes: bytes("login: ") }]), ["in login: "]);
    const view2 = new TextView();
    const entries = ["lo", "gin: ", "x\r\nsecond\n"].map((text) => ({ direction: "in", bytes: bytes(text) }));
    assert.deepEqual(shown(view2, entries), ["in login: x", "in second"]);
  });

  test("a character that comes in two parts is one, whatever is sent meanwhile", () => {
    const [first, second] = [bytes("ü").subarray(0, 1), bytes("ü\n").subarray(1)];
    const entries = [
      { direction: "in", bytes: first },
      { direction: "out", bytes: bytes("x\n") },
      { direction: "in", bytes: second },
    ];
    assert.deepEqual(shown(new TextView(), entries), ["out x", "in ü"]);
  });

  test("an endless line is broken up, and no character of it is lost", () => {
    const lines = shown(new TextView(), [{ direction: "in", bytes: bytes("y".repeat(9000)) }]);
    assert.deepEqual(lines.map((line) => line.length - 3), [4000, 4000, 1000]);
  });

  test("hexadecimal offsets go on, each direction its own", () => {
    const entries = ["a", "b"].map((text) => ({ direction: "in", bytes: bytes(text) }));
    const lines = shown(new HexView(), [...entries, { direction: "out", bytes: bytes("c") }, { direction: "note", note: "end" }]);
    assert.match(lines[0], /^in 00000000 {2}61 +a$/);
    assert.match(lines[1], /^in 00000001 {2}62 +b$/);
    assert.match(lines[2], /^out 00000000 {2}63 +c$/);
    assert.equal(lines[3], "note end");
  });

  test("goes into a file with times and directions, and forgets the oldest", () => {
    const transcript = new Transcript();
    transcript.add("note", "Connected.", 0);
    transcript.add("out", bytes("hi\n"), 1000);
    transcript.add("in", bytes("yo\n"), 2000);
    const text = "1970-01-01T00:00:00.000Z # Connected.\n1970-01-01T00:00:01.000Z > hi\n1970-01-01T00:00:02.000Z < yo\n";
    assert.equal(transcript.toText(new TextView()), text);
    for (let count = 0; count < 6; count++) transcript.add("in", new Uint8Array(1024 * 1024), 3000);
    assert.equal(transcript.entries.length, 4);
  });
});

describe("IRC on the wire", () => {
  test("lines come apart", () => {
    assert.deepEqual(parseLine(":ada!a@host PRIVMSG #talk :hello :there"), { nick: "ada", command: "PRIVMSG", params: ["#talk", "hello :there"] });
    assert.deepEqual(parseLine("@time=1;x PING  a  b"), { nick: null, command: "PING", params: ["a", "b"] });
    assert.deepEqual(parseLine(":irc.example 001 ada :"), { nick: "irc.example", command: "001", params: ["ada", ""] });
    assert.deepEqual(parseLine("quit"), { nick: null, command: "QUIT", params: [] });
    for (const line of ["", ":only-a-prefix", "12 x", "<html>"]) assert.equal(parseLine(line), null, line);
  });

  test("lines go out, and nobody smuggles a second command into one", () => {
    assert.equal(formatLine("PRIVMSG", "#talk", "hello there"), "PRIVMSG #talk :hello there\r\n");
    assert.equal(formatLine("NICK", "ada"), "NICK ada\r\n");
    assert.equal(formatLine("PRIVMSG", "#t", ":)"), "PRIVMSG #t ::)\r\n");
    assert.equal(formatLine("PRIVMSG", "#t", "a\r\nQUIT\0"), "PRIVMSG #t :a QUIT \r\n");
    for (const middle of ["a b", "", ":a", "a\r\nb"]) assert.throws(() => formatLine("PRIVMSG", middle, "x"), TypeError);
  });

  test("long text is cut at spaces, never inside a character, and fits", () => {
    const pieces = splitText(`${"wort ".repeat(200)}\n\n${"👋".repeat(300)}`, "#talk");
    for (const piece of pieces) assert.ok(bytesOf(`PRIVMSG #talk :${piece}\r\n`).length <= 402);
    assert.ok(!pieces.join("").includes("\ufffd"));
    assert.equal(pieces.filter((piece) => piece.includes("👋")).join(""), "👋".repeat(300));
    assert.equal(pieces.filter((piece) => piece.includes("w")).join(" ").trimEnd(), "wort ".repeat(200).trimEnd());
    assert.deepEqual(splitText("one\ntwo\n \n", "x"), ["one", "two"]);
  });

  test("names are compared as the server says", () => {
    assert.equal(foldName("Ada[X]\\^"), "ada{x}|~");
    assert.equal(foldName("Ada[X]", "ascii"), "ada[x]");
    assert.equal(foldName("A^[", "strict-rfc1459"), "a^{");
  });

  test("codes for colours are no text", () => {
    assert.equal(plainText("\x02bold\x02 \x0304,12red\x03 \x1funder\x0f"), "bold red under");
  });

  test("nicknames are one word, and another one is short enough everywhere", () => {
    for (const nick of ["ada", "[x]", "Ünal", "_a-1"]) assert.ok(isNick(nick), nick);
    for (const nick of ["", "1a", "a b", "#a", "@a", "a!b", ":a", "-a"]) assert.ok(!isNick(nick), nick);
    const tried = [1, 2, 3, 4].map((attempt) => otherNick("katherine", attempt));
    assert.deepEqual(tried, ["katherin_", "katheri__", "katherin2", "katherin3"]);
    assert.equal(otherNick("ada", 1), "ada_");
  });
});

describe("an IRC client", () => {
  let client;
  let sent;
  let news;

  beforeEach(() => {
    sent = [];
    news = [];
    client = new IrcClient((line) => sent.push(line.trimEnd()));
    client.onsaid = (room, { kind, nick, text, isOwn }) => news.push(`${room.name}|${kind}|${isOwn ? "me" : nick}|${text}`);
    client.onready = () => news.push("ready");
    client.onrefused = (text) => news.push(`refused ${text}`);
    client.start({ nick: "ada" });
  });

  const receive = (...lines) => lines.forEach((line) => client.receive(line));
  const welcome = () => {
    receive(":s 001 ada :Welcome", ":s 005 ada PREFIX=(ov)@+ CHANTYPES=#! CASEMAPPING=ascii :are supported");
    sent.length = 0;
    news.length = 0;
  };
  const members = (room) => client.rooms.membersOf(client.rooms.of(room)).map(({ nick, rank }) => rank + nick);
  const enter = () => {
    welcome();
    receive(":ada!a@h JOIN #talk", ":s 353 ada = #talk :ada +carol", ":s 353 ada = #talk :@bob", ":s 366 ada #talk :End");
    news.length = 0;
  };

  test("introduces itself and is in when the server welcomes it", () => {
    assert.deepEqual(sent, ["NICK ada", "USER ada 0 * ada"]);
    receive(":s 001 ada :Welcome");
    assert.ok(client.isReady);
    assert.deepEqual(news, ["|info||Welcome", "ready"]);
  });

  test("gives the server's password first", () => {
    sent.length = 0;
    client.start({ nick: "ada", password: "s3 cret" });
    assert.equal(sent[0], "PASS :s3 cret");
  });

  test("answers PING", () => {
    receive("PING :abc def");
    assert.equal(sent.at(-1), "PONG :abc def");
  });

  test("takes another nickname when its own is taken, and gives up in the end", () => {
    receive(":s 433 * ada :Nickname already in use", ":s 433 * ada_ :in use");
    assert.deepEqual(sent.slice(2), ["NICK ada_", "NICK ada__"]);
    receive(":s 001 ada__ :Welcome");
    assert.equal(client.nick, "ada__");
    assert.ok(news.includes("|info||The nickname ada is taken; you are ada__."));

    client = new IrcClient(() => {});
    client.onrefused = (text) => news.push(`refused ${text}`);
    client.start({ nick: "ada" });
    for (let count = 0; count < 20 && !news.includes("refused taken"); count++) receive(":s 433 * x :taken");
    assert.ok(news.includes("refused taken"));
  });

  test("is told when the server refuses it", () => {
    receive(":s 432 * ada :Erroneous nickname", "ERROR :Closing link");
    assert.deepEqual(news, ["refused Erroneous nickname", "|error||Closing link", "refused Closing link"]);
  });

  test("knows who is in a room, with ranks, and who comes and goes", () => {
    enter();
    assert.deepEqual(members("#talk"), ["@bob", "+carol", "ada"]);
    receive(":dave!d@h JOIN :#talk", ":carol!c@h PART #talk :tea", ":bob!b@h NICK robert", ":dave!d@h QUIT :gone");
    assert.deepEqual(members("#talk"), ["@robert", "ada"]);
    assert.deepEqual(news, [
      "#talk|info|dave|dave has come in.",
      "#talk|info|carol|carol has left (tea).",
      "#talk|info|bob|bob is robert now.",
      "#talk|info|dave|dave has gone (gone).",
    ]);
  });

  test("asks again who is who when a mode changes", () => {
    enter();
    receive(":bob!b@h MODE #talk +o carol");
    assert.deepEqual(sent, ["NAMES #talk"]);
    receive(":s 353 ada = #talk :ada @carol @bob", ":s 366 ada #talk :End");
    assert.deepEqual(members("#talk"), ["@bob", "@carol", "ada"]);
  });

  test("a part of an answer to NAMES changes nothing", () => {
    enter();
    receive(":s 353 ada = #talk :eve");
    assert.deepEqual(members("#talk"), ["@bob", "+carol", "ada"]);
    receive(":s 366 ada #other :End");
    assert.deepEqual(members("#talk"), ["@bob", "+carol", "ada"]);
  });

  test("hears channels, people, actions and notices, each in its room", () => {
    enter();
    receive(
      ":bob!b@h PRIVMSG #TALK :hello \x02all\x02",
      ":bob!b@h PRIVMSG Ada :psst",
      ":bob!b@h PRIVMSG #talk :\x01ACTION waves\x01",
      ":NickServ!n@s NOTICE ada :register",
      ":bob!b@h PRIVMSG ada :\x01VERSION\x01",
    );
    assert.deepEqual(news, ["#talk|message|bob|hello all", "bob|message|bob|psst", "#talk|action|bob|waves", "|notice|NickServ|register"]);
    assert.deepEqual(sent, [], "programs that ask learn nothing");
  });

  test("speaks, acts and cuts what is too long", () => {
    enter();
    client.say("#talk", "one\ntwo");
    client.act("#talk", "waves");
    assert.deepEqual(sent, ["PRIVMSG #talk one", "PRIVMSG #talk two", "PRIVMSG #talk :\x01ACTION waves\x01"]);
    assert.deepEqual(news, ["#talk|message|me|one", "#talk|message|me|two", "#talk|action|me|waves"]);
  });

  test("knows the topic", () => {
    enter();
    receive(":s 332 ada #talk :Bridges", ":bob!b@h TOPIC #talk :Gates");
    assert.equal(client.rooms.of("#talk").topic, "Gates");
    assert.deepEqual(news, ["#talk|info|bob|bob has set the topic: Gates"]);
    receive(":s 331 ada #talk :No topic is set");
    assert.equal(client.rooms.of("#talk").topic, "");
  });

  test("knows when it is removed, and its own new name", () => {
    enter();
    receive(":ada!a@h NICK countess", ":bob!b@h KICK #talk countess :rude");
    assert.equal(client.nick, "countess");
    assert.equal(client.rooms.of("#talk").isJoined, false);
    assert.deepEqual(members("#talk"), []);
    assert.equal(news.at(-1), "#talk|info|countess|You were removed by bob (rude).");
  });

  test("tells errors where they belong", () => {
    enter();
    receive(":s 404 ada #talk :Cannot send", ":s 401 ada nobody :No such nick", ":s 433 ada bob :in use");
    assert.deepEqual(news, ["#talk|error||#talk Cannot send", "|error||nobody No such nick", "|error||bob: in use"]);
  });

  test("survives whatever a server may send", () => {
    enter();
    const commands = ["JOIN", "PART", "KICK", "MODE", "NICK", "TOPIC", "PRIVMSG", "NOTICE", "QUIT", "PING", "ERROR", "001", "005", "301", "332", "353", "366", "433", "999"];
    for (const command of commands) for (const rest of ["", " x", " #talk", " ada #talk"]) receive(`:bob ${command}${rest}`, `${command}${rest}`);
    assert.ok(client.isReady);
  });

  describe("what people type", () => {
    const type = (text, room = "#talk") => runCommand(client, client.rooms.of(room), text);

    test("plain words, slashes and commands", () => {
      enter();
      type("hello");
      type("//slash");
      type("/me waves");
      type("/join other key");
      type("/part");
      type("/part #else so long");
      type("/part so long");
      type("/nick Countess");
      type("/topic New topic");
      type("/raw WHOIS bob\r\nQUIT");
      type("/quit bye now");
      assert.deepEqual(sent, [
        "PRIVMSG #talk hello",
        "PRIVMSG #talk /slash",
        "PRIVMSG #talk :\x01ACTION waves\x01",
        "JOIN #other key",
        "PART #talk",
        "PART #else :so long",
        "PART #talk :so long",
        "NICK Countess",
        "TOPIC #talk :New topic",
        "WHOIS bob QUIT",
        "QUIT :bye now",
      ]);
    });

    test("/msg opens a conversation", () => {
      enter();
      assert.equal(type("/msg bob psst, you").goTo.name, "bob");
      assert.deepEqual(sent, ["PRIVMSG bob :psst, you"]);
      assert.equal(type("/msg carol").goTo.name, "carol");
    });

    test("what is wrong is told and nothing is sent", () => {
      enter();
      for (const text of ["/join", "/me", "/msg", "/msg #talk x", "/nick", "/nick 1x", "/raw", "/dance"]) {
        const { texts, isWrong } = type(text);
        assert.ok(isWrong && texts.length === 1, text);
      }
      for (const text of ["hello", "/me waves", "/topic x", "/names"]) assert.ok(type(text, "").isWrong, text);
      receive(":ada!a@h PART #talk");
      assert.ok(type("hello").isWrong);
      assert.deepEqual(sent, []);
    });

    test("a name that no line can hold is told", () => {
      enter();
      receive("::evil PRIVMSG ada :answer me");
      assert.match(type("hello", ":evil").texts[0], /cannot stand/);
      assert.deepEqual(sent, []);
    });

    test("/names and /topic and /help answer", () => {
      enter();
      assert.deepEqual(type("/names").texts, ["@bob, +carol, ada"]);
      assert.deepEqual(type("/topic").texts, ["No topic is set."]);
      assert.ok(type("/help").texts.length > 3);
    });

    test("what is no channel is asked for as one, and a person can be put away", () => {
      enter();
      client.openPerson("bob");
      type("/part", "bob");
      assert.equal(client.rooms.find("bob"), undefined);
      client.forget(client.rooms.of("#talk"));
      assert.notEqual(client.rooms.find("#talk"), undefined, "we are in it");
    });
  });
});
