/** The chat page: joins the session to what is seen of it. */

import "./stomp.js";
import { askTargets, usableDemos } from "./demos/targets.js";
import { sharedStorageOf, storageOf, windowHeaders } from "./embed/place.js";
import { parseLine } from "./model/commands.js";
import { Memory, Reading } from "./model/memory.js";
import { mentions } from "./model/richtext.js";
import { cleanNick, placeOf, privateHash, roomHash, roomOf } from "./protocol/messages.js";
import { Outbox, newId } from "./protocol/outbox.js";
import { sameNick } from "./protocol/people.js";
import { ChatSession } from "./protocol/session.js";
import { STRINGS } from "./strings.js";
import { Composer } from "./view/composer.js";
import { $, announce, fillIn, make, oncePerFrame } from "./view/dom.js";
import { LogView } from "./view/log-view.js";
import { NickDialog, otherNick } from "./view/nick-dialog.js";
import { Notifications } from "./view/notify.js";
import { shownText } from "./view/rows.js";
import { Search } from "./view/search.js";
import { Sidebar, hashOf, titleOf } from "./view/sidebar.js";
import { Status } from "./view/status.js";

const MAX_TEXT_CHARS = 4000;
const MAX_JOINED = 50;
const TYPING_EVERY_MS = 1000;
const READ_EVERY_MS = 500;

fillIn();

const local = new Memory(sharedStorageOf("localStorage"));
const perTab = new Memory(sharedStorageOf("sessionStorage"));
const outbox = new Outbox(storageOf("sessionStorage"), storageOf("localStorage"));
const reading = new Reading(local);

/** What proves that it is this window that comes back; another window of this browser has another. */
function tokenOfTab() {
  const token = perTab.recall("token") || newId();
  perTab.remember("token", token);
  return token;
}

const client = new globalThis.STOMPClient({ url: "/ws", connectHeaders: () => ({ ...session.connectHeaders(), ...windowHeaders() }) });
const session = new ChatSession({ client, outbox, reading, token: tokenOfTab(), nick: cleanNick(local.recall("nick")) });
const status = new Status();
const view = new LogView();
const composer = new Composer(perTab);
const sidebar = new Sidebar(session);
const dialog = new NickDialog();
const notifications = new Notifications(local);
const search = new Search({
  rows: view.rows,
  list: view.list,
  conversation: () => view.conversation,
  loadEarlier: (conversation) => session.loadEarlier(conversation),
});
let saidNotKept = false;
let isReplaced = false;

// ---- the state of the connection ----

session.onstate = (state, next) => {
  status.show(state, next);
  if (isReplaced && state === "offline") status.explain(STRINGS.elsewhere, STRINGS.useHere);
};
session.onreplaced = () => {
  isReplaced = true;
};

function returnNow() {
  if (status.isWaiting) session.connect();
}

status.onretry = () => {
  isReplaced = false;
  if (session.nick === "") dialog.ask("", { isNeeded: true });
  else session.connect();
  composer.focus();
};
window.addEventListener("online", returnNow);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) returnNow();
});

// ---- rooms and conversations ----

const showTitle = oncePerFrame(() => {
  const unread = session.conversations.reduce((sum, { unread: count }) => sum + count, 0);
  document.title = STRINGS.title(unread, titleOf(view.conversation));
});

function rememberRooms() {
  const names = session.conversations.filter(({ isPrivate }) => !isPrivate).map(({ name }) => name ?? "");
  local.rememberJson("rooms", names.slice(0, MAX_JOINED));
}

