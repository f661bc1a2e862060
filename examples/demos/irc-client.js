/** An IRC client: lines in, lines out, and callbacks for the display. It knows neither socket nor DOM. */

import { IrcRooms } from "./irc-rooms.js";
import { actionText, formatLine, otherNick, parseLine, plainText, splitText } from "./irc-format.js";

const MAX_NICK_ATTEMPTS = 8;
const NICK_REFUSED = new Set(["432", "433", "436", "437"]);
const NOT_SHOWN = new Set(["002", "003", "004", "329", "333", "375", "376", "422", "PONG", "CAP"]);

const because = (reason) => (reason ? ` (${plainText(reason)})` : "");

export class IrcClient {
  #send;
  #wanted = "";
  #attempt = 0;

  /**
   * `send(line)` sends a line. The callbacks: onsaid(room, {kind, nick, text, isOwn}) has a line for a room, with
   * `kind` "message", "action", "notice", "info" or "error"; onchange(what, room) says that "nick", "rooms", "members"
   * or "topic" has changed; onready that the server has let us in; onrefused(text) that it has not.
   */
  constructor(send) {
    this.#send = send;
    this.nick = "";
    this.isReady = false;
    this.rooms = new IrcRooms();
    this.onsaid = () => {};
    this.onchange = () => {};
    this.onready = () => {};
    this.onrefused = () => {};
  }

  // ---- sending ----

  start({ nick, realName = nick, password = "" }) {
    this.#wanted = nick;
    this.nick = nick;
    if (password !== "") this.#command("PASS", password);
    this.#command("NICK", nick);
    this.#command("USER", nick.replace(/[^A-Za-z0-9]/g, "") || "user", "0", "*", realName || nick);
  }

  join(channel, key = "") {
    this.#command("JOIN", ...(key === "" ? [channel] : [channel, key]));
  }

  part(channel, reason = "") {
    this.#command("PART", ...(reason === "" ? [channel] : [channel, reason]));
  }

  /** Send a text to a channel or a person, in as many messages as necessary. */
  say(target, text) {
    for (const piece of splitText(text, target)) {
      this.#command("PRIVMSG", target, piece);
      this.#tell(this.#open(target), "message", this.nick, piece, true);
    }
  }

  /** Send an action, as "/me" does. */
  act(target, text) {
    for (const piece of splitText(text, target)) {
      this.#command("PRIVMSG", target, `\x01ACTION ${piece}\x01`);
      this.#tell(this.#open(target), "action", this.nick, piece, true);
    }
  }

  changeNick(nick) {
    this.#command("NICK", nick);
  }

  setTopic(channel, topic) {
    this.#command("TOPIC", channel, topic);
  }

  askNames(channel) {
    this.#command("NAMES", channel);
  }

  quit(reason = "") {
    this.#command("QUIT", reason || "leaving");
  }

  /** Keep the connection in use, so that no device in between drops it as idle. */
  ping() {
    this.#command("PING", this.nick);
  }

  /** Send a typed line unchanged, except that line ends become spaces: they would start a second command. */
  raw(line) {
    this.#send(`${line.replace(/[\r\n\0]+/g, " ").trim()}\r\n`);
  }

  /** Return the conversation with a person, before the first message. */
  openPerson(nick) {
    return this.#open(nick);
  }

  forget(room) {
    if (this.rooms.forget(room.key)) this.onchange("rooms", room);
  }

  // ---- receiving ----

