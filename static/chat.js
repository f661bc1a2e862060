/** The chat page: joins the session to the view. */

import "./stomp.js";
import { sharedStorageOf, storageOf } from "./embed/context.js";
import { addressOf, privateHash, roomHash, roomNamed, roomOf } from "./model/addresses.js";
import { parseLine } from "./model/commands.js";
import { Identity } from "./model/identity.js";
import { mentions } from "./model/mentions.js";
import { chosenNick, cleanNick, sameNick } from "./model/nicknames.js";
import { ReadNotes } from "./model/read-notes.js";
import { ReadPositions, Store } from "./model/storage.js";
import { TalkStore } from "./model/talks.js";
import { MAX_TEXT_CHARS } from "./model/text.js";
import { askAdmission } from "./protocol/admission.js";
import { SendQueue } from "./protocol/send-queue.js";
import { ChatSession } from "./protocol/session.js";
import { STRINGS } from "./strings.js";
import { Composer } from "./view/composer.js";
import { $, announce, fillIn, oncePerFrame, placeOfLogIn } from "./view/dom.js";
import { LogView } from "./view/log-view.js";
import { Naming } from "./view/naming.js";
import { Notifications } from "./view/notify.js";
import { shownText } from "./view/rows.js";
import { Search } from "./view/search.js";
import { Sidebar, hashOf, titleOf } from "./view/sidebar.js";
import { Status } from "./view/status.js";
import { Visits } from "./view/visits.js";

const MAX_REMEMBERED_ROOMS = 50;
const TYPING_REFRESH_MS = 1000;

fillIn();

const local = new Store(sharedStorageOf("localStorage"));
const perTab = new Store(sharedStorageOf("sessionStorage"));
const sendQueue = new SendQueue(storageOf("sessionStorage"), storageOf("localStorage"));
const readPositions = new ReadPositions(local);
const readNotes = new ReadNotes(readPositions);
const person = new Identity(local, { hasLogIn: placeOfLogIn() !== "" });

const client = new globalThis.STOMPClient({ url: "/ws", connectHeaders: () => session.connectHeaders() });
const session = new ChatSession({ client, sendQueue, readPositions, person, talks: new TalkStore(perTab) });
const visits = new Visits();
const status = new Status();
const view = new LogView();
const composer = new Composer(perTab);
const sidebar = new Sidebar(session);
const naming = new Naming(session, status, (...notice) => session.onnotice(view.conversation, ...notice));
const notifications = new Notifications(local);
const search = new Search({
  rows: view.rows,
  list: view.list,
  conversation: () => view.conversation,
  loadOlder: (conversation) => session.loadOlder(conversation),
});
let saidNotKept = false;

// ---- the connection ----

session.onstate = (state, next) => {
  status.show(state, next);
  const isDown = state === "offline" && (next.retryAt !== null || next.final);
  if (isDown) naming.postpone();
  if (isDown && next.code === ABNORMAL) explainRefusal();
  if (isDown && next.code === REFUSED) withAccess((access) => access.refused());
  if (state === "online") wasAsked = false;
  if (isDown || state === "online") view.setOnline(!isDown);
};
const ABNORMAL = 1006; // a WebSocket was refused, or its server is gone: the browser tells no more
const REFUSED = 3501; // for want of a log-in
let wasAsked = false;

/** Say that the server refuses this page, or wants a log-in, should that be the reason why there is no connection. */
async function explainRefusal() {
  if (wasAsked) return;
  wasAsked = true;
  const answer = await askAdmission(location.origin);
  wasAsked = answer === "refused";
  if (wasAsked) status.explain(STRINGS.notAdmitted(location.host));
  if (answer === "asks") session.connection.giveUp(REFUSED);
}

/** Make the next attempt to connect now instead of later. */
function reconnectNow() {
  if (status.isWaiting) session.connect();
}

/** Connect, after a question for a nickname if there is none; a server that knows users is asked first. */
function enter() {
  const mayKnow = person.hasLogIn && session.connection.state === "offline";
  if (session.nick === "" && !mayKnow) naming.askFirst();
  else session.connect();
}

