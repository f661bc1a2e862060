/** The IRC page: joins the client, the TCPSocket and the elements of irc.html. */

import { IrcClient } from "./irc-client.js";
import { runCommand } from "./irc-commands.js";
import { isNick } from "./irc-format.js";
import { LineSplitter, decodeLine } from "./lines.js";
import {
  $, TCPSocket, announce, closeWords, make, offerTargets, readTarget, showProblem, showState, startComposer, store,
} from "./page.js";
import { RoomsView, startAside } from "./rooms-view.js";

const DEFAULT_PORT = 6667;
const PING_EVERY_MS = 60000;
const SERVER_NAME = "Server";

const view = new RoomsView();
const aside = startAside();
let socket = null;
let client = null;
let pinging = null;
let refusal = ""; // why the server did not let us in

const encoder = new TextEncoder();

function connect(target, nick, wanted, password) {
  // The rooms that were open when the connection was lost are opened again.
  const before = client?.rooms.all().filter((room) => room.name !== "") ?? [];
  const channels = new Set([...wanted, ...before.filter((room) => room.isJoined).map((room) => room.name)]);
  const splitter = new LineSplitter();
  socket = new TCPSocket();
  client = new IrcClient((line) => {
    // After the end of the connection nothing can be sent; the page says so.
    if (socket?.readyState === TCPSocket.READY_STATE_OPEN) socket.send(encoder.encode(line));
  });
  const [ownSocket, ownClient] = [socket, client];
  for (const { name } of before) ownClient.rooms.of(name);
  view.put(ownClient.rooms.server.key, SERVER_NAME);
  setCallbacks(ownClient, channels);
  refusal = "";
  socket.onopen = () => ownClient.start({ nick, password });
  socket.onread = (bytes) => {
    for (const line of splitter.feed(bytes)) ownClient.receive(decodeLine(line));
  };
  socket.onclose = (code) => {
    if (socket === ownSocket) closed(code);
  };
  showProblem("");
  showState("connecting");
  $("connect").disabled = true;
  socket.open(target.host, target.port, true);
}

/** Let the page follow a client, which joins these channels once the server has let it in. */
function setCallbacks(ownClient, channels) {
  ownClient.onready = () => {
    showState("online", `connected as ${ownClient.nick}`);
    announce(`Connected as ${ownClient.nick}.`);
    $("join-form").hidden = true;
    $("workspace").hidden = false;
    $("offline").hidden = true;
    $("leave").hidden = false;
    for (const channel of channels) ownClient.join(channel);
    pinging = setInterval(() => ownClient.ping(), PING_EVERY_MS);
    $("text").focus();
  };
  ownClient.onrefused = (text) => {
    refusal = text;
    socket.close();
  };
  ownClient.onsaid = (room, line) => {
    if (!view.has(room.key)) view.put(room.key, room.name || SERVER_NAME);
    view.add(room.key, ...logLine(line));
  };
  ownClient.onchange = (what, room) => {
    if (what === "nick" && ownClient.isReady) showState("online", `connected as ${ownClient.nick}`);
    if (what === "rooms") {
      if (ownClient.rooms.find(room.name) === undefined) view.remove(room.key);
      else {
        view.put(room.key, room.name || SERVER_NAME);
        if (room.isJoined) view.open(room.key);
      }
    }
    showRoom();
  };
}

/** Return a line in the form that RoomsView takes, and whether it counts as unread. */
function logLine({ kind, nick, text, isOwn }) {
  if (kind === "message") return [{ nick, text, isOwn }];
  if (kind === "action") return [{ nick, text: `* ${nick} ${text}`, isOwn }];
  if (kind === "notice") return [{ notice: nick === "" ? text : `${nick}: ${text}` }];
  return [{ notice: text }, kind === "error"];
}

function closed(code) {
  clearInterval(pinging);
  const wasIn = client.isReady;
  socket = null;
  showState("offline");
  $("connect").disabled = false;
  $("leave").hidden = true;
  const words = refusal === "" ? closeWords(code) : `The server did not let you in: ${refusal}`;
  client.isReady = false;
  if ($("workspace").hidden) {
    showProblem(words);
    $("target").focus();
    return;
  }
  if (wasIn) for (const room of client.rooms.all()) view.add(room.key, { notice: "The connection is gone." }, false);
  $("offline-text").textContent = words;
  $("offline").hidden = false;
  $("retry").focus();
}

// ---- the room on display ----

const openRoom = () => client?.rooms.all().find((room) => room.key === view.current) ?? client?.rooms.server;

function showRoom() {
  const room = openRoom();
  if (room === undefined) return;
  $("topic").textContent = room.topic || (room.isChannel ? "No topic is set." : "");
  const members = client.rooms.membersOf(room);
  $("aside-toggle").hidden = !room.isChannel;
  $("aside-toggle").textContent = members.length === 1 ? "1 person" : `${members.length} people`;
  document.body.classList.toggle("no-aside", !room.isChannel);
  $("people").replaceChildren(...members.map(personItem));
  $("close-room").hidden = room.key === client.rooms.server.key;
  document.title = `${room.name || "IRC"} · rtchat`;
}

function personItem({ nick, rank }) {
  const item = make("li", "");
  const button = make("button", "person");
  button.type = "button";
  button.title = `Write to ${nick}`;
  button.append(make("span", "rank", rank), make("bdi", "", nick));
  button.addEventListener("click", () => {
    view.open(client.openPerson(nick).key);
    aside.closeIfNarrow();
    $("text").focus();
  });
  item.append(button);
  return item;
}

view.onopen = showRoom;

$("close-room").addEventListener("click", () => {
  const room = openRoom();
  if (room.isJoined) client.part(room.name);
  else client.forget(room);
  $("text").focus();
});

// ---- what the user does ----

$("join-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (socket !== null) return;
  const nick = $("nick").value.trim();
  if (!isNick(nick)) {
    showProblem("A nickname is one word that starts with a letter.");
    $("nick").focus();
    return;
  }
  const target = readTarget(DEFAULT_PORT);
  if (target === null) return;
  store.set("irc.nick", nick);
  store.set("irc.channels", $("channels").value);
  const channels = $("channels").value.split(/[\s,]+/).filter((name) => name !== "");
  connect(target, nick, channels.map((name) => (/^[#&+!]/.test(name) ? name : `#${name}`)), $("password").value);
});

$("retry").addEventListener("click", () => $("join-form").requestSubmit());

$("change").addEventListener("click", () => {
  $("workspace").hidden = true;
  $("join-form").hidden = false;
  $("nick").focus();
});

$("leave").addEventListener("click", () => {
  client.quit();
  socket?.close();
});

startComposer((text) => {
  if (text.trim() === "") return undefined;
  if (socket === null || !client.isReady) {
    announce("Not connected.");
    return false;
  }
  const room = openRoom();
  const { texts, isWrong, goTo } = runCommand(client, room, text.trimEnd());
  for (const words of texts) view.add(room.key, { notice: words });
  if (goTo !== null) view.open(goTo.key);
  return !isWrong;
});

showState("offline");
$("nick").value = store.get("irc.nick") || store.get("nick");
$("channels").value = store.get("irc.channels") || "#chat";
offerTargets("irc", DEFAULT_PORT);
$("nick").focus();
