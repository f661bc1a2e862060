/** The IRC page: joins the client, the gateway's socket and the elements of irc.html. */

import { IrcClient } from "./irc-client.js";
import { obey } from "./irc-commands.js";
import { isNick } from "./irc-wire.js";
import { LineSplitter, decodeLine } from "./lines.js";
import { $, TCPSocket, announce, closeWords, make, memory, offerTargets, readTarget, showProblem, showState, startComposer } from "./page.js";
import { RoomsView, startAside } from "./rooms-view.js";

const DEFAULT_PORT = 6667;
const PING_EVERY_MS = 60000;
const SERVER_NAME = "Server";

const view = new RoomsView();
const aside = startAside();
let socket = null;
let client = null;
let pinging = null;
let hasRefused = ""; // why the server did not let us in

const encoder = new TextEncoder();

function connect(target, nick, wanted, password) {
  // What was open when the connection was lost is opened again.
  const before = client?.rooms.all().filter((room) => room.name !== "") ?? [];
  const channels = new Set([...wanted, ...before.filter((room) => room.isJoined).map((room) => room.name)]);
  const splitter = new LineSplitter();
  socket = new TCPSocket();
  client = new IrcClient((line) => {
    // Once the connection is gone there is nobody to tell; the page says so.
    if (socket?.readyState === TCPSocket.READY_STATE_OPEN) socket.send(encoder.encode(line));
  });
  const [ours, mine] = [socket, client];
  for (const { name } of before) mine.rooms.of(name);
  view.put(mine.rooms.server.key, SERVER_NAME);
  wire(mine, channels);
  hasRefused = "";
  socket.onopen = () => mine.start({ nick, password });
  socket.onread = (bytes) => {
    for (const line of splitter.feed(bytes)) mine.receive(decodeLine(line));
  };
  socket.onclose = (code) => {
    if (socket === ours) closed(code);
  };
  showProblem("");
  showState("connecting");
  $("connect").disabled = true;
  socket.open(target.host, target.port, true);
}

function wire(mine, channels) {
  mine.onready = () => {
    showState("online", `connected as ${mine.nick}`);
    announce(`Connected as ${mine.nick}.`);
    $("join-form").hidden = true;
    $("workspace").hidden = false;
    $("offline").hidden = true;
    $("leave").hidden = false;
    for (const channel of channels) mine.join(channel);
    pinging = setInterval(() => mine.ping(), PING_EVERY_MS);
    $("text").focus();
  };
  mine.onrefused = (text) => {
    hasRefused = text;
    socket.close();
  };
  mine.onsaid = (room, line) => {
    if (!view.has(room.key)) view.put(room.key, room.name || SERVER_NAME);
    view.add(room.key, ...written(line));
  };
  mine.onchange = (what, room) => {
    if (what === "nick" && mine.isReady) showState("online", `connected as ${mine.nick}`);
    if (what === "rooms") {
      if (mine.rooms.find(room.name) === undefined) view.remove(room.key);
      else {
        view.put(room.key, room.name || SERVER_NAME);
        if (room.isJoined) view.open(room.key);
      }
    }
    showRoom();
  };
}

/** A line as the log takes it, and whether it is news. */
function written({ kind, nick, text, isOwn }) {
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
  const words = hasRefused === "" ? closeWords(code) : `The server did not let you in: ${hasRefused}`;
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

// ---- the room that is open ----

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
    aside.makeRoom();
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

// ---- what people do ----

$("join-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (socket !== null) return;
  const nick = $("nick").value.trim();
  if (!isNick(nick)) {
    showProblem("A nickname is one word that begins with a letter.");
    $("nick").focus();
    return;
  }
  const target = readTarget(DEFAULT_PORT);
  if (target === null) return;
  memory.remember("irc.nick", nick);
  memory.remember("irc.channels", $("channels").value);
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
  const { texts, isWrong, goTo } = obey(client, room, text.trimEnd());
  for (const words of texts) view.add(room.key, { notice: words });
  if (goTo !== null) view.open(goTo.key);
  return !isWrong;
});

showState("offline");
$("nick").value = memory.recall("irc.nick") || memory.recall("nick");
$("channels").value = memory.recall("irc.channels") || "#chat";
offerTargets("irc", DEFAULT_PORT);
$("nick").focus();