let loading = null;
/** Call `act` with what logs in and out, once it is loaded; without the server there is nothing to log in to. */
function withAccess(act) {
  const parts = { session, person, status, stores: [local, perTab], onclosed: () => composer.focus() };
  loading ??= import("./access.js").then(({ Access }) => new Access(parts));
  loading.then(act, () => {
    loading = null;
  });
}

session.onuser = (user) => withAccess((access) => access.show(user));
session.onforeign = () => withAccess((access) => access.beginAnew());
status.onretry = () => {
  enter();
  composer.focus();
};
window.addEventListener("online", reconnectNow);
window.addEventListener("pagehide", () => {
  readNotes.store();
  session.keepTalks();
  session.connection.sleep();
});
window.addEventListener("pageshow", ({ persisted }) => {
  if (persisted) followPerson(); // no event has told it meanwhile
  session.connection.wake();
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) reconnectNow();
});

// ---- rooms and conversations ----

const showTitle = oncePerFrame(() => {
  const unread = session.conversations.reduce((sum, { unread: count }) => sum + count, 0);
  document.title = STRINGS.title(unread, titleOf(view.conversation));
});

function rememberRooms() {
  const names = session.conversations.filter(({ isPrivate }) => !isPrivate).map(({ name }) => name ?? "");
  local.setJson("rooms", names.slice(0, MAX_REMEMBERED_ROOMS));
}

/** The part of the address that names the open conversation. */
let openHash = null;

/**
 * Go to the conversation that a hash names, at once: the browser reports a new address only after the keys that
 * were pressed meanwhile, and what they send belongs to the new conversation.
 */
function goTo(hash) {
  location.hash = hash;
  open();
}

/** Put another conversation into the place that this one has in the browser's history. */
function replaceWith(conversation) {
  visits.replace(hashOf(conversation));
  open();
}

/** Return whether an address is that of a room that was left, or of a closed conversation. */
function isLeft(address) {
  return !session.conversations.some((one) =>
    address.nick === undefined ? one.destination === address.destination : one.isPrivate && sameNick(one.nick, address.nick));
}

/** A room has one address, whatever was typed or linked: show that. */
function showAddress({ name }) {
  const hash = name === null ? "" : roomHash(name);
  if (location.hash === hash) return;
  history.replaceState(history.state, "", `${location.pathname}${location.search}${hash}`);
  openHash = location.hash;
}

/** Open the conversation that the page's address names. */
function open() {
  openHash = location.hash;
  const address = addressOf(location.hash);
  const isPrivate = address.nick !== undefined;
  if (visits.isReturn && view.conversation !== null && isLeft(address)) {
    replaceWith(view.conversation); // Back does not undo /leave
    return;
  }
  visits.mark();
  const isSelf = isPrivate && sameNick(address.nick, session.nick);
  if (!isPrivate) showAddress(address);
  let conversation = isPrivate && !isSelf ? session.openPrivate(address.nick) : null;
  const isOneTooMany = isPrivate && !isSelf && conversation === null;
  conversation ??= session.join(isPrivate ? roomOf("") : address);
  if (isSelf) conversation.addNotice(STRINGS.notices.toYourself);
  if (isOneTooMany) conversation.addNotice(STRINGS.notices.tooManyTalks);
  if (address.isRefused) conversation.addNotice(STRINGS.notices.noRoomName);
  if (conversation === view.conversation) return;
  const isFirst = view.conversation === null;
  view.show(conversation);
  session.show(conversation);
  composer.show(conversation.destination);
  $("room").textContent = titleOf(conversation);
  if (!isFirst) announce(STRINGS.joined(titleOf(conversation)));
  rememberRooms();
  search.changed();
  sidebar.changed();
  showTitle();
}

/** Leave a room or close a private conversation. Return false if it is the lobby, and there is no other room. */
function leave(conversation) {
  const others = session.conversations.filter((one) => one !== conversation && !one.isPrivate);
  if (others.length === 0 && conversation.name === null && !conversation.isPrivate) return false;
  const next = others[0] ?? session.join(roomOf(""));
  session.leave(conversation);
  rememberRooms();
  if (conversation === view.conversation) replaceWith(next);
  composer.focus();
  return true;
}