/** Opens what the address names. */
function open() {
  const place = placeOf(location.hash);
  const isSelf = place.nick !== undefined && sameNick(place.nick, session.nick);
  let conversation = place.nick !== undefined && !isSelf ? session.openPrivate(place.nick) : null;
  conversation ??= session.join(place.nick === undefined ? place : roomOf(""));
  if (isSelf) conversation.addNotice(STRINGS.notices.toYourself);
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

function leave(conversation) {
  const { conversations } = session;
  if (!conversation.isPrivate && conversations.filter(({ isPrivate }) => !isPrivate).length === 1) return;
  const next = conversations.find((one) => one !== conversation && !one.isPrivate);
  session.leave(conversation);
  rememberRooms();
  if (conversation === view.conversation) location.hash = hashOf(next);
  composer.focus();
}

/** Goes one conversation up or down in the list. */
function step(by) {
  const { conversations } = session;
  const index = conversations.indexOf(view.conversation);
  location.hash = hashOf(conversations[(index + by + conversations.length) % conversations.length]);
}

window.addEventListener("hashchange", open);
document.addEventListener("keydown", (event) => {
  const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (by === undefined || !event.altKey || event.ctrlKey || event.shiftKey || dialog.isOpen) return;
  event.preventDefault();
  step(by);
});
notifications.onclick = (hash) => {
  location.hash = hash;
};
sidebar.onleave = leave;
sidebar.onjoin = (name) => {
  location.hash = roomHash(roomOf(roomHash(name)).name);
  composer.focus();
};
sidebar.ontalk = view.rows.onnick = (nick) => {
  location.hash = privateHash(nick);
  composer.focus();
};
session.onconversations = () => {
  sidebar.changed();
  showTitle();
};
session.onentered = (conversation) => {
  if (conversation === view.conversation) view.goToMark();
};
session.onpeople = () => {
  sidebar.changed();
};

// ---- messages in ----

let readTimer = null;
view.onread = (conversation) => {
  sidebar.changed();
  showTitle();
  readTimer ??= setTimeout(() => {
    readTimer = null;
    noteRead(conversation);
  }, READ_EVERY_MS);
};

function noteRead(conversation) {
  const epoch = session.room(conversation.destination)?.stream.epoch ?? null;
  if (epoch !== null && conversation.lastOffset !== null && conversation.unread === 0) {
    reading.note(conversation.destination, epoch, conversation.lastOffset);
  }
}

window.addEventListener("pagehide", () => noteRead(view.conversation));
view.onneartop = (conversation) => {
  session.loadEarlier(conversation).then((isMore) => {
    if (isMore) search.changed();
  });
};

session.onmessage = (conversation, row) => {
  const text = shownText(row);
  const isMention = conversation.isPrivate || mentions(row.text, session.nick);
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
  (conversation ?? view.conversation).addNotice(typeof words === "function" ? words(...details) : words);
};

function showTyping() {
  const room = session.room(view.conversation.destination);
  $("typing").textContent = room === null ? "" : STRINGS.typing(room.typing.now(Date.now(), session.nick));
}

session.ontyping = () => {
  if (view.conversation !== null) showTyping();
};
setInterval(session.ontyping, TYPING_EVERY_MS);

// ---- messages out ----

composer.nicks = () => {
  const talkers = view.conversation.messages.map(({ nick }) => nick).filter((nick) => nick !== null);
  const people = session.room(view.conversation.destination)?.people.nicks ?? [];
  return [...new Set([...people, ...talkers.reverse()])].filter((nick) => !sameNick(nick, session.nick));
};
composer.ontype = () => session.type();
composer.onsubmit = (text) => {
  if (session.nick === "") {
    dialog.ask("", { isNeeded: true });
    return false;
  }
  return obey(parseLine(text));
};

/** False if the text stays in the field. */
function obey({ command, ...what }) {
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
      changeNick(cleanNick(what.nick));
      break;
    case "join":
      sidebar.onjoin(what.room);
      break;
    case "leave":
      leave(conversation);
      break;
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

function talkTo(nick, text) {
  const to = cleanNick(nick);
  if (sameNick(to, session.nick)) session.onnotice(view.conversation, "toYourself");
  else if (session.connection.isOnline && !session.features.people) session.onnotice(view.conversation, "noPrivate");
  else {
    location.hash = privateHash(to);
    const conversation = session.openPrivate(to);
    if (conversation !== null && text !== "") say(conversation, text);
    return true;
  }
  return false;
}

function say(conversation, text, isAction = false) {
  session.say(conversation, text, isAction);
  if (conversation === view.conversation) view.list.toBottom();
  if (!outbox.isKept && !saidNotKept && !session.connection.isOnline) {
    saidNotKept = true;
    session.onnotice(conversation, "notKept");
  }
  return true;
}

session.onrefused = (conversation, id, reason) => {
  composer.maxChars = Math.min(MAX_TEXT_CHARS, session.maxTextChars);
  // A text that is too long has to be changed before anything else: back into the field with it.
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

function changeNick(nick) {
  if (nick === "") return;
  const isNew = wasIn && nick !== session.nick;
  session.setNick(nick);
  if (isNew) wished = nick;
}

let wasIn = false; // under some name
let wished = null; // a change of name that the server has not confirmed

session.onnick = (what, nick, reason) => {
  if (what === "set") {
    wasIn = true;
    local.remember("nick", nick);
    $("nick-shown").textContent = nick;
    $("nick-change").title = STRINGS.changeNick;
    $("nick-change").hidden = nick === "";
    view.setNick(nick);
    if (wished === nick) session.onnotice(view.conversation, "nickSet", nick);
    wished = null;
    sidebar.changed();
    return;
  }
  const isFree = what === "refused" && wished === null;
  if (what === "needed" || isFree) {
    const other = otherNick(nick);
    dialog.ask(isFree ? nick : other, {
      isNeeded: true,
      problem: isFree ? STRINGS.nickRefused(nick, reason) : STRINGS.nickTaken(nick, other),
    });
    status.explain(STRINGS.needNick);
  } else {
    session.onnotice(view.conversation, what === "taken" ? "nickTaken" : "nickRefused", nick, reason);
  }
  wished = null;
};
dialog.onchosen = changeNick;
dialog.onclosed = () => composer.focus();

// ---- more to do ----

/** Links to the demo pages for which an access rule of the server names something that they can speak to. */
async function linkDemos() {
  const { targets } = await askTargets();
  const links = usableDemos(targets).map((demo) => {
    const link = make("a", "", STRINGS.demoNames[demo]);
    link.href = `/static/demos/${demo}.html`;
    return link;
  });
  $("demos").append(...links);
  $("demos").hidden = links.length === 0;
}

// ---- start ----

view.rows.nick = session.nick;
for (const name of local.recallJson("rooms", []).slice(0, MAX_JOINED)) {
  if (typeof name === "string") session.join(roomOf(roomHash(name === "" ? null : name)));
}
open();
if (session.nick === "") {
  dialog.ask("", { isNeeded: true });
} else {
  $("nick-shown").textContent = session.nick;
  $("nick-change").hidden = false;
  session.connect();
  composer.focus();
}
linkDemos().catch(() => {}); // the chat does without them
