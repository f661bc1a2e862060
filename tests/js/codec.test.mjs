import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { STOMPClient, bytesOf } from "./fakes.mjs";

const { FrameParser, ProtocolError, encodeFrame } = STOMPClient;

function parse(chunks, version = "1.2", options = {}) {
  const parser = new FrameParser(options);
  parser.version = version;
  const frames = [];
  for (const chunk of chunks) {
    parser.push(typeof chunk === "string" ? bytesOf(chunk) : chunk);
    for (let frame = parser.next(); frame !== null; frame = parser.next()) frames.push(frame);
  }
  return frames;
}

const plain = (frame) => [frame.command, { ...frame.headers }, frame.body];

function join(...parts) {
  return Uint8Array.from(parts.flatMap((part) => [...(typeof part === "string" ? bytesOf(part) : part)]));
}

describe("reading frames", () => {
  const stream = join(
    "\n\r\nMESSAGE\ndestination:/topic/chat\nmessage-id:1\nsubscription:sub-0\n\nGrüße, 世界 😀\0",
    "\n\nMESSAGE\r\ncontent-length:7\r\nx:a\\cb\\nc\\\\d\\re\r\n\r\n",
    "a\0b\n\n\0c",
    "\0\n",
    "RECEIPT\nreceipt-id:é\n\n\0",
    "ERROR\nmessage:no\ncontent-length:0\n\n\0",
    "MESSAGE\ncontent-length:3\n\n",
    [0xff, 0x00, 0xfe],
    "\0\n",
  );
  const expected = [
    ["MESSAGE", { destination: "/topic/chat", "message-id": "1", subscription: "sub-0" }, "Grüße, 世界 😀"],
    ["MESSAGE", { "content-length": "7", x: "a:b\nc\\d\re" }, "a\0b\n\n\0c"],
    ["RECEIPT", { "receipt-id": "é" }, ""],
    ["ERROR", { message: "no", "content-length": "0" }, ""],
    ["MESSAGE", { "content-length": "3" }, Uint8Array.of(0xff, 0x00, 0xfe)],
  ];

  test("several frames in one message come out one by one", () => {
    assert.deepEqual(parse([stream]).map(plain), expected);
  });

  test("frames split at any one byte come out whole", () => {
    for (let at = 0; at <= stream.length; at++) {
      assert.deepEqual(parse([stream.slice(0, at), stream.slice(at)]).map(plain), expected, `split at ${at}`);
    }
  });

  test("frames split at any two bytes come out whole", () => {
    for (let first = 0; first <= stream.length; first += 3) {
      for (let second = first; second <= stream.length; second += 5) {
        const chunks = [stream.slice(0, first), stream.slice(first, second), stream.slice(second)];
        assert.deepEqual(parse(chunks).map(plain), expected, `split at ${first} and ${second}`);
      }
    }
  });

  test("frames that come byte by byte come out whole", () => {
    assert.deepEqual(parse([...stream].map((byte) => Uint8Array.of(byte))).map(plain), expected);
  });

  test("a frame larger than the first buffer comes out whole, also in pieces that straddle it", () => {
    const body = "0123456789abcdef".repeat(20000);
    const wire = bytesOf(`MESSAGE\ncontent-length:${body.length}\n\n${body}\0`.repeat(3));
    const chunks = [];
    for (let at = 0; at < wire.length; at += 4093) chunks.push(wire.slice(at, at + 4093));
    const frames = parse(chunks);
    assert.equal(frames.length, 3);
    for (const frame of frames) assert.ok(frame.body === body);
  });

  test("frame.bytes is a copy that later frames do not touch", () => {
    const parser = new FrameParser();
    parser.push(bytesOf("MESSAGE\n\nfirst\0"));
    const frame = parser.next();
    assert.equal(parser.next(), null);
    parser.push(bytesOf("MESSAGE\n\nother\0"));
    parser.next();
    assert.deepEqual(frame.bytes, bytesOf("first"));
  });

  test("a byte order mark at the start of a body stays", () => {
    assert.equal(parse(["MESSAGE\n\n\ufeffx\0"])[0].body, "\ufeffx");
  });

  test("the first of repeated headers wins", () => {
    assert.equal(parse(["MESSAGE\nfoo:World\nfoo:Hello\n\n\0"])[0].headers.foo, "World");
  });

  test("a header value may hold colons and may be empty", () => {
    assert.deepEqual({ ...parse(["MESSAGE\na:b:c\nd:\n\n\0"])[0].headers }, { a: "b:c", d: "" });
  });

  test("headers named like parts of an object's prototype are headers", () => {
    const { headers } = parse(["MESSAGE\n__proto__:x\nconstructor:y\n\n\0"])[0];
    assert.equal(Object.getPrototypeOf(headers), null);
    assert.equal(headers.__proto__, "x");
    assert.equal(headers.constructor, "y");
    assert.equal(headers.toString, undefined);
  });

  test("blanks around values are trimmed in 1.0 and kept in 1.1 and 1.2", () => {
    const wire = "MESSAGE\nlogin: ada \n\n\0";
    assert.equal(parse([wire], "1.0")[0].headers.login, "ada");
    assert.equal(parse([wire], "1.1")[0].headers.login, " ada ");
    assert.equal(parse([wire], "1.2")[0].headers.login, " ada ");
  });

  test("escapes are read as each version defines them", () => {
    const wire = "MESSAGE\nx:\\c\\n\\\\\n\n\0";
    assert.equal(parse([wire], "1.0")[0].headers.x, "\\c\\n\\\\");
    assert.equal(parse([wire], "1.1")[0].headers.x, ":\n\\");
    assert.equal(parse([wire], "1.2")[0].headers.x, ":\n\\");
    assert.equal(parse(["MESSAGE\nx:\\r\n\n\0"], "1.2")[0].headers.x, "\r");
    assert.throws(() => parse(["MESSAGE\nx:\\r\n\n\0"], "1.1"), ProtocolError);
  });

  test("names are unescaped too", () => {
    assert.equal(parse(["MESSAGE\na\\cb:x\n\n\0"])[0].headers["a:b"], "x");
  });

  test("an undefined escape is refused", () => {
    for (const version of ["1.1", "1.2"]) {
      for (const value of ["\\t", "\\x", "end\\"]) {
        assert.throws(() => parse([`MESSAGE\nx:${value}\n\n\0`], version), /is no escape of STOMP/);
      }
    }
  });

  test("CONNECTED is read without escapes", () => {
    assert.equal(parse(["CONNECTED\nserver:a\\cb\n\n\0"], null)[0].headers.server, "a\\cb");
  });

  test("an ERROR before the login is read whatever escapes it uses", () => {
    const frame = parse(["ERROR\nmessage:a\\cb\\t\n\n\0"], null)[0];
    assert.equal(frame.headers.message, "a:b\\t");
  });

  for (const [what, wire, message] of [
    ["a command of no server", "SEND\n\n\0", /no frame that a STOMP server sends/],
    ["a command in lower case", "message\n\n\0", /no frame that a STOMP server sends/],
    ["a header without a colon", "MESSAGE\nfoo\n\n\0", /without a colon/],
    ["a NUL among the headers", "MESSAGE\nfoo:bar\n\0", /before the blank line/],
    ["a content-length that is no number", "MESSAGE\ncontent-length:1e1\n\n0123456789\0", /not a number/],
    ["a negative content-length", "MESSAGE\ncontent-length:-1\n\n\0", /not a number/],
    ["no NUL behind content-length bytes", "MESSAGE\ncontent-length:2\n\nabc\0", /no NUL/],
    ["headers that are not UTF-8", join("MESSAGE\nx:", [0xff], "\n\n\0"), /not UTF-8/],
  ]) {
    test(`${what} is refused`, () => {
      assert.throws(() => parse([wire]), { name: "ProtocolError", message });
    });
  }

  test("a frame over the limit is refused before it is all there", () => {
    const options = { maxFrameBytes: 100 };
    assert.throws(() => parse(["MESSAGE\ncontent-length:101\n\n"], "1.2", options), /more than 100 bytes/);
    assert.throws(() => parse(["MESSAGE\n\n" + "x".repeat(100)], "1.2", options), /larger than 100 bytes/);
    assert.throws(() => parse(["MESSAGE\nx:" + "x".repeat(100)], "1.2", options), /larger than 100 bytes/);
  });

  test("many small frames together may be over the limit of one", () => {
    assert.equal(parse(["MESSAGE\n\nx\0".repeat(50)], "1.2", { maxFrameBytes: 100 }).length, 50);
  });
});

