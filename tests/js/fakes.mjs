/** A WebSocket that the test drives, a server's side of STOMP, and a storage, all without a network. */

import "../../static/stomp.js";
import "../../static/tcpsocket.js";

export const { STOMPClient, TCPSocket, Orbited } = globalThis;

const encoder = new TextEncoder();
export const bytesOf = (text) => encoder.encode(text);

export class FakeWebSocket {
  static made = [];

  /** Puts itself in the place of the browser's WebSocket. */
  static install() {
    FakeWebSocket.made = [];
    globalThis.WebSocket = FakeWebSocket;
  }

  static get last() {
    return FakeWebSocket.made.at(-1);
  }

  constructor(url, protocols = []) {
    this.url = url;
    this.protocols = protocols;
    this.sent = [];
    this.closedWith = null;
    FakeWebSocket.made.push(this);
  }

  send(data) {
    this.sent.push(data);
  }

  close(code) {
    this.closedWith ??= code;
  }

  // what the test does in the server's place

  open() {
    this.onopen({});
  }

  receive(data) {
    this.onmessage({ data });
  }

  lose(code = 1006) {
    this.onclose({ code });
  }

  /** Opens, and answers CONNECT. */
  login(headers = "version:1.2\nheart-beat:0,0\n") {
    this.open();
    this.receive(`CONNECTED\n${headers}\n\0`);
    this.sent.length = 0;
  }

  /** What was sent last, as text. */
  get lastText() {
    return this.sent.at(-1);
  }
}

/** Records the calls of every callback of a STOMPClient, in order. */
export function record(client) {
  const calls = [];
  for (const name of ["onopen", "onclose", "onerror", "onconnectedframe", "onmessageframe", "onreceiptframe", "onerrorframe"]) {
    client[name] = (argument) => calls.push([name, argument]);
  }
  // Not enumerable: a comparison of the calls must not see these two.
  return Object.defineProperties(calls, {
    names: { value: () => calls.map(([name]) => name) },
    of: { value: (wanted) => calls.filter(([name]) => name === wanted).map(([, argument]) => argument) },
  });
}

/** Let a page be left, as browsers tell it; `act` is what it did before. */
export function leavePageAfter(act) {
  const listeners = new Set();
  globalThis.addEventListener = (type, listener) => type === "pagehide" && listeners.add(listener);
  globalThis.removeEventListener = (type, listener) => listeners.delete(listener);
  try {
    act();
    const count = listeners.size;
    for (const listener of [...listeners]) listener({});
    return count;
  } finally {
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
  }
}

export class FakeStorage {
  items = new Map();
  getItem(key) {
    return this.items.has(key) ? this.items.get(key) : null;
  }
  setItem(key, value) {
    this.items.set(key, value);
  }
}