  receive(line) {
    const message = parseLine(line);
    if (message === null) return;
    const { command, params } = message;
    const nick = message.nick ?? "";
    const react = IrcClient.#REACTIONS.get(command);
    if (NICK_REFUSED.has(command)) this.#nickRefused(command, params);
    else if (react !== undefined) react(this, params, nick, this.#isMe(nick));
    else if (!NOT_SHOWN.has(command)) this.#other(command, params);
  }

  static #REACTIONS = new Map([
    ["001", (client, params) => client.#welcome(params)],
    ["005", (client, params) => client.rooms.learn(params.slice(1, -1))],
    ["301", (client, [, who = "", why]) => client.#tell(client.#open(who), "info", "", `${who} is away${because(why)}.`)],
    ["331", (client, [, channel]) => client.#topic(channel, "", null)],
    ["332", (client, [, channel, topic]) => client.#topic(channel, topic, null)],
    ["353", (client, [, , channel = "", list = ""]) => client.rooms.addNames(channel, list)],
    ["366", (client, [, channel = ""]) => client.#namesEnd(channel)],
    ["ERROR", (client, params) => client.#error(params.at(-1) ?? "")],
    ["JOIN", (client, [channel], nick, isOwn) => client.#joined(channel, nick, isOwn)],
    ["KICK", (client, params, nick) => client.#kicked(params, nick)],
    ["MODE", (client, params, nick) => client.#mode(params, nick)],
    ["NICK", (client, [next], nick, isOwn) => client.#renamed(nick, next, isOwn)],
    ["NOTICE", (client, params, nick, isOwn) => client.#heard("notice", params, nick, isOwn)],
    ["PART", (client, params, nick, isOwn) => client.#parted(params, nick, isOwn)],
    ["PING", (client, params) => client.#command("PONG", ...params.slice(0, 1))],
    ["PRIVMSG", (client, params, nick, isOwn) => client.#heard("message", params, nick, isOwn)],
    ["QUIT", (client, [reason], nick) => client.#quit(nick, reason)],
    ["TOPIC", (client, [channel, topic], nick) => client.#topic(channel, topic, nick)],
  ]);

  #welcome(params) {
    this.nick = params[0] ?? this.nick;
    this.isReady = true;
    this.#tell(this.rooms.server, "info", "", params.at(-1) ?? "");
    if (!this.#isMe(this.#wanted)) {
      this.#tell(this.rooms.server, "info", "", `The nickname ${this.#wanted} is taken; you are ${this.nick}.`);
    }
    this.onchange("nick", null);
    this.onready();
  }

  #nickRefused(command, params) {
    const reason = params.at(-1) ?? "";
    if (this.isReady) {
      this.#tell(this.rooms.server, "error", "", `${params[1] ?? ""}: ${reason}`);
    } else if (command === "432" || this.#attempt >= MAX_NICK_ATTEMPTS) {
      this.onrefused(reason);
    } else {
      this.nick = otherNick(this.#wanted, ++this.#attempt);
      this.#command("NICK", this.nick);
    }
  }

  #joined(channel = "", nick, isOwn) {
    const room = this.#open(channel);
    this.rooms.enter(room, nick);
    if (isOwn) {
      room.isJoined = true;
      this.onchange("rooms", room);
    }
    this.#tell(room, "info", nick, isOwn ? `You are in ${room.name}.` : `${nick} has come in.`);
    this.onchange("members", room);
  }

  #parted([channel, reason], nick, isOwn) {
    this.#left(channel, nick, isOwn, isOwn ? `You have left ${channel}.` : `${nick} has left${because(reason)}.`);
  }

  #kicked([channel, whom = "", reason], nick) {
    const isOwn = this.#isMe(whom);
    this.#left(channel, whom, isOwn, `${isOwn ? "You were" : `${whom} was`} removed by ${nick}${because(reason)}.`);
  }

  #left(channel, nick, isOwn, words) {
    const room = this.rooms.find(channel);
    if (room === undefined) return;
    this.rooms.leave(room, nick);
    if (isOwn) {
      room.isJoined = false;
      room.members.clear();
      this.onchange("rooms", room);
    }
    this.#tell(room, "info", nick, words);
    this.onchange("members", room);
  }

  #quit(nick, reason) {
    for (const room of this.rooms.all()) {
      if (!this.rooms.leave(room, nick)) continue;
      this.#tell(room, "info", nick, `${nick} has gone${because(reason)}.`);
      this.onchange("members", room);
    }
  }

  #renamed(nick, next = nick, isOwn) {
    if (isOwn) this.nick = next;
    for (const room of this.rooms.all()) {
      if (!this.rooms.rename(room, nick, next)) continue;
      this.#tell(room, "info", nick, isOwn ? `You are ${next} now.` : `${nick} is ${next} now.`);
      this.onchange("members", room);
    }
    if (isOwn) this.onchange("nick", null);
  }

  #namesEnd(channel) {
    const room = this.rooms.endNames(channel);
    if (room !== undefined) this.onchange("members", room);
  }

  /** `nick` is the person who has just set the topic; null if it was set before. */
  #topic(channel, topic = "", nick) {
    const room = this.rooms.find(channel);
    if (room === undefined) return;
    room.topic = plainText(topic);
    if (nick !== null) this.#tell(room, "info", nick, `${nick} has set the topic: ${room.topic || "none"}`);
    this.onchange("topic", room);
  }

  #mode([target, ...modes], nick) {
    const room = this.rooms.find(target);
    if (room === undefined || !room.isChannel) return;
    this.#tell(room, "info", nick, `${nick} has set the mode ${modes.join(" ")}.`);
    this.askNames(room.name); // the safest way to learn the new ranks
  }

  #heard(kind, [target = "", text = ""], nick, isOwn) {
    const action = actionText(text);
    if (action === null && text.startsWith("\x01")) return; // a CTCP question to the program, which it does not answer
    const name = this.#isMe(target) ? nick : target;
    // Servers send notices even before they know our nickname, so a notice opens no room.
    const room = kind === "notice" ? (this.rooms.find(name) ?? this.rooms.server) : this.#open(name);
    this.#tell(room, action === null ? kind : "action", nick, action ?? text, isOwn);
  }

  #error(text) {
    this.#tell(this.rooms.server, "error", "", text);
    if (!this.isReady) this.onrefused(text);
  }

  #other(command, params) {
    const words = params.slice(/^\d/.test(command) ? 1 : 0);
    // A message that names a room is shown in that room.
    const room = words.map((word) => this.rooms.find(word)).find((found) => found !== undefined) ?? this.rooms.server;
    this.#tell(room, /^[45]/.test(command) ? "error" : "info", "", words.join(" "));
  }

  // ---- internals ----

  #isMe(nick) {
    return nick !== "" && this.rooms.isSame(nick, this.nick);
  }

  #open(name) {
    const known = this.rooms.find(name);
    if (known !== undefined) return known;
    const room = this.rooms.of(name);
    this.onchange("rooms", room);
    return room;
  }

  #tell(room, kind, nick, text, isOwn = false) {
    this.onsaid(room, { kind, nick, text: plainText(text), isOwn });
  }

  #command(command, ...params) {
    this.#send(formatLine(command, ...params));
  }
}
