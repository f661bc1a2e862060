/** Who may import whom in static/ and examples/demos, and what the lower layers may not know. */

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Each folder of static/, or file beside them, and the folders and files that it may import. */
const MAY_IMPORT = {
  "access.js": ["embed", "model", "protocol", "strings.js", "view"],
  "JSON.js": [],
  "demos.js": [],
  "embed.js": [],
  "stomp.js": [],
  "strings.js": [],
  "tcpsocket.js": [],
  model: ["model"],
  protocol: ["protocol", "model"],
  embed: ["embed", "model"],
  view: ["view", "model", "strings.js"],
  "chat.js": ["access.js", "demos.js", "embed", "model", "protocol", "stomp.js", "strings.js", "view"],
  "frame.js": ["chat.js", "embed", "model", "strings.js"],
};
const WITHOUT_DOM = ["model", "protocol"];
/** "x-presence-window" is the name of a header. */
const DOM = /(?<!-)\b(document|window|navigator|location|localStorage|sessionStorage|HTML\w*Element|DOMParser)\b/;
const MAX_LINES = 450;
/** One file each, so that a page of another server needs one script tag. */
const MAY_BE_LONG = ["stomp.js"];

/** The scripts of a folder and the folders in it: path in the folder -> text. */
function read(folder, below = "", scripts = new Map()) {
  for (const entry of fs.readdirSync(path.join(ROOT, folder, below), { withFileTypes: true })) {
    const name = path.posix.join(below, entry.name);
    if (entry.isDirectory()) read(folder, name, scripts);
    else if (name.endsWith(".js")) scripts.set(name, fs.readFileSync(path.join(ROOT, folder, name), "utf-8"));
  }
  return scripts;
}

const withoutComments = (text) => text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*/g, "$1");

/** What a script imports, statically and dynamically; paths as they are written. */
function importsOf(text) {
  const found = withoutComments(text).matchAll(/\bfrom\s*"([^"]+)"|\bimport\s*\(?\s*"([^"]+)"/g);
  return [...found].map(([, from, plain]) => from ?? plain);
}

const layerOf = (name) => (name.includes("/") ? name.split("/")[0] : name);

/** The file of the folder that `name` imports as `written`; null for anything else. */
function target(name, written) {
  if (written.startsWith("/static/")) return written.slice("/static/".length);
  return written.startsWith(".") ? path.posix.join(path.posix.dirname(name), written) : null;
}

/** Every breach of the layers in the scripts of static/, a sentence each. */
function breaches(scripts) {
  const found = [];
  for (const [name, text] of scripts) {
    const layer = layerOf(name);
    const allowed = MAY_IMPORT[layer];
    if (allowed === undefined) found.push(`${name} belongs to no layer`);
    for (const written of importsOf(text)) {
      const imported = target(name, written);
      if (imported === null || !scripts.has(imported)) found.push(`${name} imports ${written}, which is no file of static/`);
      else if (!allowed?.includes(layerOf(imported))) found.push(`${name} may not import ${imported}`);
    }
    const [word] = WITHOUT_DOM.includes(layer) ? (DOM.exec(withoutComments(text)) ?? []) : [];
    if (word !== undefined) found.push(`${name} uses the DOM: ${word}`);
    const lines = text.split("\n").length - 1;
    if (lines > MAX_LINES && !MAY_BE_LONG.includes(name)) found.push(`${name} has ${lines} lines`);
  }
  return [...found, ...circles(scripts)];
}

function circles(scripts) {
  const found = [];
  const done = new Set();
  const visit = (name, above) => {
    if (above.includes(name)) found.push(`a circle: ${[...above.slice(above.indexOf(name)), name].join(" -> ")}`);
    if (done.has(name) || above.includes(name)) return;
    for (const written of importsOf(scripts.get(name) ?? "")) visit(target(name, written), [...above, name]);
    done.add(name);
  };
  for (const name of scripts.keys()) visit(name, []);
  return found;
}

