/** The texts that the demo pages share. Those of one page alone are in its own files. */

const CLOSED = new Map([
  [1000, "The connection is closed."],
  [1001, "The gateway is shutting down."],
  [1002, "The gateway saw an error in the WebSocket protocol and closed the connection."],
  [1003, "The gateway could not accept what this page sent."],
  [1006, "No connection. Either the gateway is not running, or its access list does not let this page reach the target; its log says which."],
  [1007, "The gateway received text that is not UTF-8."],
  [1008, "The gateway closed the connection: its rules do not allow this."],
  [1009, "The message was larger than the gateway allows."],
  [1011, "The target could not be reached or broke the connection. Is it running?"],
  [1012, "The gateway is restarting. Connect again in a moment."],
  [1013, "Too many connections are open. Try again later."],
  [3008, "This page was too slow to read what the target sent."],
  [3012, "This page did not answer the gateway in time."],
]);

/** Return a sentence for the close code that TCPSocket passes to onclose. */
export function closeWords(code) {
  return CLOSED.get(code) ?? `The connection was closed with code ${code}.`;
}

export const WORDS = {
  offline: "not connected",
  connecting: "connecting",
  online: "connected",
  you: "You",
  noNick: "Message without a nickname",
  cutOff: " … (the rest is too long to show)",
  newMessages: (count) => (count === 1 ? "1 new message" : `${count} new messages`),
  noTargets: (port) =>
    `No access rule lets this page reach anything. Add a line such as "self -> localhost:${port}" to the section [access] of the server's configuration and restart it.`,
  noAnswer: "The server did not say what this page may reach. Type the target.",
  badTarget: "Write HOST:PORT, for example localhost:6667 or [::1]:6667.",
};