describe("writing frames", () => {
  test("a text body goes out as text, a body of bytes as bytes", () => {
    assert.equal(encodeFrame("SEND", { a: "b" }, "é\0x", "1.2"), "SEND\na:b\n\né\0x\0");
    const wire = encodeFrame("SEND", { a: "b" }, Uint8Array.of(0xff, 0, 1), "1.2");
    assert.deepEqual(wire, join("SEND\na:b\n\n", [0xff, 0, 1, 0]));
    assert.deepEqual(encodeFrame("SEND", {}, Uint8Array.of(7).buffer, "1.2"), join("SEND\n\n", [7, 0]));
  });

  test("a view on part of a buffer sends that part", () => {
    const view = new Uint16Array(Uint8Array.of(1, 2, 3, 4, 5, 6).buffer, 2, 1);
    assert.deepEqual(encodeFrame("SEND", {}, view, "1.2"), join("SEND\n\n", [3, 4, 0]));
  });

  test("headers are escaped as each version defines it", () => {
    const header = { "a:b": "c:d\ne\\f" };
    assert.equal(encodeFrame("SEND", header, "", "1.1"), "SEND\na\\cb:c\\cd\\ne\\\\f\n\n\0");
    assert.equal(encodeFrame("SEND", header, "", "1.2"), "SEND\na\\cb:c\\cd\\ne\\\\f\n\n\0");
    assert.equal(encodeFrame("SEND", { a: "x\ry" }, "", "1.2"), "SEND\na:x\\ry\n\n\0");
    assert.equal(encodeFrame("SEND", { a: "c:\\d" }, "", "1.0"), "SEND\na:c:\\d\n\n\0");
    assert.equal(encodeFrame("CONNECT", { passcode: "c:\\d" }, "", null), "CONNECT\npasscode:c:\\d\n\n\0");
  });

  test("what a version cannot write is refused instead of sent broken", () => {
    assert.throws(() => encodeFrame("SEND", { a: "x\ny" }, "", "1.0"), ProtocolError);
    assert.throws(() => encodeFrame("SEND", { "a:b": "x" }, "", "1.0"), ProtocolError);
    assert.throws(() => encodeFrame("SEND", { a: "x\ry" }, "", "1.1"), ProtocolError);
    assert.throws(() => encodeFrame("SEND", { a: "x\0y" }, "", "1.2"), ProtocolError);
    assert.throws(() => encodeFrame("CONNECT", { login: "x\nadmin:yes" }, "", null), ProtocolError);
  });

  test("headers without a value are left out, numbers are written out", () => {
    assert.equal(encodeFrame("SEND", { a: null, b: undefined, c: 0 }, "", "1.2"), "SEND\nc:0\n\n\0");
  });

  test("what is written is read back the same in 1.1 and 1.2", () => {
    for (const version of ["1.1", "1.2"]) {
      for (const value of ["", " ", ":", "\\", "\n", "\\n", "a:b\\c\nd", "世界", "\\\\cc"]) {
        const [frame] = parse([encodeFrame("MESSAGE", { x: value, [`n${value}`]: "y" }, value, version)], version);
        assert.equal(frame.headers.x, value);
        assert.equal(frame.headers[`n${value}`], "y");
        assert.equal(frame.body, value);
      }
    }
  });
});
