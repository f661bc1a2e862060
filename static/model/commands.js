/** The commands that a user types: "/me waves", "/join tea". */

/** The name is bounded: engines differ in how often they go back over a longer one. */
const COMMAND = /^\/(\p{L}{1,30})(?:\s+([\s\S]*))?$/u;

/**
 * Return `{command, …}` of a typed text: "say" (text), "me" (text), "nick" (nick), "join" (room), "leave" (room, "" for
 * this one), "msg" (nick,
 * text), "help", or "unknown" (name). `missing` is true if a command lacks an argument. "//x" says "/x".
 */
export function parseLine(line) {
  if (line.startsWith("//")) return { command: "say", text: line.slice(1) };
  const match = COMMAND.exec(line);
  // A path or a lone slash is no command.
  if (match === null) return { command: "say", text: line };
  const name = match[1].toLowerCase();
  const rest = (match[2] ?? "").trim();
  switch (name) {
    case "me":
      return { command: "me", text: rest, missing: rest === "" };
    case "nick":
    case "name":
      return { command: "nick", nick: rest, missing: rest === "" };
    case "join":
    case "j":
      return { command: "join", room: rest.replace(/^#/, ""), missing: rest === "" };
    case "leave":
    case "part":
      return { command: "leave", room: rest.replace(/^#/, "") };
    case "msg":
    case "w":
    case "query":
      return message(rest);
    case "help":
      return { command: "help" };
    default:
      return { command: "unknown", name };
  }
}

/** Parse NICK TEXT, or "NICK WITH SPACES" TEXT. Without a text, the command only opens the conversation. */
function message(rest) {
  const match = /^(?:"([^"]+)"|@?(\S+))(?:\s+([\s\S]+))?$/.exec(rest);
  if (match === null) return { command: "msg", nick: "", text: "", missing: true };
  return { command: "msg", nick: match[1] ?? match[2], text: match[3] ?? "", missing: false };
}
