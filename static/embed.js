/**
 * Puts the chat into a page of another web server, where this script stands:
 *
 *   <script src="http://CHAT:9000/static/embed.js" data-room="support"></script>
 *
 * A classic script without a library, which leaves nothing but a frame in the page. docs/embedding.md describes its
 * attributes, and the rules that the chat server's access list needs.
 */
(() => {
  "use strict";

  const WORDS = {
    title: (room) => (room === "" ? "Chat" : `Chat: ${room}`),
    lacking: (site, chat) =>
      `The chat at ${chat} is not open to pages of ${site} yet. Its operator can change that: ` +
      "put this into the section [access] of its chat.ini and restart it.",
    port: "61613 stands for the port of its stomp:// line.",
    nameless:
      "The chat can be put into pages that have a web address with a host name. This page has none: it is a file, " +
      "it is shown in a sandbox, or its address is an IPv6 number.",
    silent: (chat) =>
      `The chat at ${chat} does not answer. It may be down for a moment, or this page blocks it: if the page has a ` +
      `Content-Security-Policy, its frame-src and connect-src have to name ${chat}.`,
  };

  const DEFAULT_HEIGHT = "min(36rem, 80vh)";
  const SILENT_AFTER_MS = 15000;
  const EMBEDS = Symbol.for("rtchat.embeds");

  const script = document.currentScript;
  if (script === null) {
    console.error("rtchat: embed.js is not a module; load it with a plain <script src=\"…/static/embed.js\">.");
    return;
  }
  const chat = new URL(script.src).origin;
  const { room = "", nick = "", height = "", title = "", scheme = "", target = "" } = script.dataset;
  const number = (globalThis[EMBEDS] = (globalThis[EMBEDS] ?? 0) + 1);
  const box = document.createElement("div");
  box.className = "rtchat";

  function insertBox() {
    const chosen = target === "" ? null : document.querySelector(target);
    if (chosen !== null) chosen.append(box);
    else if (document.body.contains(script)) script.after(box);
    else document.body.append(box);
  }

  /** Show a message in place of the chat; `lines` are to be copied and stand apart. Return its element. */
  function say(text, lines = [], after = "") {
    const note = document.createElement("div");
    note.setAttribute("role", "status");
    note.style.cssText = "box-sizing: border-box; padding: 1em; border: 1px solid; overflow-wrap: anywhere";
    const parts = [["p", text], ["pre", lines.join("\n")], ["p", after]];
    for (const [tag, words] of parts.filter(([, words]) => words !== "")) {
      const part = document.createElement(tag);
      part.textContent = words;
      part.style.cssText = "margin: 0 0 0.5em; white-space: pre-wrap";
      note.append(part);
    }
    box.append(note);
    return note;
  }

  /** Return a CSS length: pixels if the text is a number, the default if it is no length. */
  function heightFrom(text) {
    const length = /^\d+$/.test(text) ? `${text}px` : text;
    return length !== "" && CSS.supports("height", length) ? length : DEFAULT_HEIGHT;
  }

  /** Return a promise of the sources whose rules are missing before this page may show the chat. */
  async function askLacking() {
    if (chat === location.origin) return []; // one of the chat server's own pages
    try {
      const answer = await fetch(`${chat}/embed/check`, { credentials: "omit", cache: "no-store" });
      const { lacking } = await answer.json();
      return Array.isArray(lacking) ? lacking.filter((one) => typeof one === "string") : [];
    } catch {
      return []; // The server is down, or this page's policy forbids the question: the frame decides.
    }
  }

  function show() {
    const query = new URLSearchParams({ host: location.origin, window: String(number), room });
    if (nick !== "") query.set("nick", nick);
    const frame = document.createElement("iframe");
    frame.title = title || WORDS.title(room);
    frame.allow = "clipboard-write";
    frame.referrerPolicy = "no-referrer";
    frame.style.cssText = "display: block; box-sizing: border-box; width: 100%; border: 1px solid rgb(128 128 128 / 0.45)";
    frame.style.height = heightFrom(height);
    // Otherwise the chat is as light or dark as the page.
    if (scheme === "light" || scheme === "dark") frame.style.colorScheme = scheme;
    frame.src = `${chat}/embed?${query}#${encodeURIComponent(room)}`;
    let note = null;
    const timer = setTimeout(() => {
      note = say(WORDS.silent(chat));
      frame.style.display = "none";
    }, SILENT_AFTER_MS);
    window.addEventListener("message", (event) => {
      if (event.source !== frame.contentWindow || event.origin !== chat || event.data?.rtchat !== "ready") return;
      clearTimeout(timer);
      note?.remove();
      frame.style.display = "block";
    });
    box.append(frame);
  }

  async function start() {
    insertBox();
    if (self.origin === "null" || location.hostname.startsWith("[")) {
      say(WORDS.nameless);
      return;
    }
    const lacking = await askLacking();
    const rules = lacking.map((source) => `${source} -> localhost:61613`);
    if (rules.length > 0) say(WORDS.lacking(location.host, chat), rules, WORDS.port);
    else show();
  }

  const isEarly = target !== "" || document.head.contains(script);
  if (isEarly && document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
