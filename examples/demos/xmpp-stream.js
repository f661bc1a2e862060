/**
 * An XMPP stream (RFC 6120): negotiates, logs in, binds a resource, then passes stanzas on. Text in, text out;
 * cryptography, parser and timers are passed in.
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

/** The longest time for the log-in, and for an answer to an iq afterwards. */
const ANSWER_WITHIN_MS = 20000;

/** An error whose message is a sentence for the user. */
export class XmppError extends Error {}

/** Return `{local, domain, resource, bare}` of user@domain[/resource], or null. */
export function parseJid(text) {
  const parts = /^([^\s"&'/:<>@]+)@([^\s/@]+)(?:\/(.+))?$/.exec(text.trim());
  if (parts === null) return null;
  const [local, domain] = [parts[1].normalize("NFKC").toLowerCase(), parts[2].toLowerCase()];
  return { local, domain, resource: parts[3] ?? "", bare: `${local}@${domain}` };
}

/** Return an address without its resource, in the form in which addresses are compared. */
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
  #queue = Promise.resolve(); // received text waits here while a proof is being computed
  #asked = new Map(); // id -> {to, resolve, reject, timer}
  #nextId = 1;
  #timer = null;

  /**
   * `send(text)` sends text; `read` is a stanzaReader. The callbacks: onopen says that the stream is ready;
   * onstanza(tree) has every stanza that answers no ask(); onfail(error), called at most once, has the XmppError that
   * ended the stream, whose socket must then be closed.
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

  /** Log in. `jid` is what parseJid() returns. The password itself is sent only if `isPlainAllowed`. */
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

  /** Send an iq. Return a promise of the answering iq; it is rejected with an XmppError on an error or a time-out. */
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

  /** End the stream; the server then closes the connection. */
  end() {
    if (this.#phase === "closed") return;
    if (this.#phase !== "new") this.#send("</stream:stream>");
    this.closed();
  }

  /** Release everything: the connection is gone. */
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
        // A new stream has started, or the stream is closed.
        if (this.#phase === "closed" || this.#splitter !== splitter) return;
      }
    } catch (error) {
      if (error instanceof XmlError) this.#fail(`The server broke the protocol: ${error.message}.`);
      else if (error instanceof SaslError) this.#fail(`Not logged in: ${error.message}.`);
      else if (error instanceof XmppError) this.#fail(error.message);
      else {
        this.#fail("This page has a bug; the browser's console shows it.");
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
      // Not awaited: the answer arrives through #receive, which waits for this function.
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
    // RFC 3921 required a session; current servers offer it to old clients and mark it optional.
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

  /**
   * Return whether an answer comes from where the question went, so that no third party can answer it. Our own account
   * and server may answer under any of their addresses, or under none.
   */
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

/** Return why none of the offered ways to log in can be used. */
function noMechanismWords(offered, startTls, hasCrypto) {
  if (offered.length === 0 && startTls !== undefined) {
    return "This server requires TLS inside the connection (STARTTLS), which a page cannot speak. Let the server accept logins from the gateway without TLS.";
  }
  if (!hasCrypto && offered.some((name) => name.startsWith("SCRAM-"))) {
    return "The browser offers no cryptography to a page that came over http from another machine. Open it over https, or allow the password to be sent as it is.";
  }
  if (offered.includes("PLAIN")) return "This server only takes the password as it is. Allow that below the password field, if you trust the connection to the server.";
  return `This page knows none of the ways to log in that the server offers: ${offered.join(", ") || "none"}.`;
}

function streamErrorWords(tree) {
  const text = textOf(child(tree, "text"));
  return `The server ended the stream: ${text || children(tree)[0]?.name || "no reason given"}.`;
}

/** Return the reason in a stanza of type "error". */
export function stanzaErrorWords(stanza) {
  const error = child(stanza, "error");
  const text = textOf(child(error, "text"));
  return text || children(error)[0]?.name.replace(/-/g, " ") || "no reason given";
}
