/**
 * An XMPP stream (RFC 6120) from its start tag to the bound resource: negotiates, logs in, then passes stanzas on.
 * Text in, text out; cryptography, parser and timers are handed in. No DOM and no socket in here.
 */

import { SaslError, Scram, chooseMechanism, plainMessage } from "./sasl.js";
import { XmlError, XmlSplitter } from "./xml-splitter.js";
import { child, children, el, escapeXml, textOf, write } from "./xml-tree.js";

export const NS = {
  client: "jabber:client",
  streams: "http://etherx.jabber.org/streams",
  sasl: "urn:ietf:params:xml:ns:xmpp-sasl",
  bind: "urn:ietf:params:xml:ns:xmpp-bind",
  session: "urn:ietf:params:xml:ns:xmpp-session",
  tls: "urn:ietf:params:xml:ns:xmpp-tls",
};

/** How long the server may take to let us in, and to answer a question afterwards. */
const ANSWER_WITHIN_MS = 20000;

/** What went wrong, as a sentence for people. */
export class XmppError extends Error {}

/** `{local, domain, resource, bare}` of user@domain[/resource], or null. */
export function parseJid(text) {
  const parts = /^([^\s"&'/:<>@]+)@([^\s/@]+)(?:\/(.+))?$/.exec(text.trim());
  if (parts === null) return null;
  const [local, domain] = [parts[1].normalize("NFKC").toLowerCase(), parts[2].toLowerCase()];
  return { local, domain, resource: parts[3] ?? "", bare: `${local}@${domain}` };
}

/** An address without its resource, as it is compared. */
export function bareOf(jid) {
  return jid.split("/")[0].toLowerCase();
}

export class XmppStream {
  #send;
  #read;
  #crypto;
  #timers;
  #account = null;
  #splitter = null;
  #header = "";
  #phase = "new"; // new, login, proving, binding, open, closed
  #scram = null;
  #queue = Promise.resolve(); // a proof takes time; what comes meanwhile waits its turn
  #asked = new Map(); // id -> {to, resolve, reject, timer}
  #nextId = 1;
  #timer = null;

  /**
   * `send` takes text to send; `read` is a stanzaReader. The callbacks: onopen when we are in, onstanza(tree) for all
   * that is no answer of ours, onfail(error) once, for an XmppError that ended it all; then the socket is to be closed.
   */
  constructor(send, read, { crypto = globalThis.crypto, timers = globalThis } = {}) {
    this.#send = send;
    this.#read = read;
    this.#crypto = crypto;
    this.#timers = timers;
    this.jid = ""; // our full address
    this.mechanism = "";
    this.onopen = () => {};
    this.onstanza = () => {};
    this.onfail = () => {};
  }

  get isOpen() {
    return this.#phase === "open";
  }

  /** `jid` is what parseJid gives. The password goes out in the clear only if `isPlainAllowed`. */
  start({ jid, password, isPlainAllowed = false }) {
    this.#account = { jid, password, isPlainAllowed };
    this.#phase = "login";
    this.#timer = this.#timers.setTimeout(() => this.#fail("The server did not let us in within 20 seconds."), ANSWER_WITHIN_MS);
    this.#openStream();
  }

  receive(text) {
    this.#queue = this.#queue.then(() => this.#receive(text));
    return this.#queue;
  }

  send(tree) {
    this.#send(write(tree));
  }

  /** Asks with an iq; gives the answer's iq, throws an XmppError when it is an error or does not come. */
  ask(type, to, payload) {
    const id = `q${this.#nextId++}`;
    return new Promise((resolve, reject) => {
      const timer = this.#timers.setTimeout(() => {
        this.#asked.delete(id);
        reject(new XmppError("The server did not answer."));
      }, ANSWER_WITHIN_MS);
      this.#asked.set(id, { to, resolve, reject, timer });
      this.send(el("iq", { type, id, to }, payload));
    });
  }

  /** Says goodbye; the server closes the connection. */
  end() {
    if (this.#phase === "closed") return;
    if (this.#phase !== "new") this.#send("</stream:stream>");
    this.closed();
  }

  /** Lets go of everything: the connection is gone. */
  closed() {
    this.#phase = "closed";
    this.#timers.clearTimeout(this.#timer);
    for (const { reject, timer } of this.#asked.values()) {
      this.#timers.clearTimeout(timer);
      reject(new XmppError("The connection is gone."));
    }
    this.#asked.clear();
    this.#account = null;
  }

  #openStream() {
    this.#splitter = new XmlSplitter();
    const to = escapeXml(this.#account.jid.domain);
    this.#send(
      `<?xml version='1.0'?><stream:stream to='${to}' version='1.0' xml:lang='en' xmlns='${NS.client}' xmlns:stream='${NS.streams}'>`,
    );
  }

  async #receive(text) {
    if (this.#phase === "closed" || this.#phase === "new") return;
    try {
      const splitter = this.#splitter;
      for (const event of splitter.feed(text)) {
        if (event.type === "open") this.#opened(event.text);
        else if (event.type === "close") this.#fail("The server has ended the stream.");
        else await this.#element(this.#read(this.#header, event.text));
        // A new stream has begun, or all is over.
        if (this.#phase === "closed" || this.#splitter !== splitter) return;
      }
    } catch (error) {
      if (error instanceof XmlError) this.#fail(`The server broke the protocol: ${error.message}.`);
      else if (error instanceof SaslError) this.#fail(`Not logged in: ${error.message}.`);
      else if (error instanceof XmppError) this.#fail(error.message);
      else {
        this.#fail("This page has made a mistake; the browser's console says which.");
        throw error;
      }
    }
  }

  #opened(header) {
    const { name, ns } = this.#read(header);
    if (name !== "stream" || ns !== NS.streams) throw new XmlError("this is no XMPP stream");
    this.#header = header;
  }

  async #element(tree) {
    if (tree.ns === NS.streams && tree.name === "error") throw new XmppError(streamErrorWords(tree));
    if (tree.ns === NS.streams && tree.name === "features") await this.#features(tree);
    else if (tree.ns === NS.sasl) await this.#sasl(tree);
    else if (tree.ns === NS.client && tree.name === "iq" && /^(result|error)$/.test(tree.attrs.type)) this.#answered(tree);
    else if (tree.ns === NS.client && this.isOpen) this.onstanza(tree);
  }

  async #features(features) {
    if (this.#phase === "login") {
      const offered = children(child(features, "mechanisms", NS.sasl), "mechanism").map(textOf);
      await this.#login(offered, child(features, "starttls", NS.tls));
    } else if (this.#phase === "binding") {
      // Not awaited: the answer comes through #receive, which waits for this.
      this.#bind(features).catch((error) => this.#fail(error.message));
    }
  }

  async #login(offered, startTls) {
    const { jid, password, isPlainAllowed } = this.#account;
    const hasCrypto = this.#crypto?.subtle !== undefined;
    const mechanism = chooseMechanism(offered, { hasCrypto, isPlainAllowed });
    if (mechanism === null) throw new XmppError(noMechanismWords(offered, startTls, hasCrypto));
    this.mechanism = mechanism;
    this.#phase = "proving";
    let first;
    if (mechanism === "PLAIN") {
      first = plainMessage(jid.local, password);
    } else {
      this.#scram = new Scram(mechanism, jid.local, password, { crypto: this.#crypto });
      first = this.#scram.first();
    }
    this.send(el("auth", { xmlns: NS.sasl, mechanism }, first));
  }

  async #sasl(tree) {
    if (this.#phase !== "proving") return;
    if (tree.name === "challenge" && this.#scram !== null) {
      const answer = await this.#scram.answer(textOf(tree));
      if (this.#phase === "proving") this.send(el("response", { xmlns: NS.sasl }, answer));
    } else if (tree.name === "success") {
      if (this.#scram !== null) this.#scram.verify(textOf(tree));
      this.#account.password = "";
      this.#phase = "binding";
      this.#openStream();
    } else if (tree.name === "failure") {
      const reason = textOf(child(tree, "text")) || children(tree)[0]?.name || "no reason given";
      const isWrong = child(tree, "not-authorized") !== undefined;
      throw new XmppError(isWrong ? "Not logged in: the name or password is wrong." : `Not logged in: ${reason}.`);
    } else {
      throw new XmppError("The server broke the protocol while we logged in.");
    }
  }

  async #bind(features) {
    const { resource } = this.#account.jid;
    const wanted = el("bind", { xmlns: NS.bind }, resource === "" ? null : el("resource", {}, resource));
    const answer = await this.ask("set", null, wanted);
    this.jid = textOf(child(child(answer, "bind", NS.bind), "jid"));
    if (this.jid === "") throw new XmppError("The server did not tell us our address.");
    const session = child(features, "session", NS.session);
    // RFC 3921 had a session to begin; servers of today offer it for old clients and call it optional.
    if (session !== undefined && child(session, "optional") === undefined) {
      await this.ask("set", null, el("session", { xmlns: NS.session }));
    }
    this.#timers.clearTimeout(this.#timer);
    this.#phase = "open";
    this.onopen();
  }

  #answered(iq) {
    const asked = this.#asked.get(iq.attrs.id);
    if (asked === undefined || !this.#isFrom(iq.attrs.from, asked.to)) return;
    this.#asked.delete(iq.attrs.id);
    this.#timers.clearTimeout(asked.timer);
    if (iq.attrs.type === "result") asked.resolve(iq);
    else asked.reject(new XmppError(stanzaErrorWords(iq)));
  }

  /** Nobody else may answer what we asked: an answer from our own account or server may have no or any of its names. */
  #isFrom(from, to) {
    if (to) return from === to;
    const own = this.#account?.jid;
    return !from || bareOf(from) === own?.bare || from.toLowerCase() === own?.domain || bareOf(from) === bareOf(this.jid);
  }

  #fail(words) {
    if (this.#phase === "closed") return;
    this.end();
    this.onfail(new XmppError(words));
  }
}

function noMechanismWords(offered, startTls, hasCrypto) {
  if (offered.length === 0 && startTls !== undefined) {
    return "This server lets nobody in without TLS inside the connection, which a page cannot do. Let it accept logins from the gateway without TLS.";
  }
  if (!hasCrypto && offered.some((name) => name.startsWith("SCRAM-"))) {
    return "The browser gives this page no cryptography, because it came over http from another machine. Open it over https, or allow the password to be sent as it is.";
  }
  if (offered.includes("PLAIN")) return "This server only takes the password as it is. Allow that below the password, if you trust the way to it.";
  return `This page knows none of the ways to log in that the server offers: ${offered.join(", ") || "none"}.`;
}

function streamErrorWords(tree) {
  const text = textOf(child(tree, "text"));
  return `The server ended the stream: ${text || children(tree)[0]?.name || "no reason given"}.`;
}

/** The reason in a stanza of type "error", in words. */
export function stanzaErrorWords(stanza) {
  const error = child(stanza, "error");
  const text = textOf(child(error, "text"));
  return text || children(error)[0]?.name.replace(/-/g, " ") || "no reason given";
}