/** Leave the room with this name, or without one the conversation on display. Return whether that was possible. */
function leaveNamed(name) {
  const { destination } = roomOf(roomHash(name));
  const rooms = session.conversations.filter(({ isPrivate }) => !isPrivate);
  const named = rooms.find((one) => one.destination === destination || sameNick(titleOf(one), name));
  const conversation = name === "" ? view.conversation : named;
  if (conversation === undefined) session.onnotice(view.conversation, "notInRoom", name);
  else if (!leave(conversation)) session.onnotice(conversation, "onlyRoom");
  else return true;
  return false;
}

/** Go to the conversation above or below in the list. */
function step(by) {
  const { conversations } = session;
  const index = conversations.indexOf(view.conversation);
  goTo(hashOf(conversations[(index + by + conversations.length) % conversations.length]));
}

window.addEventListener("hashchange", () => {
  if (location.hash !== openHash) open();
});
document.addEventListener("keydown", (event) => {
  const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (by === undefined || !event.altKey || event.ctrlKey || event.shiftKey || document.querySelector("dialog[open]") !== null) return;
  event.preventDefault();
  step(by);
});
notifications.onclick = goTo;
sidebar.onleave = leave;
sidebar.onjoin = (text) => {
  const { name, isRefused } = roomNamed(text);
  composer.focus();
  if (isRefused) {
    session.onnotice(null, "noRoomName");
    return false;
  }
  goTo(roomHash(name === roomNamed(STRINGS.lobby).name ? null : name));
  return true;
};
sidebar.ontalk = view.rows.onnick = (nick) => {
  goTo(privateHash(nick));
  composer.focus();
};
session.onbarred = (conversation) => {
  const notice = leave(conversation) ? [null, "noRead"] : [conversation, "noReadHere"];
  session.onnotice(...notice, titleOf(conversation));
};
session.onconversations = () => {
  sidebar.changed();
  showTitle();
};
session.onrenamed = (conversation) => {
  if (conversation === view.conversation) {
    visits.replace(hashOf(conversation));
    openHash = location.hash;
    $("room").textContent = titleOf(conversation);
    view.showPartner();
    showTitle();
  }
  sidebar.changed();
};
session.onentered = (conversation) => {
  if (conversation === view.conversation) view.goToMark();
};
session.onpeople = () => sidebar.changed();

// ---- incoming messages ----

view.onread = (conversation) => {
  sidebar.changed();
  showTitle();
  readNotes.note(conversation);
};
view.onneartop = (conversation) => {
  session.loadOlder(conversation).then((isMore) => {
    if (isMore) search.changed();
  });
};

session.onmessage = (conversation, row) => {
  const text = shownText(row);
  const isMention = conversation.isPrivate || mentions(text, session.nick);
  if (view.isSeen(conversation)) view.onread(conversation);
  else conversation.countUnread(row, isMention);
  if (conversation === view.conversation) {
    view.hear(row);
    search.changed();
  } else if (isMention) {
    const words = conversation.isPrivate ? STRINGS.wroteToYou : STRINGS.mentionedYou;
    announce(words(row.nick, titleOf(conversation)));
  }
  if (isMention) {
    const title = conversation.isPrivate
      ? STRINGS.wroteToYou(row.nick)
      : STRINGS.mentionedYou(row.nick, titleOf(conversation));
    notifications.tell(title, text, hashOf(conversation));
  }
  sidebar.changed();
  showTitle();
};

session.onnotice = (conversation, name, ...details) => {
  const words = STRINGS.notices[name];
  const text = typeof words === "function" ? words(...details) : words;
  const place = conversation ?? view.conversation;
  place.addNotice(text);
  if (place === view.conversation) view.hear({ nick: null, text });
};