/** The files that a script needs before it runs: static imports, all the way down. */
function graphOf(scripts, name, seen = new Set()) {
  for (const [, written] of withoutComments(scripts.get(name)).matchAll(/^(?:import|export)\b[^;(="]*?"([^"]+)";/gm)) {
    const imported = target(name, written);
    if (seen.has(imported)) continue;
    seen.add(imported);
    graphOf(scripts, imported, seen);
  }
  return seen;
}

test("static/ keeps to its layers", () => {
  assert.deepEqual(breaches(read("static")), []);
});

for (const [what, name, line, breach] of [
  ["an import upwards", "model/conversation.js", 'import { SeenIds } from "../protocol/send-queue.js";', /conversation.js may not import protocol/],
  ["an import over several lines", "view/rows.js", 'import {\n  readBody,\n} from "../protocol/messages.js";', /rows.js may not import protocol/],
  ["an import for its effect", "protocol/session.js", 'import "../stomp.js";', /session.js may not import stomp.js/],
  ["a dynamic import", "embed/context.js", 'await import("../chat.js");', /context.js may not import chat.js/],
  ["an absolute import", "view/dom.js", 'import { Room } from "/static/protocol/room.js";', /dom.js may not import protocol/],
  ["an import that hands on", "model/text.js", 'export { STRINGS } from "../strings.js";', /text.js may not import strings.js/],
  ["words in the protocol", "protocol/errors.js", 'import { STRINGS } from "../strings.js";', /errors.js may not import strings.js/],
  ["a script that must stand alone", "stomp.js", 'import "./model/text.js";', /stomp.js may not import model/],
  ["an import of another host", "view/dom.js", 'import x from "https://cdn.example/x.js";', /no file of static/],
  ["an import of a file that is not there", "chat.js", 'import "./model/memory.js";', /no file of static/],
  ["the DOM in the model", "model/storage.js", "document.title = 1;", /uses the DOM: document/],
  ["the DOM in the protocol", "protocol/connection.js", 'window.addEventListener("online", f);', /uses the DOM: window/],
  ["a circle", "model/text.js", 'import { cleanNick } from "./nicknames.js";', /circle: .*(model\/text.js -> model\/nicknames.js|model\/nicknames.js -> model\/text.js)/],
  ["a long file", "view/rows.js", "\n".repeat(MAX_LINES), /rows.js has \d+ lines/],
  ["a folder without a layer", "widgets/clock.js", "", /belongs to no layer/],
]) {
  test(`finds ${what}`, () => {
    const scripts = read("static");
    scripts.set(name, `${line}\n${scripts.get(name) ?? ""}`);
    assert.match(breaches(scripts).join("\n"), breach);
  });
}

test("a comment is no import and no use of the DOM", () => {
  const scripts = read("static");
  scripts.set("model/text.js", `/* import "../chat.js"; */ // document\n${scripts.get("model/text.js")}`);
  assert.deepEqual(breaches(scripts), []);
});

test("index.html announces every module that chat.js needs, and no other", () => {
  const page = fs.readFileSync(path.join(ROOT, "static", "index.html"), "utf-8");
  const announced = [...page.matchAll(/rel="modulepreload" href="\/static\/([^"]+)"/g)].map(([, name]) => name);
  assert.deepEqual(announced, [...graphOf(read("static"), "chat.js")].sort());
});

test("the demos use what static/ promises to every page, and no module of the chat page", () => {
  const scripts = read("examples/demos");
  for (const [name, text] of scripts) {
    for (const written of importsOf(text)) {
      const isOwn = written.startsWith("./") && scripts.has(written.slice(2));
      assert.ok(isOwn || written === "/static/tcpsocket.js", `${name} imports ${written}`);
    }
  }
  for (const name of fs.readdirSync(path.join(ROOT, "examples/demos")).filter((one) => one.endsWith(".html"))) {
    const page = fs.readFileSync(path.join(ROOT, "examples/demos", name), "utf-8");
    for (const [, address] of page.matchAll(/\b(?:href|src)="([^"]+)"/g)) {
      const isOwn = fs.existsSync(path.join(ROOT, "examples/demos", address));
      assert.ok(isOwn || /^\/(static\/(favicon\.svg|chat\.css|messages\.css))?$/.test(address), `${name} names ${address}`);
    }
  }
});
