/**
 * How the time that the page's text functions take grows with the text: 4 times the text may take about 4 times as
 * long. Texts are hostile ones, made of the pieces that patterns and loops have to go back over.
 *
 * The module needs nothing but the language, so that any engine can run it: Node and Chromium (V8), Firefox
 * (SpiderMonkey), and the shell of JavaScriptCore, which is the engine of WebKit.
 */

import { addressOf, roomAt, roomNamed, roomOf } from "../../static/model/addresses.js";
import { parseLine } from "../../static/model/commands.js";
import { lookalikes, mixesAlphabets } from "../../static/model/lookalikes.js";
import { mentions } from "../../static/model/mentions.js";
import { chosenNick, cleanNick, foldNick, hueOf, sameNick } from "../../static/model/nicknames.js";
import { partsOf, safeUrl, searchPattern, split } from "../../static/model/richtext.js";
import { countChars, cut, small } from "../../static/model/text.js";
import { readError } from "../../static/protocol/errors.js";
import { readBody, stampedAt } from "../../static/protocol/messages.js";
import { People, RoomDirectory } from "../../static/protocol/presence.js";
import { Typing } from "../../static/protocol/typing.js";
import { isLong } from "../../static/view/folding.js";
import { otherNick } from "../../static/view/nick-dialog.js";
import { reasonWords, shownText } from "../../static/view/rows.js";

const json = (value) => ({ headers: {}, body: JSON.stringify(value) });

/** What the page does with a text of a stranger, or of its reader: name -> function. */
export const FUNCTIONS = {
  links: (text) => partsOf(text),
  "links and mentions": (text) => partsOf(text, "anna"),
  "mentions of a name": (text) => mentions(text, "Anna"),
  "mentions of a name in the text": (text) => mentions(text, text.slice(0, 32)),
  "mentions of a name that nearly is in the text": (text) => mentions(text, `${text.slice(0, 31)}x`),
  "an address": (text) => safeUrl(text),
  "the search for a letter": (text) => split(text, searchPattern("a"), "isMatch"),
  "the search for a part": (text) => split(text, searchPattern(`${text.slice(0, 60)}x`) ?? /x/g, "isMatch"),
  folding: (text) => isLong(text, 600),
  "what is shown": (text) => shownText({ text }),
  "cleaning a nickname": (text) => cleanNick(text),
  "choosing a nickname": (text) => otherNick(chosenNick(text)),
  "comparing nicknames": (text) => sameNick(text, `${text}x`),
  "a form of a nickname": (text) => foldNick(text),
  "a colour": (text) => hueOf(cleanNick(text)),
  "small letters": (text) => small(text),
  "cutting and counting": (text) => countChars(cut(text, text.length - 1)),
  "a room's name": (text) => roomNamed(text),
  "a room's destination": (text) => roomAt(`/topic/chat.${text}`),
  "a room's address": (text) => roomOf(`#${text}`),
  "a name of several alphabets": (text) => mixesAlphabets(text),
  "names that look alike": (text) => lookalikes([text, `${text}x`, text]),
  "a person's address": (text) => addressOf(`#@${text}`),
  "a command": (text) => parseLine(text),
  "the command /msg": (text) => parseLine(`/msg ${text}`),
  "a body": (text) => readBody({ body: text }),
  "a body in JSON": (text) => readBody(json({ nick: text, text, id: text })),
  "an error": (text) => reasonWords(readError({ headers: { message: text } }, true).reason),
  "a reason": (text) => reasonWords(text),
  "a time": (text) => stampedAt({ timestamp: text }),
  "a notice of typing": (text) => new Typing().hear(JSON.stringify({ nick: text, typing: true }), 0),
  "a person": (text) => new People().take(json({ event: "join", person: { id: "1", nick: text } })),
  "a list of rooms": (text) => new RoomDirectory().take(json({ event: "here", rooms: [{ destination: text, people: 1 }] })),
};

const UNITS = [
  ...[".", ")", "(", "()", ")(", ").", ".)", "]", "})", "[(", ")]}", ":", ",", "*", "_", "…", "~!", "*_"],
  ...["a", "a.", "aA", "A ", " ", "\n", "\t ", "\u00a0", "\u2028", "/", "//", ":/", "h", "http", "http:", "http://"],
  ...["http://a", "http://a.b/ ", "https://x) ", "http://\u00fc", "@", "@a", "@a ", "@ ", "anna", "anna ", "@anna,", "Anna"],
  ...["e\u0301", "\u0301", "\u0301\u0323", "\u0327\u0301\u0323", "\u200d", "\ufe0f", "\u200d\ufe0f", "👩\u200d", "👩🏽\u200d🚀"],
  ...["🏽", "\ud83d", "\udc00", "\ud83d\u200d", "ı", "İ", "ß", "ς", "Σ", "ﷺ", "ﬁ", "가", "\u1100\u1161\u11a8", "\u1100", "\u1161"],
  ...["\u034f", "\u3164", "\u115f", "\u0e33", "-", "-.", ".-", "_-", "#", '"', "'", "`", "<", ">", "\\", "$", "|", "{", "^"],
  ...["0", "1,", "longer than 1", "\0", "\x1f ", "\u202e", "\u00ad", "\u{e0100}", "𝔸", "世", "%", "%41", "&amp;"],
];
const BEGINNINGS = ["", "http://", "https://x/(", "http://[", "@", "/", '"', '"a" ', "text longer than 1", "a"];
const ENDS = ["", "!", ")", " x", "\ud800", "@", "\u0301", '"', "\n", "*a"];

