/** The XMPP page: joins the stream, the TCPSocket and the elements of xmpp.html. */

import {
  $, TCPSocket, announce, closeWords, make, offerTargets, readTarget, showProblem, showState, startComposer, store,
} from "./page.js";
import { RoomsView, startAside } from "./rooms-view.js";
import { stanzaReader } from "./xml-tree.js";
import { XmppContacts } from "./xmpp-contacts.js";
import { XmppStream, parseJid } from "./xmpp-stream.js";

const DEFAULT_PORT = 5222;
/** White space between stanzas keeps the connection in use, so that no device in between drops it as idle. */
const KEEP_ALIVE_MS = 60000;
const PRESENCE = { chat: "free to talk", online: "online", away: "away", xa: "away for long", dnd: "busy", offline: "offline" };

const view = new RoomsView();
const aside = startAside();
let socket = null;
let stream = null;
let contacts = null;
let keepAliveTimer = null;
let failure = ""; // why the stream ended
let account = ""; // the address whose conversations are in the page

// ---- the connection ----

function connect(target, jid, password, isPlainAllowed) {
  const ownSocket = new TCPSocket();
  const send = (text) => {
    // After the end of the connection nothing can be sent; the page says so.
    if (ownSocket.readyState === TCPSocket.READY_STATE_OPEN) ownSocket.send(text);
  };
  const ownStream = new XmppStream(send, stanzaReader(new DOMParser()));
  const fail = (error) => {
    failure = error.message;
    ownSocket.close();
  };
  socket = ownSocket;
  stream = ownStream;
  failure = "";
  ownStream.onopen = () => enter(ownStream).catch(fail);
  ownStream.onfail = fail;
  ownSocket.onopen = () => ownStream.start({ jid, password, isPlainAllowed });
  ownSocket.onread = (text) => ownStream.receive(text);
  ownSocket.onclose = (code) => {
    ownStream.closed();
    if (socket === ownSocket) closed(code);
  };
  showProblem("");
  showState("connecting");
  $("connect").disabled = true;
  ownSocket.open(target.host, target.port);
}

async function enter(ownStream) {
  contacts = new XmppContacts(ownStream);
  if (contacts.own !== account) view.clear();
  account = contacts.own;
  contacts.onchange = showContacts;
  contacts.onmessage = ({ jid, text, at, isOwn }) => {
    openConversation(jid, isOwn);
    view.add(jid, { nick: isOwn ? contacts.own : contacts.nameOf(jid), text, at, isOwn });
  };
  contacts.onask = (jid) => announce(`${jid} asks to see when you are online.`);
  contacts.onproblem = (jid, words) => {
    openConversation(jid, false);
    view.add(jid, { notice: words });
  };
  await contacts.start();
  showState("online", `${contacts.own} · ${ownStream.mechanism}`);
  announce(`Logged in as ${contacts.own}.`);
  $("password").value = "";
  $("login-form").hidden = true;
  $("workspace").hidden = false;
  $("leave").hidden = false;
  keepAliveTimer = setInterval(() => {
    if (socket?.readyState === TCPSocket.READY_STATE_OPEN) socket.send(" ");
  }, KEEP_ALIVE_MS);
  $("presence").value = "online";
  showConversation();
  ($("aside").hidden ? $("aside-toggle") : $("contact")).focus();
}

function closed(code) {
  clearInterval(keepAliveTimer);
  const wasIn = !$("workspace").hidden;
  socket = null;
  contacts = null;
  showState("offline");
  $("connect").disabled = false;
  $("leave").hidden = true;
  $("login-form").hidden = false;
  $("workspace").hidden = true;
  const words = failure || (wasIn && code === 1000 ? "" : closeWords(code));
  showProblem(words);
  announce(words || closeWords(code));
  (wasIn || failure !== "" ? $("password") : $("target")).focus();
}

