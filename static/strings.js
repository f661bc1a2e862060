/** Every text of the chat page. To translate the page, translate this file. */

const people = (count) => (count === 1 ? "1 person" : `${count} people`);

export const STRINGS = {
  // Fixed texts; the names are those in the data-text, data-label and data-hint attributes of index.html.
  appName: "rtchat",
  skipToText: "Go to the text field",
  changeNick: "Change your nickname",
  messages: "Messages",
  newMessagesHeard: "New messages",
  emptyTitle: "It is quiet here",
  emptyText: "Say hello. To try it out with a second person, open this page in another browser or in a private window.",
  emptyPrivate: (nick) => `What you write here goes to ${nick} alone.`,
  yourMessage: "Your message",
  messageHint: "Write a message",
  keysHint: "Enter sends, Shift+Enter starts a new line, /help lists commands",
  send: "Send",
  retryNow: "Retry now",
  welcomeTitle: "Welcome",
  welcomeText: "Choose a nickname. Everybody in the room sees it; you can change it at any time.",
  nickname: "Nickname",
  nickHint: "for example Ada",
  enterRoom: "Start chatting",
  saveNick: "Save",
  cancel: "Cancel",
  close: "Close",

  // Beside the messages
  menu: "Rooms and people",
  menuUnread: (count, isSome) => (isSome ? `Rooms and people, ${count} unread` : "Rooms and people"),
  rooms: "Rooms",
  moreRooms: "More rooms",
  foldedRooms: (count) => (count === 1 ? "1 more room" : `${count} more rooms`),
  fewerRooms: "Fewer rooms",
  mixedName: "This name mixes alphabets",
  lookalikeName: "Another room has a name that looks the same",
  privateTalks: "Private",
  peopleHere: "People here",
  joinRoom: "Join or make a room",
  joinHint: "name of a room",
  join: "Join",
  people,
  unreadHere: (count) => `${count} unread`,
  leaveRoom: (name) => `Leave ${name}`,
  closePrivate: (nick) => `Close the conversation with ${nick}`,
  talkTo: (nick) => `Private message to ${nick}`,
  youInList: "you",
  morePeople: (count) => `and ${count} more`,

  // Search and copy
  search: "Search messages",
  searchHint: "Search this room",
  searchBusy: "reading older messages …",
  found: (index, count) => (count === 0 ? "nothing found" : `${index} of ${count}`),
  older: "Older match",
  newer: "Newer match",
  copyAll: "Copy all messages",
  copied: (count) => (count === 1 ? "1 message copied." : `${count} messages copied.`),
  notCopied: "The browser did not allow copying.",
  copiedLine: (time, nick, text) => `[${time}] ${nick === null ? "" : `${nick}: `}${text}`,
  copiedAction: (time, nick, text) => `[${time}] * ${nick} ${text}`,

  // Notifications
  notifyAsk: "Notify me of mentions",
  notifyOn: "Notifications on",
  notifyOff: "Notifications off",
  notifyBlocked: "Notifications are blocked for this page in the browser's settings.",
  notifyInsecure: "Browsers allow notifications only for pages on https or on localhost.",
  mentionedYou: (nick, room) => `${nick ?? "Somebody"} in ${room}`,
  wroteToYou: (nick) => `${nick}, privately`,

  // In a frame of another page
  joinHere: "Join the conversation",
  noAnswer: "The chat does not answer at the moment.",

  // The heading of the links to the demo pages, whose own words are in examples/demos
  demos: "More in this browser",

  // The connection
  connecting: "connecting",
  online: "online",
  offline: "offline",
  offlineIn: (seconds) => `offline, retry in ${seconds} s`,
  waitSafely: "You are offline. Keep writing: your messages wait here and are sent later.",
  restarting: "The server is restarting. Keep writing: your messages wait here and are sent as soon as it is back.",
  notAdmitted: (host) =>
    `This chat does not accept pages from ${host} yet. Whoever runs the server finds the missing line in its log. Your messages wait here.`,
  busyServer: "The server is busy and asks to come back later. Keep writing: your messages wait here.",
  refusedForGood: "The server has closed the connection and asks this page not to reconnect by itself.",
  needNick: "Choose another nickname to go on.",
  saidOnline: "Online again.",
  saidOnlineFirst: "Connected.",
  saidOffline: (seconds) =>
    `Connection lost. Next attempt in ${seconds === 1 ? "1 second" : `${seconds} seconds`}. Your messages wait until then.`,
  saidOfflineForGood: "Connection closed by the server.",

  // Messages
  you: "You",
  noNick: "Message without a nickname",
  waiting: "sending …",
  waitingOffline: "Not sent yet: goes out as soon as you are online again.",
  undelivered: (nick) => `Not delivered: ${nick} is not here now.`,
  notSent: (reason) => `Not sent. The server said: ${reason}`,
  // Reasons of the server for which the page has words of its own.
  reasons: [
    [
      /^restarted$/,
      () => "Not sent: the server has restarted, so another person may have this name now. “Try again” sends it to that person.",
    ],
    [/^noPrivate$/, () => "Not sent: this server has no private messages."],
    [/not your nick/i, () => "Not sent: this nickname is not yours any more. Choose another one and try again."],
    [/text longer than (\d+) characters/i, (count) => `Not sent: the server takes at most ${count} characters.`],
    [/history cannot be written/i, () => "Not sent: the server cannot keep messages at the moment. Try again a little later."],
  ],
  tryAgain: "Try again",
  takeBack: "Take back",
  binary: (bytes) => (bytes === 1 ? "1 byte that is not text" : `${bytes} bytes that are not text`),
  cutOff: " … (the rest is too long to show)",
  showMore: "Show more",
  showLess: "Show less",
  newMessages: (count) => (count === 1 ? "1 new message" : `${count} new messages`),
  toNewest: "To the newest message",
  newSince: "New since you left",
  charactersLeft: (count) => (count === 1 ? "1 character left" : `${count} characters left`),
  tooLong: (count) => `${count === 1 ? "1 character" : `${count} characters`} too many`,
  saidTooLong: (count) => `Not sent: ${count === 1 ? "1 character" : `${count} characters`} too many. The text is still there.`,
  title: (unread, room) => `${unread > 0 ? `(${unread}) ` : ""}${room} · rtchat`,
  heard: (nick, text) => `${nick === null ? "" : `${nick}: `}${text}`,
  heardAction: (nick, text) => `${nick} ${text}`,
  heardMany: (count) => `${count} new messages`,
  typing: (nicks) => {
    if (nicks.length === 0) return "";
    if (nicks.length === 1) return `${nicks[0]} is typing …`;
    if (nicks.length === 2) return `${nicks[0]} and ${nicks[1]} are typing …`;
    return "Several people are typing …";
  },

  // The nickname
  nickTaken: (nick, other) => `${nick} is taken by another person. How about ${other}?`,
  nickRefused: (nick, reason) => `The server refuses the nickname ${nick}: ${reason}`,
  askingNick: "One moment …",
  noNickGiven: "A nickname needs at least one letter or sign.",

  // Notices in the conversation
  lobby: "Lobby",
  joined: (room) => `You are in ${room} now.`,
  notices: {
    gap: "Messages may be missing here: the server does not have everything that was said while you were away.",
    damaged: "Messages are missing here: the server's history is damaged. New messages arrive as usual.",
    privateKept: "Only this window keeps private messages: they are gone when it is closed.",
    privateNotKept: "Private messages are not kept: they are gone when this page is closed or reloaded.",
    restarted: (nick) => `The server has restarted: the person called ${nick} now may not be the one you talked to before.`,
    senderChanged: (nick) => `This ${nick} is not the one you talked to before.`,
    serverSaid: (reason) => `The server ended the connection and said: ${reason || "nothing"}`,
    nickTaken: (nick) => `${nick} is taken by somebody else. You keep your nickname; try another one.`,
    nickRefused: (nick, reason) => `The server refuses the nickname ${nick}: ${reason}`,
    nickSet: (nick) => `You are called ${nick} now.`,
    noRoomName: "This cannot be the name of a room: a name needs a letter, a digit or a symbol, such as an emoji.",
    notKept: "This browser does not keep waiting messages across a reload; leave the page open until they are sent.",
    unknownCommand: (name) => `There is no command /${name}. /help lists what there is.`,
    missing: (name) => `/${name} needs more words. /help shows how it is used.`,
    noPrivate: "This server has no private messages.",
    toYourself: "That is you.",
    onlyRoom: "This is the only room you are in; /join ROOM goes to another one.",
    notInRoom: (name) => `You are in no room called ${name}.`,
    tooManyTalks: "There are too many private conversations; close one first.",
    noNickGiven: "A nickname needs at least one letter or sign.",
    renamed: (before, nick) => `${before} is now called ${nick}.`,
    help: [
      "/me waves – says what you do",
      "/nick NAME – changes your nickname",
      "/join ROOM – goes to a room, or makes one",
      "/leave – leaves this room, or closes this conversation; /leave ROOM leaves another room",
      "/msg NAME TEXT – says something to one person alone; \"NAME WITH BLANKS\" goes into quotation marks",
      "//text – says something that begins with a slash",
      "Alt+Up and Alt+Down change the room, Ctrl+F searches all messages, Tab behind @ab completes a name",
    ].join("\n"),
  },
};
