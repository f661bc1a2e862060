/** What users type into an IRC room: "/me waves", "/join #room", or plain text. */

import { isNick } from "./irc-format.js";
import { SERVER_ROOM } from "./irc-rooms.js";

export const HELP = [
  "/join #room [key] – go into a room, /part [reason] – leave it",
  "/me waves – say what you do",
  "/msg nickname text – speak to one person",
  "/nick name – change your nickname",
  "/topic [text] – show or set the room's topic, /names – ask who is here",
  "/raw LINE – send a line of IRC as it is, /quit [reason] – leave the server",
  "Begin with // to say something that begins with a slash.",
];

const said = (...texts) => ({ texts, isWrong: false, goTo: null });
const wrong = (text) => ({ texts: [text], isWrong: true, goTo: null });

/** Return `[first word, rest]` of a text. */
function cutWord(text) {
  const parts = /^(\S*)\s*(.*)$/s.exec(text.trim());
  return [parts[1], parts[2]];
}

/**
 * Carry out what was typed in `room`. Return `{texts, isWrong, goTo}`: sentences for the user about the outcome or the
 * mistake (none if the server's answer says it), and the room to show now, or null.
 */
export function runCommand(client, room, input) {
  try {
    if (!input.startsWith("/") || input.startsWith("//")) return say(client, room, input.replace(/^\/\//, "/"));
    const [command, rest] = cutWord(input.slice(1));
    const run = COMMANDS.get(command.toLowerCase());
    return run === undefined ? wrong(`There is no command /${command}. /help lists them.`) : run(client, room, rest);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return wrong(error.message); // a name that no line of IRC can carry
  }
}

function say(client, room, text) {
  if (room.key === SERVER_ROOM) return wrong("Nobody listens here. Join a room: /join #name");
  if (room.isChannel && !room.isJoined) return wrong(`You are not in ${room.name}. Come back with /join ${room.name}`);
  client.say(room.name, text);
  return said();
}

function join(client, _, rest) {
  const [name, key] = cutWord(rest);
  if (name === "") return wrong("Which room? /join #name");
  client.join(client.rooms.isChannel(name) ? name : `#${name}`, key);
  return said();
}

function part(client, room, rest) {
  const [name, reason] = cutWord(rest);
  if (client.rooms.isChannel(name)) client.part(name, reason);
  else if (room.isChannel) client.part(room.name, rest);
  else client.forget(room);
  return said();
}

function act(client, room, rest) {
  if (room.key === SERVER_ROOM) return wrong("Nobody would see it here.");
  if (rest === "") return wrong("What do you do? /me waves");
  client.act(room.name, rest);
  return said();
}

function message(client, _, rest) {
  const [nick, text] = cutWord(rest);
  if (nick === "" || client.rooms.isChannel(nick) || !isNick(nick)) return wrong("To whom? /msg nickname text");
  const goTo = client.openPerson(nick);
  if (text !== "") client.say(nick, text);
  return { ...said(), goTo };
}

function changeNick(client, _, rest) {
  const [nick] = cutWord(rest);
  if (!isNick(nick)) return wrong("A nickname is one word that starts with a letter. /nick name");
  client.changeNick(nick);
  return said();
}

function topic(client, room, rest) {
  if (!room.isChannel) return wrong("This is no room with a topic.");
  if (rest === "") return said(room.topic === "" ? "No topic is set." : `Topic: ${room.topic}`);
  client.setTopic(room.name, rest);
  return said();
}

function names(client, room) {
  if (!room.isChannel) return wrong("This is no room with a list of names.");
  client.askNames(room.name);
  return said(client.rooms.membersOf(room).map(({ nick, rank }) => rank + nick).join(", "));
}

function raw(client, _, rest) {
  if (rest === "") return wrong("What shall be sent? /raw LINE");
  client.raw(rest);
  return said();
}

function quit(client, _, rest) {
  client.quit(rest);
  return said();
}

const COMMANDS = new Map([
  ["join", join],
  ["j", join],
  ["part", part],
  ["leave", part],
  ["me", act],
  ["msg", message],
  ["query", message],
  ["nick", changeNick],
  ["topic", topic],
  ["names", names],
  ["raw", raw],
  ["quote", raw],
  ["quit", quit],
  ["help", () => said(...HELP)],
]);