/** A text may take this long in any case: nobody notices. */
const UNNOTICED_MS = 6;
/** So long no text may take. */
export const MOST_MS = 250;
/** 4 times the text, and some noise; what grows with the square takes 16 times as long. */
const MOST_TIMES = 6;
const LEAST_MEASURED_MS = 12;
/** So often at most is a text tried that seems to take too long: other programs disturb some tries. */
const TRIES = 30;

const clock = globalThis.performance ?? Date;

/** JavaScriptCore's shell has no URL; what stands in its place is not what is measured. */
globalThis.URL ??= class {
  constructor(text) {
    const [, protocol, hostname] = /^(https?:)\/\/([^/?#]+)/i.exec(text) ?? [];
    if (protocol === undefined) throw new TypeError("no address");
    Object.assign(this, { protocol: protocol.toLowerCase(), hostname, href: text });
  }
};

/** Return how long one call takes, in ms: the mean of as many as can be measured. */
function timeOf(act, text) {
  for (let count = 1; ; count *= 2) {
    const begin = clock.now();
    for (let i = 0; i < count; i++) act(text);
    const ms = clock.now() - begin;
    if (ms >= LEAST_MEASURED_MS || count >= 256) return ms / count;
  }
}

/** Return what is wrong with the growth of a function's time on texts of this kind, or null. */
export function fault(name, act, make, length) {
  const [short, long] = [make(length), make(4 * length)];
  const begin = clock.now();
  act(long);
  const first = clock.now() - begin;
  if (first < UNNOTICED_MS) return null;
  if (first > 8 * MOST_MS) return `${name}: ${first.toFixed()} ms`;
  // The shortest times of both: a try that was disturbed makes neither of them seem better than it is.
  let least = Infinity;
  let leastOfShort = Math.min(timeOf(act, short), timeOf(act, short), timeOf(act, short));
  let growth = Infinity;
  for (let i = 0; i < TRIES; i++) {
    least = Math.min(least, timeOf(act, long));
    leastOfShort = Math.min(leastOfShort, timeOf(act, short));
    growth = least / Math.max(leastOfShort, 0.01);
    if (least < UNNOTICED_MS || (least < MOST_MS && growth < MOST_TIMES)) return null;
  }
  return `${name}: ${least.toFixed(1)} ms, ${growth.toFixed(1)} times as long for 4 times the text`;
}

/** Return a generator of numbers from 0 to below 1 that are the same in every run (mulberry32). */
function numbersFrom(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), 1 | state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 4294967296;
  };
}

const repeated = (unit, length) => unit.repeat(Math.ceil(length / unit.length)).slice(0, length);

/** Yield kinds of texts: {title, make}, where make(length) returns a text of that length and a little more. */
export function* kinds(random, more) {
  const kind = (begin, unit, end) => ({
    title: JSON.stringify([begin, unit, end]),
    make: (length) => `${begin}${repeated(unit, length)}${end}`,
  });
  for (const [index, unit] of UNITS.entries()) {
    yield kind(index % 2 ? "http://x" : "", unit, "!");
    yield kind(BEGINNINGS[index % BEGINNINGS.length], unit, ENDS[index % ENDS.length]);
  }
  const pick = (list) => list[Math.floor(random() * list.length)];
  for (let i = 0; i < more; i++) {
    const units = Array.from({ length: 1 + Math.floor(random() * 3) }, () => pick(UNITS));
    if (random() < 0.3) {
      // Half of the text of one, half of another: what is opened, and what closes it.
      const [one, other] = [units[0], pick(UNITS)];
      yield {
        title: JSON.stringify([one, other]),
        make: (length) => repeated(one, length / 2) + repeated(other, length / 2) + pick(ENDS),
      };
    } else {
      yield kind(pick(BEGINNINGS), units.join(""), pick(ENDS));
    }
  }
}

/**
 * Return {count, faults}. `more` random kinds of texts come after the fixed ones; a text has `length` characters, and
 * then 4 times as many.
 */
export function measure({ more = 0, length = 2500, seed = 1 } = {}) {
  const faults = [];
  let count = 0;
  for (const { title, make } of kinds(numbersFrom(seed), more)) {
    for (const [name, act] of Object.entries(FUNCTIONS)) {
      count += 1;
      const found = fault(name, act, make, length);
      if (found !== null) faults.push(`${found}; ${title}`);
      if (faults.length >= 20) return { count, faults };
    }
  }
  return { count, faults };
}
