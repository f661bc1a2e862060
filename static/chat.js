/** The chat page: joins the connection, the outbox and the log to the elements of index.html. */

import "./stomp.js";
import { Connection } from "./connection.js";
import { askTargets, usableDemos } from "./demos/targets.js";
import { Log } from "./log.js";
import { MAX_NICK_CHARS, MAX_TEXT_CHARS, cleanNick, cut, readBody, roomOf, writeBody } from "./messages.js";
import { Outbox, SeenIds } from "./outbox.js";
import { STRINGS } from "./strings.js";

const NICK_KEY = "rtchat.nick";
const DRAFT_KEY = "rtchat.draft";
const COUNTER_FROM_CHARS_LEFT = 300;

const $ = (id) => document.getElementById(id);
const text = $("text");
const nickInput = $("nick");
const nickDialog = $("nick-dialog");

/** A storage of the browser, null where the user has turned it off. */
function storageOf(name) {
  try {
    return window[name];
  } catch {
    return null;
  }
}

function recall(storage, key) {
  try {
    return storage.getItem(key) || "";
  } catch {
    return "";
  }
}

function remember(storage, key, value) {
  try {
    storage.setItem(key, value);
  } catch {
    // Turned off or full: the page works, it forgets.
  }
}

const local = storageOf("localStorage");
const session = storageOf("sessionStorage");

let nick = cleanNick(recall(local, NICK_KEY));
let room = roomOf(location.hash);
let unread = 0;
let wasOnline = false;
let retryAt = null;
let saidNotKept = false;

const log = new Log($("log"), $("jump"));
const outbox = new Outbox(session);
const seen = new SeenIds();
const connection = new Connection(new globalThis.STOMPClient({ url: "/ws" }), room.destination);

// ---- words ----

function fillIn() {
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = STRINGS[element.dataset.text];
  for (const element of document.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", STRINGS[element.dataset.label]);
  }
  for (const element of document.querySelectorAll("[data-hint]")) element.placeholder = STRINGS[element.dataset.hint];
  nickInput.maxLength = MAX_NICK_CHARS;
  text.maxLength = MAX_TEXT_CHARS;
}

const roomName = () => (room.name === null ? STRINGS.lobby : `#${room.name}`);

function showRoom() {
  $("room").textContent = roomName();
  showTitle();
}

function showTitle() {
  document.title = STRINGS.title(unread, roomName());
}

/** Screen readers say this when they are done with what they are saying. */
function announce(words) {
  $("announcement").textContent = words;
}

// ---- the connection's state ----

function showState() {
  const secondsLeft = retryAt === null ? 0 : Math.max(1, Math.ceil((retryAt - Date.now()) / 1000));
  $("state").textContent = retryAt === null ? STRINGS[connection.state] : STRINGS.offlineIn(secondsLeft);
}

connection.onstate = (state, next) => {
  retryAt = next.retryAt;
  document.body.dataset.state = state;
  showState();
  if (state === "online") {
    announce(wasOnline ? STRINGS.saidOnline : STRINGS.saidOnlineFirst);
    wasOnline = true;
    $("offline").hidden = true;
    sendWaiting();
  } else if (state === "offline") {
    outbox.disconnected();
    $("offline-text").textContent = next.final ? STRINGS.refusedForGood : STRINGS.waitSafely;
    if ($("offline").hidden) {
      // Said once per loss, not once per attempt.
      announce(next.final ? STRINGS.saidOfflineForGood : STRINGS.saidOffline(Math.ceil((retryAt - Date.now()) / 1000)));
    }
    $("offline").hidden = false;
  }
};

setInterval(() => {
  if (retryAt !== null) showState();
}, 500);

/** Does not wait for the next attempt, if there is to be one. */
function returnNow() {
  if (retryAt !== null) connection.connect();
}

$("retry").addEventListener("click", () => {
  connection.connect();
  text.focus();
});
window.addEventListener("online", returnNow);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  unread = 0;
  showTitle();
  returnNow();
});

// ---- messages in ----

connection.onmessage = (frame) => {
  const id = frame.headers["correlation-id"];
  if (outbox.isOwn(id)) {
    seen.add(id);
    arrived(id); // it has been in the log since it was written
    return;
  }
  if (!seen.add(id)) return;
  log.addMessage({ ...readBody(frame), at: Date.now() });
  if (document.hidden) {
    unread += 1;
    showTitle();
  }
};

connection.onreceipt = (id) => arrived(id);

connection.onerror = (frame) => {
  const reason = (frame.headers.message || (typeof frame.body === "string" ? frame.body : "")).trim();
  const words = cut(reason, 300) || STRINGS.noReason;
  const id = frame.headers["receipt-id"];
  // A message that the server refuses must not be sent again and again after each reconnect.
  if (outbox.refuse(id, words)) showRefused(id, words);
  else log.addNotice(STRINGS.serverSaid(words));
};

