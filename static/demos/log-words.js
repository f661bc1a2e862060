/** What the list of messages of the demo pages says. */

export const STRINGS = {
  you: "You",
  noNick: "Message without a nickname",
  waiting: "waiting",
  notSent: (reason) => `Not sent. The server said: ${reason}`,
  binary: (bytes) => (bytes === 1 ? "1 byte that is not text" : `${bytes} bytes that are not text`),
  cutOff: " … (the rest is too long to show)",
  newMessages: (count) => (count === 1 ? "1 new message" : `${count} new messages`),
};
