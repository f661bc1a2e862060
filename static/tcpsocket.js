/**
 * TCPSocket: a TCP connection for the browser, through this server's proxy at /tcp/HOST:PORT,
 * with the API of Orbited's TCPSocket.
 *
 *   const socket = new TCPSocket();
 *   socket.onopen = () => socket.send("hello\n");
 *   socket.onread = (data) => console.log(data);   // a string, or a Uint8Array when opened as binary
 *   socket.onclose = (code) => console.log("closed", code);
 *   socket.open("localhost", 61613);               // third argument true: binary
 *
 * The proxy is the server this script came from, or Orbited.settings.hostname and .port. Works as a
 * classic script (also under the name Orbited.js) and as `import "/static/tcpsocket.js"`.
 */
(function (root) {
  "use strict";

  const script = root.document ? root.document.currentScript : null;
  const baseUrl = (script && script.src) || (root.location ? root.location.href : undefined);
  const home = baseUrl ? new URL(baseUrl) : null;

  const settings = {
    protocol: home && home.protocol === "https:" ? "https" : "http",
    hostname: home ? home.hostname : "localhost",
    port: home ? home.port : "",
    streaming: true, // pages written for Orbited set it; a WebSocket always streams
  };

  const CODE_DONE = 1000;
  const CODE_NO_CONNECTION = 1006;
  const CODE_LEFT = 3001;
  const encoder = new TextEncoder();

  function bracketed(host) {
    const name = String(host).replace(/^\[|\]$/g, "");
    if (!/^[^\s/?#@[\]\\%]+$/.test(name)) {
      throw new TypeError(`TCPSocket.open: ${JSON.stringify(host)} is not a host name or address`);
    }
    return name.includes(":") ? `[${name}]` : name;
  }

  function proxyUrl(host, port) {
    if (!/^\d+$/.test(String(port)) || Number(port) < 1 || Number(port) > 65535) {
      throw new TypeError(`TCPSocket.open: ${JSON.stringify(port)} is not a port from 1 to 65535`);
    }
    const scheme = /^(https|wss)\b/.test(settings.protocol) ? "wss" : "ws";
    const proxyPort = settings.port ? `:${settings.port}` : "";
    return `${scheme}://${bracketed(settings.hostname)}${proxyPort}/tcp/${bracketed(host)}:${Number(port)}`;
  }

  function toBytes(data) {
    if (typeof data === "string") return encoder.encode(data);
    if (data instanceof ArrayBuffer) return new Uint8Array(data);
    if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    return Uint8Array.from(data);
  }

  const noop = () => {};

  class TCPSocket {
    static READY_STATE_INITIALIZED = 1;
    static READY_STATE_OPENING = 2;
    static READY_STATE_OPEN = 3;
    static READY_STATE_CLOSING = 4;
    static READY_STATE_CLOSED = 5;

    #socket = null;
    #waiting = []; // data that was sent before the connection was open
    #decoder = null; // in text mode: a character may be split between messages

    constructor() {
      this.readyState = TCPSocket.READY_STATE_INITIALIZED;
      this.onopen = noop;
      this.onread = noop;
      this.onclose = noop;
    }

    /** Connect to host:port. With `isBinary`, onread receives Uint8Arrays instead of strings. */
    open(host, port, isBinary = false) {
      const { READY_STATE_INITIALIZED, READY_STATE_OPENING, READY_STATE_CLOSED } = TCPSocket;
      if (this.readyState !== READY_STATE_INITIALIZED && this.readyState !== READY_STATE_CLOSED) {
        throw new Error("TCPSocket.open: this socket is in use; close it first or make another one");
      }
      const url = proxyUrl(host, port);
      this.#waiting = [];
      this.#decoder = isBinary ? null : new TextDecoder("utf-8", { ignoreBOM: true });
      this.readyState = READY_STATE_OPENING;
      let socket;
      try {
        socket = new root.WebSocket(url);
      } catch {
        socket = {}; // the browser refused to try: reported like every other failure, asynchronously
        setTimeout(() => this.#closed(socket, CODE_NO_CONNECTION), 0);
      }
      socket.binaryType = "arraybuffer";
      socket.onopen = () => this.#opened(socket);
      socket.onmessage = (event) => this.#read(socket, event.data);
      // A page that is left may stay in the back/forward cache: there its connection would look alive to the target.
      const leave = () => socket.close(CODE_LEFT);
      if (root.addEventListener && socket.close) root.addEventListener("pagehide", leave);
      socket.onclose = (event) => {
        if (root.removeEventListener) root.removeEventListener("pagehide", leave);
        this.#closed(socket, event.code);
      };
      this.#socket = socket;
    }

    /** Send a string or bytes; data sent before the connection is open is queued. */
    send(data) {
      const message = typeof data === "string" ? data : toBytes(data);
      if (this.readyState === TCPSocket.READY_STATE_OPEN) this.#socket.send(message);
      else if (this.readyState === TCPSocket.READY_STATE_OPENING) this.#waiting.push(message);
      else throw new Error("TCPSocket.send: the socket is not open");
    }

    /** Close after everything sent has left; onclose follows. */
    close() {
      const isOpen = this.readyState === TCPSocket.READY_STATE_OPEN;
      if (!isOpen && this.readyState !== TCPSocket.READY_STATE_OPENING) return;
      const mustWait = !isOpen && this.#waiting.length > 0;
      this.readyState = TCPSocket.READY_STATE_CLOSING;
      if (mustWait) return; // #opened sends it and closes
      if (this.#socket.close) this.#socket.close(CODE_DONE);
    }

    /** Drop the connection and the queued data at once; onclose(1000) follows. */
    reset() {
      const socket = this.#socket;
      if (socket === null) return;
      if (socket.close) socket.close(CODE_DONE);
      queueMicrotask(() => this.#closed(socket, CODE_DONE));
      this.#waiting = [];
      this.readyState = TCPSocket.READY_STATE_CLOSING;
    }

    #opened(socket) {
      if (this.#socket !== socket) return;
      for (const message of this.#waiting.splice(0)) socket.send(message);
      if (this.readyState === TCPSocket.READY_STATE_CLOSING) {
        socket.close(CODE_DONE);
        return;
      }
      this.readyState = TCPSocket.READY_STATE_OPEN;
      this.onopen();
    }

    #read(socket, data) {
      if (this.#socket !== socket || this.readyState === TCPSocket.READY_STATE_CLOSED) return;
      const bytes = toBytes(data);
      if (this.#decoder === null) {
        this.onread(bytes);
        return;
      }
      const text = this.#decoder.decode(bytes, { stream: true });
      if (text !== "") this.onread(text);
    }

    #closed(socket, code) {
      if (this.#socket !== socket) return;
      this.#socket = null;
      this.#waiting = [];
      const rest = this.#decoder === null ? "" : this.#decoder.decode();
      if (rest !== "") this.onread(rest); // a character that was cut off
      this.readyState = TCPSocket.READY_STATE_CLOSED;
      this.onclose(code);
    }
  }

  root.TCPSocket = TCPSocket;
  root.Orbited = { settings, TCPSocket };
})(globalThis);