function arrived(id) {
  outbox.confirm(id);
  log.confirm(id);
}

// ---- messages out ----

function sendWaiting() {
  if (!connection.isOnline) return;
  outbox.flush((entry) => {
    connection.send(writeBody(entry.nick, entry.text), entry.destination, {
      "content-type": "application/json",
      "correlation-id": entry.id,
      receipt: entry.id,
    });
  });
}

function submit() {
  const content = text.value.trim();
  if (content === "") return;
  if (nick === "") {
    askNick();
    return;
  }
  const entry = outbox.add({
    destination: room.destination,
    nick,
    text: cut(content, MAX_TEXT_CHARS),
    at: Date.now(),
  });
  log.addMessage({ ...entry, isOwn: true });
  setDraft("");
  if (!outbox.isKept && !saidNotKept && !connection.isOnline) {
    saidNotKept = true;
    log.addNotice(STRINGS.notKept);
  }
  sendWaiting();
}

function showRefused(id, reason) {
  log.refuse(id, reason, [
    {
      label: STRINGS.tryAgain,
      act: () => {
        outbox.retry(id);
        log.wait(id);
        sendWaiting();
        text.focus();
      },
    },
    {
      label: STRINGS.takeBack,
      act: () => {
        const entry = outbox.entries.find((candidate) => candidate.id === id);
        outbox.confirm(id);
        log.remove(id);
        if (entry !== undefined) setDraft(text.value === "" ? entry.text : `${entry.text}\n${text.value}`);
        text.focus();
      },
    },
  ]);
}

/** Puts what still waits for this room into the log, as after a reload. */
function showWaiting() {
  for (const entry of outbox.entries) {
    if (entry.destination !== room.destination) continue;
    log.addMessage({ ...entry, isOwn: true });
    if (entry.refused !== null) showRefused(entry.id, entry.refused);
  }
}

// ---- writing ----

function setDraft(value) {
  text.value = value;
  draftChanged();
}

function draftChanged() {
  remember(session, DRAFT_KEY, text.value);
  // The style sheet makes the field as tall as this copy of its text.
  text.parentElement.dataset.text = text.value;
  const left = MAX_TEXT_CHARS - text.value.length;
  $("counter").textContent = left <= COUNTER_FROM_CHARS_LEFT ? STRINGS.charactersLeft(left) : "";
}

text.addEventListener("input", draftChanged);
text.addEventListener("keydown", (event) => {
  // While an input method is composing, Enter belongs to it.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  submit();
});
$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
  text.focus();
});

// ---- the nickname ----

function showNick() {
  $("nick-shown").textContent = nick;
  $("nick-change").title = STRINGS.changeNick;
  $("nick-change").hidden = nick === "";
}

function askNick() {
  nickInput.value = nick;
  const isFirst = nick === "";
  $("nick-cancel").hidden = isFirst;
  $("nick-title").textContent = isFirst ? STRINGS.welcomeTitle : STRINGS.changeNick;
  $("nick-save").textContent = isFirst ? STRINGS.enterRoom : STRINGS.saveNick;
  if (!nickDialog.open) nickDialog.showModal();
  nickInput.focus();
  nickInput.select();
}

function closeNick() {
  nickDialog.close();
  text.focus(); // now, not at the later close event: somebody may go on typing
}

$("nick-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const chosen = cleanNick(nickInput.value);
  if (chosen === "") {
    nickInput.value = "";
    nickInput.reportValidity();
    return;
  }
  nick = chosen;
  remember(local, NICK_KEY, nick);
  showNick();
  closeNick();
});
$("nick-cancel").addEventListener("click", closeNick);
$("nick-change").addEventListener("click", askNick);
nickDialog.addEventListener("cancel", (event) => {
  if (nick === "") event.preventDefault();
});
nickDialog.addEventListener("close", () => {
  // Browsers let a second Escape through whatever the page says.
  if (nick === "") askNick();
  else text.focus();
});

// ---- more to do ----

/** Links to the demo pages for which an access rule of the server names something that they can speak to. */
async function linkDemos() {
  const { targets } = await askTargets();
  const links = usableDemos(targets).map((demo) => {
    const link = document.createElement("a");
    link.href = `/static/demos/${demo}.html`;
    link.textContent = STRINGS.demoNames[demo];
    return link;
  });
  $("demos").append(...links);
  $("demos").hidden = links.length === 0;
}

// ---- start ----

window.addEventListener("hashchange", () => {
  const next = roomOf(location.hash);
  if (next.destination === room.destination) return;
  room = next;
  log.clear();
  showRoom();
  showWaiting();
  announce(STRINGS.joined(roomName()));
  connection.join(room.destination);
});

fillIn();
showRoom();
showNick();
showWaiting();
setDraft(text.value || cut(recall(session, DRAFT_KEY), MAX_TEXT_CHARS));
connection.connect();
linkDemos().catch(() => {}); // the chat does without them
if (nick === "") askNick();
else text.focus();
