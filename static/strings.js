/** Everything the chat page says to people, in one place. To translate the page, translate this file. */

export const STRINGS = {
  // The page as it stands; the names are those of the data-text, data-label and data-hint attributes of index.html.
  appName: "rtchat",
  changeNick: "Change your nickname",
  messages: "Messages",
  emptyTitle: "It is quiet here",
  emptyText: "Say hello, or open this page in a second window and talk to yourself. The room shows what is said while you are here.",
  yourMessage: "Your message",
  messageHint: "Write a message",
  keysHint: "Enter sends, Shift+Enter starts a new line",
  send: "Send",
  retryNow: "Retry now",
  welcomeTitle: "Welcome",
  welcomeText: "Choose a nickname. Everybody in the room sees it; you can change it at any time.",
  nickname: "Nickname",
  nickHint: "for example Ada",
  enterRoom: "Start chatting",
  saveNick: "Save",
  cancel: "Cancel",

  // Links to the demo pages
  demos: "More in this browser",
  demoNames: { irc: "IRC", xmpp: "XMPP", console: "Line console" },

  // The connection
  connecting: "connecting",
  online: "online",
  offline: "offline",
  offlineIn: (seconds) => `offline, retry in ${seconds} s`,
  waitSafely: "You are offline. Keep writing: your messages wait here and are sent later.",
  refusedForGood: "The server has closed the connection and asks this page not to return by itself.",
  saidOnline: "Online again.",
  saidOnlineFirst: "Connected.",
  saidOffline: (seconds) =>
    `Connection lost. Next attempt in ${seconds === 1 ? "1 second" : `${seconds} seconds`}. Your messages wait until then.`,
  saidOfflineForGood: "Connection closed by the server.",

  // Messages
  you: "You",
  noNick: "Message without a nickname",
  waiting: "waiting",
  notSent: (reason) => `Not sent. The server said: ${reason}`,
  tryAgain: "Try again",
  takeBack: "Take back",
  binary: (bytes) => (bytes === 1 ? "1 byte that is not text" : `${bytes} bytes that are not text`),
  cutOff: " … (the rest is too long to show)",
  newMessages: (count) => (count === 1 ? "1 new message" : `${count} new messages`),
  charactersLeft: (count) => (count === 1 ? "1 character left" : `${count} characters left`),
  title: (unread, room) => `${unread > 0 ? `(${unread}) ` : ""}${room} · rtchat`,

  // Notices in the log
  serverSaid: (reason) => `The server ended the connection and said: ${reason}`,
  noReason: "no reason given",
  lobby: "Lobby",
  notKept: "This browser does not keep the waiting messages over a reload; leave the page open until they are sent.",
  joined: (room) => `You are in ${room} now.`,
};
