/** What people type into an IRC room: "/me waves", "/join #room", or plain words. No DOM in here. */

import { SERVER_ROOM } from "./irc-rooms.js";
import { isNick } from "./irc-wire.js";

export const HELP = [
  "/join #room [key] – go into a room, /part [reason] – leave it",
  "/me waves – say what you do",
  "/msg nickname text – speak to one person",
  "/nick name – change your nickname",
  "/topic [text] – show or set the room's topic, /names – ask who is here",
  "/raw LINE – send a line of IRC as it is, /quit [reason] – leave the server",
  "Begin with // to say something that begins with a slash.",
];

/** `[first word, rest]` of a text. */
function cutWord(text) {
  const parts = /^(\S*)\s*(.*)$/s.exec(text.trim());
  return [parts[1], parts[2]];
}

/**
 * Does what was typed in `room`. Gives the sentences that tell the writer what came of it or what was wrong (none when
 * the server's answer tells) as `{texts, isWrong, goTo}`; `goTo` is the room that the writer wants to see now, or null.
 */
export function obey(client, room, input) {
  try {
    return obeyed(client, room, input);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return { texts: [error.message], isWrong: true, goTo: null }; // a name that no line of IRC can hold
  }
}

function obeyed(client, room, input) {
  const said = (isWrong, ...texts) => ({ texts, isWrong, goTo: null });
  const done = said(false);
  if (!input.startsWith("/") || input.startsWith("//")) {
    if (room.key === SERVER_ROOM) return said(true, "Nobody listens here. Join a room: /join #name");
    if (room.isChannel && !room.isJoined) return said(true, `You are not in ${room.name}. Come back with /join ${room.name}`);
    client.say(room.name, input.startsWith("//") ? input.slice(1) : input);
    return done;
  }
  const [command, rest] = cutWord(input.slice(1));
  const [word, more] = cutWord(rest);
  const channel = room.isChannel ? room.name : "";
  switch (command.toLowerCase()) {
    case "join":
    case "j": {
      if (word === "") return said(true, "Which room? /join #name");
      client.join(client.rooms.isChannel(word) ? word : `#${word}`, more);
      return done;
    }
    case "part":
    case "leave": {
      const isNamed = client.rooms.isChannel(word);
      const which = isNamed ? word : channel;
      if (which === "") {
        client.forget(room);
        return done;
      }
      client.part(which, isNamed ? more : rest);
      return done;
    }
    case "me":
      if (room.key === SERVER_ROOM) return said(true, "Nobody would see it here.");
      if (rest === "") return said(true, "What do you do? /me waves");
      client.act(room.name, rest);
      return done;
    case "msg":
    case "query": {
      if (word === "" || client.rooms.isChannel(word) || !isNick(word)) return said(true, "To whom? /msg nickname text");
      const person = client.openPerson(word);
      if (more !== "") client.say(word, more);
      return { ...done, goTo: person };
    }
    case "nick":
      if (!isNick(word)) return said(true, "A nickname is one word that begins with a letter. /nick name");
      client.changeNick(word);
      return done;
    case "topic":
      if (channel === "") return said(true, "This is no room with a topic.");
      if (rest === "") return said(false, room.topic === "" ? "No topic is set." : `Topic: ${room.topic}`);
      client.setTopic(channel, rest);
      return done;
    case "names": {
      if (channel === "") return said(true, "This is no room with a list of names.");
      client.askNames(channel);
      return said(false, client.rooms.membersOf(room).map(({ nick, rank }) => rank + nick).join(", "));
    }
    case "raw":
    case "quote":
      if (rest === "") return said(true, "What shall be sent? /raw LINE");
      client.raw(rest);
      return done;
    case "quit":
      client.quit(rest);
      return done;
    case "help":
      return said(false, ...HELP);
    default:
      return said(true, `There is no command /${command}. /help lists them.`);
  }
}