$("login-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (socket !== null) return;
  const jid = parseJid($("jid").value);
  if (jid === null) {
    showProblem("Write your address as name@domain, for example ada@localhost.");
    $("jid").focus();
    return;
  }
  const target = readTarget(DEFAULT_PORT);
  if (target === null) return;
  store.set("xmpp.jid", $("jid").value.trim());
  connect(target, jid, $("password").value, $("plain").checked);
});

$("leave").addEventListener("click", () => {
  stream.end();
  socket?.close();
});

$("presence").addEventListener("change", () => contacts?.setPresence($("presence").value));

// ---- contacts ----

function showContacts() {
  $("requests").replaceChildren(...[...contacts.asking].map(requestItem));
  $("contacts").replaceChildren(...contacts.list().map(contactItem));
  $("no-contacts").hidden = contacts.contacts.size > 0;
  const count = contacts.list().filter(({ jid }) => contacts.presenceOf(jid).show !== "offline").length;
  $("aside-toggle").textContent = `Contacts (${count} online)${contacts.asking.size > 0 ? " •" : ""}`;
  showConversation();
}

function presenceDot(show) {
  const dot = make("span", "presence-dot");
  dot.dataset.show = show;
  dot.setAttribute("aria-hidden", "true");
  return dot;
}

function contactItem({ jid, subscription, isAsking }) {
  const { show, status } = contacts.presenceOf(jid);
  const item = make("li", "");
  const button = make("button", "person");
  button.type = "button";
  button.title = jid;
  button.dataset.jid = jid;
  const words = make("span", "person-words");
  const waiting = isAsking || !/^(to|both)$/.test(subscription) ? "does not share presence with you" : PRESENCE[show];
  words.append(make("bdi", "person-name", contacts.nameOf(jid)), make("span", "person-state", status || waiting));
  button.append(presenceDot(show), words);
  button.addEventListener("click", () => {
    openConversation(jid, true);
    aside.closeIfNarrow();
    $("text").focus();
  });
  item.append(button);
  return item;
}

function requestItem(jid) {
  const item = make("li", "request");
  const words = make("p", "");
  words.append(make("bdi", "person-name", jid), " asks to see when you are online.");
  const answer = (label, act) => {
    const button = make("button", "pill", label);
    button.type = "button";
    button.addEventListener("click", act);
    return button;
  };
  const accept = () => contacts.accept(jid).catch((error) => showTrouble(error.message));
  item.append(words, answer("Accept", accept), answer("Decline", () => contacts.decline(jid)));
  return item;
}

function showTrouble(words) {
  $("contact-problem").textContent = words;
  announce(words);
}

$("contact-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const jid = parseJid($("contact").value);
  if (jid === null) {
    showTrouble("Write the address as name@domain.");
    return;
  }
  showTrouble("");
  contacts.add(jid.bare).catch((error) => showTrouble(error.message));
  $("contact").value = "";
});

// ---- conversations ----

function openConversation(jid, isWanted) {
  view.put(jid, contacts.nameOf(jid));
  if (isWanted) view.open(jid);
}

function showConversation() {
  const jid = view.current;
  $("composer").hidden = jid === null;
  $("choose").hidden = jid !== null;
  $("close-room").hidden = jid === null;
  document.title = `${jid ?? "XMPP"} · rtchat`;
  if (jid === null || contacts === null) {
    $("topic").textContent = "";
    return;
  }
  const { show, status } = contacts.presenceOf(jid);
  $("topic").replaceChildren(presenceDot(show), ` ${jid} · ${PRESENCE[show]}${status === "" ? "" : ` · ${status}`}`);
}

view.onopen = showConversation;

$("close-room").addEventListener("click", () => {
  view.remove(view.current);
  showConversation();
});

startComposer((text) => {
  if (text.trim() === "") return undefined;
  if (contacts === null || view.current === null) return false;
  contacts.say(view.current, text.trimEnd());
  return undefined;
});

showState("offline");
$("jid").value = store.get("xmpp.jid");
offerTargets("xmpp", DEFAULT_PORT);
($("jid").value === "" ? $("jid") : $("password")).focus();
