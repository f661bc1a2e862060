/** Instant messaging over an XMPP stream (RFC 6121): contacts, presence, messages. */

import { NS, bareOf, stanzaErrorWords } from "./xmpp-stream.js";
import { child, children, el, textOf } from "./xml-tree.js";

const ROSTER = "jabber:iq:roster";
const DELAY = "urn:xmpp:delay";
const PING = "urn:xmpp:ping";
const STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas";
/** The most available first. */
const SHOWS = ["chat", "online", "away", "xa", "dnd"];
const MAX_CONTACTS = 5000;

export class XmppContacts {
  #stream;
  #nextId = 1;
  #pending = new Map(); // id of a message -> address of its recipient

  /**
   * Take over an open stream. The callbacks: onchange says that the contacts or their presence have changed;
   * onmessage({jid, text, at, isOwn}) has a message; onask(jid) a request to see our presence; onproblem(jid, text) an
   * error.
   */
  constructor(stream) {
    this.#stream = stream;
    this.own = bareOf(stream.jid);
    /** bare address -> {jid, name, subscription, isAsking, resources: Map of resource -> {show, status}} */
    this.contacts = new Map();
    this.asking = new Set(); // bare addresses
    this.onchange = () => {};
    this.onmessage = () => {};
    this.onask = () => {};
    this.onproblem = () => {};
    stream.onstanza = (stanza) => this.#receive(stanza);
  }

  /** Fetch the contacts, then send them our presence: in this order none of their answers is lost. */
  async start() {
    const answer = await this.#stream.ask("get", null, el("query", { xmlns: ROSTER }));
    for (const item of children(child(answer, "query", ROSTER), "item")) this.#item(item);
    this.onchange();
    this.setPresence("online");
  }

  // ---- sending ----

  /** Announce our presence; `show` is "online", "chat", "away", "xa" or "dnd". */
  setPresence(show, status = "") {
    this.#stream.send(
      el("presence", {}, show === "online" ? null : el("show", {}, show), status === "" ? null : el("status", {}, status)),
    );
  }

  say(jid, text) {
    const id = `m${this.#nextId++}`;
    this.#pending.set(id, bareOf(jid));
    if (this.#pending.size > 1000) this.#pending.delete(this.#pending.keys().next().value);
    this.#stream.send(el("message", { to: jid, type: "chat", id }, el("body", {}, text)));
    this.onmessage({ jid: bareOf(jid), text, at: Date.now(), isOwn: true });
  }

  /** Add a person to the contacts and ask to see their presence. */
  async add(jid, name = "") {
    await this.#stream.ask("set", null, el("query", { xmlns: ROSTER }, el("item", { jid, name: name || null })));
    this.#stream.send(el("presence", { to: jid, type: "subscribe" }));
  }

  async remove(jid) {
    await this.#stream.ask("set", null, el("query", { xmlns: ROSTER }, el("item", { jid, subscription: "remove" })));
  }

  /** Let a person who has asked see our presence, and ask the same of them. */
  async accept(jid) {
    this.#decide(jid, "subscribed");
    const contact = this.contacts.get(jid);
    if (contact === undefined || (!/^(to|both)$/.test(contact.subscription) && !contact.isAsking)) await this.add(jid);
  }

  decline(jid) {
    this.#decide(jid, "unsubscribed");
  }

  // ---- the contacts ----

  /**
   * Return {show, status} of a contact's most available device; `show` is "chat", "online", "away", "xa", "dnd" or
   * "offline", `status` the contact's own words.
   */
  presenceOf(jid) {
    const found = [...(this.contacts.get(jid)?.resources.values() ?? [])];
    const best = found.sort((a, b) => SHOWS.indexOf(a.show) - SHOWS.indexOf(b.show))[0];
    return best ?? { show: "offline", status: "" };
  }

  nameOf(jid) {
    return this.contacts.get(jid)?.name || jid;
  }

  /** Return the contacts by name, first those who are online. */
  list() {
    const isAway = ({ jid }) => Number(this.presenceOf(jid).show === "offline");
    return [...this.contacts.values()].sort(
      (a, b) => isAway(a) - isAway(b) || this.nameOf(a.jid).localeCompare(this.nameOf(b.jid)),
    );
  }

  // ---- receiving ----

  #receive(stanza) {
    if (stanza.name === "message") this.#message(stanza);
    else if (stanza.name === "presence") this.#presence(stanza);
    else if (stanza.name === "iq") this.#asked(stanza);
  }

  #message(stanza) {
    const { from = this.own, type = "normal", id } = stanza.attrs;
    const jid = bareOf(from);
    if (type === "error") {
      const to = this.#pending.get(id);
      this.onproblem(to ?? jid, `Not delivered: ${stanzaErrorWords(stanza)}.`);
      return;
    }
    const body = child(stanza, "body", NS.client);
    if (type === "groupchat" || body === undefined) return; // a room, which we never join; or a state such as "is typing"
    const stamp = Date.parse(child(stanza, "delay", DELAY)?.attrs.stamp ?? "");
    this.onmessage({ jid, text: textOf(body), at: Number.isNaN(stamp) ? Date.now() : stamp, isOwn: false });
  }

  #presence(stanza) {
    const { from = "", type = "" } = stanza.attrs;
    const jid = bareOf(from);
    const resource = from.slice(jid.length + 1);
    const contact = this.contacts.get(jid);
    if (type === "subscribe") {
      this.asking.add(jid);
      this.onask(jid);
    } else if (type === "error") {
      this.onproblem(jid, `${stanzaErrorWords(stanza)}.`);
      contact?.resources.clear();
    } else if (type === "unavailable") {
      contact?.resources.delete(resource);
    } else if (type === "" && contact !== undefined) {
      const show = textOf(child(stanza, "show"));
      const status = textOf(child(stanza, "status"));
      contact.resources.set(resource, { show: SHOWS.includes(show) ? show : "online", status });
    }
    this.onchange();
  }

  #asked(iq) {
    const { id = null, from = null, type } = iq.attrs;
    if (type !== "get" && type !== "set") return;
    const roster = child(iq, "query", ROSTER);
    // Only our own server may change our contacts (RFC 6121, 2.1.6).
    if (type === "set" && roster !== undefined && (from === null || bareOf(from) === this.own)) {
      for (const item of children(roster, "item")) this.#item(item);
      this.#stream.send(el("iq", { type: "result", id, to: from }));
      this.onchange();
    } else if (type === "get" && child(iq, "ping", PING) !== undefined) {
      this.#stream.send(el("iq", { type: "result", id, to: from }));
    } else {
      const reason = el("error", { type: "cancel" }, el("service-unavailable", { xmlns: STANZAS }));
      this.#stream.send(el("iq", { type: "error", id, to: from }, reason));
    }
  }

  #item({ attrs }) {
    const jid = bareOf(attrs.jid ?? "");
    if (jid === "") return;
    if (attrs.subscription === "remove") {
      this.contacts.delete(jid);
      return;
    }
    const known = this.contacts.get(jid);
    if (known === undefined && this.contacts.size >= MAX_CONTACTS) return;
    this.contacts.set(jid, {
      jid,
      name: attrs.name ?? "",
      subscription: attrs.subscription ?? "none",
      isAsking: attrs.ask === "subscribe",
      resources: known?.resources ?? new Map(),
    });
  }

  #decide(jid, type) {
    this.asking.delete(jid);
    this.#stream.send(el("presence", { to: jid, type }));
    this.onchange();
  }
}