function showTyping() {
  const room = session.room(view.conversation.destination);
  $("typing").textContent = room === null ? "" : STRINGS.typing(room.typing.now(Date.now(), session.nick));
}

session.ontyping = () => {
  if (view.conversation !== null) showTyping();
};
setInterval(session.ontyping, TYPING_REFRESH_MS);

// ---- outgoing messages ----

composer.nicks = () => {
  const talkers = view.conversation.messages.map(({ nick }) => nick).filter((nick) => nick !== null);
  const people = session.room(view.conversation.destination)?.people.nicks ?? [];
  return [...new Set([...people, ...talkers.reverse()])].filter((nick) => !sameNick(nick, session.nick));
};
composer.ontype = () => session.type();
composer.onsubmit = (text) => {
  if (session.nick === "") {
    enter();
    return false;
  }
  return runCommand(parseLine(text));
};

/** Carry out a parsed command. Return false if the text has to stay in the field. */
function runCommand({ command, ...what }) {
  const { conversation } = view;
  const notice = (name, ...details) => session.onnotice(conversation, name, ...details);
  if (what.missing) {
    notice("missing", command);
    return false;
  }
  switch (command) {
    case "say":
      return say(conversation, what.text);
    case "me":
      return say(conversation, what.text, true);
    case "nick":
      view.list.toBottom();
      return naming.command(chosenNick(what.nick));
    case "join":
      if (!sidebar.onjoin(what.room)) return false;
      break;
    case "leave":
      return leaveNamed(what.room);
    case "help":
      notice("help");
      break;
    case "msg":
      return talkTo(what.nick, what.text);
    default:
      notice("unknownCommand", what.name);
      return false;
  }
  view.list.toBottom();
  return true;
}

/** Open a private conversation and send the text, if there is one. */
function talkTo(nick, text) {
  const to = cleanNick(nick);
  if (sameNick(to, session.nick)) session.onnotice(view.conversation, "toYourself");
  else if (session.connection.isOnline && !session.features.people) session.onnotice(view.conversation, "noPrivate");
  else if (session.openPrivate(to) === null) session.onnotice(view.conversation, "tooManyTalks");
  else {
    goTo(privateHash(to));
    const conversation = session.openPrivate(to);
    if (text !== "") say(conversation, text);
    return true;
  }
  return false;
}

function say(conversation, text, isAction = false) {
  session.say(conversation, text, isAction);
  if (conversation === view.conversation) view.list.toBottom();
  if (!sendQueue.isKept && !saidNotKept && !session.connection.isOnline) {
    saidNotKept = true;
    session.onnotice(conversation, "notKept");
  }
  return true;
}

session.onrefused = (conversation, id, reason) => {
  composer.maxChars = Math.min(MAX_TEXT_CHARS, session.maxTextChars);
  // A text that is too long has to be shortened first, so it goes back into the field.
  if (/longer than/.test(reason) && conversation === view.conversation && composer.value === "") {
    composer.putBack(session.takeBack(conversation, id));
  }
};
view.rows.onretry = ({ id }) => {
  session.retry(view.conversation, id);
  composer.focus();
};
view.rows.ontakeback = ({ id }) => {
  composer.putBack(session.takeBack(view.conversation, id));
};

// ---- the nickname ----

naming.onset = (nick) => {
  view.setNick(nick);
  sidebar.changed();
};
naming.onclosed = () => composer.focus();

/** Take over who one is, and how one is called, from another window. */
function followPerson() {
  if (person.user === session.user) naming.follow(person.nick);
  else withAccess((access) => access.follow());
}

window.addEventListener("storage", followPerson);

// ---- start ----

view.rows.nick = session.nick;
session.restoreTalks();
for (const name of local.getJson("rooms", []).slice(0, MAX_REMEMBERED_ROOMS)) {
  if (typeof name === "string") session.join(roomNamed(name));
}
open();
naming.show(session.nick);
enter();
composer.focus();
// The server offers demo pages only where chat.ini mounts them; the chat works without.
import("./demos.js").then(({ demoLinks }) => demoLinks()).then((links) => sidebar.showDemos(links), () => {});
