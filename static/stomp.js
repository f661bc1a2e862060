/**
 * STOMPClient: STOMP 1.0, 1.1 and 1.2 over a WebSocket, with the API of Orbited's stomp.js.
 *
 *   const stomp = new STOMPClient();
 *   stomp.onconnectedframe = (frame) => stomp.subscribe("/topic/chat");
 *   stomp.onmessageframe = (frame) => console.log(frame.body);
 *   stomp.connect("localhost", 61613);          // through the proxy: /tcp/localhost:61613
 *   stomp.connect();                            // or straight into the broker: /ws
 *
 * connect(host, port) uses the global TCPSocket if the page has set one, else a WebSocket to
 * /tcp/HOST:PORT of the server this script came from. Works as a classic script and as
 * `import "/static/stomp.js"`; it defines the global STOMPClient either way and needs no library.
 */
(function (root) {
  "use strict";

  // document.currentScript is known only while a classic script is being loaded; an ES module has none
  // and then the page's own address is used.
  const script = root.document ? root.document.currentScript : null;
  const baseUrl = (script && script.src) || (root.location ? root.location.href : undefined);

  const LF = 10;
  const CR = 13;
  const SUPPORTED_VERSIONS = ["1.0", "1.1", "1.2"];
  const SUB_PROTOCOLS = ["v12.stomp", "v11.stomp", "v10.stomp"];
  const SERVER_COMMANDS = new Set(["CONNECTED", "MESSAGE", "RECEIPT", "ERROR"]);

  // Close codes that this side sets. Scripts may send 1000 and 3000-4999 only; below 3500 means
  // "connecting again is welcome".
  const CODE_DONE = 1000;
  const CODE_NO_CONNECTION = 1006;
  const CODE_LEFT = 3001;
  const CODE_PROTOCOL = 3002;
  const CODE_SILENCE = 3012;

  // A WebSocket's readyState
  const CLOSING = 2;
  const CLOSED = 3;

  const encoder = new TextEncoder();
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

  /** The server violated STOMP, or a value cannot be written in this version of STOMP. */
  class ProtocolError extends Error {
    constructor(message) {
      super(message);
      this.name = "ProtocolError";
    }
  }

  // ---- frames -----------------------------------------------------------------------------------

  const ESCAPES = {
    "1.1": { "\n": "\\n", ":": "\\c", "\\": "\\\\" },
    "1.2": { "\n": "\\n", ":": "\\c", "\\": "\\\\", "\r": "\\r" },
  };
  const UNESCAPES = {
    "1.1": { "\\n": "\n", "\\c": ":", "\\\\": "\\" },
    "1.2": { "\\n": "\n", "\\c": ":", "\\\\": "\\", "\\r": "\r" },
  };

  // "C style string literal escapes are used to encode any CR, LF or colon found within the headers ...
  // The CONNECT and CONNECTED frames do not escape" (STOMP 1.2, Value Encoding)
  function escapesIn(table, command, version) {
    return command === "CONNECT" || command === "CONNECTED" ? undefined : table[version];
  }

  function escapeHeader(text, command, version, isName) {
    const table = escapesIn(ESCAPES, command, version);
    const escaped = table ? text.replace(/[\n\r:\\]/g, (c) => table[c] || c) : text;
    if (/[\n\r\0]/.test(escaped) || (isName && escaped.includes(":"))) {
      throw new ProtocolError(
        `${command}: the header ${isName ? "name" : "value"} ${JSON.stringify(text)} cannot be written ` +
          `in ${table ? "STOMP " + version : "this frame"}; leave out line ends, NUL and, in names, colons`,
      );
    }
    return escaped;
  }

  function unescapeHeader(text, command, version) {
    // No version is agreed yet when an ERROR answers CONNECT: decode known escapes, refuse none.
    const lenient = version === null;
    const table = escapesIn(UNESCAPES, command, lenient ? "1.2" : version);
    if (!table || !text.includes("\\")) return text;
    return text.replace(/\\[\s\S]?/g, (pair) => {
      if (pair in table) return table[pair];
      if (lenient) return pair;
      throw new ProtocolError(`${command}: ${JSON.stringify(pair)} is no escape of STOMP ${version}`);
    });
  }

  function isBytes(value) {
    return value instanceof ArrayBuffer || ArrayBuffer.isView(value);
  }

  function toBytes(value) {
    if (typeof value === "string") return encoder.encode(value);
    if (value instanceof ArrayBuffer) return new Uint8Array(value);
    if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    return Uint8Array.from(value);
  }

  /**
   * Return a frame as it is sent: a string, or a Uint8Array if the body is bytes.
   * A header whose value is null or undefined is left out.
   */
  function encodeFrame(command, headers, body, version) {
    let head = command + "\n";
    for (const name of Object.keys(headers)) {
      const value = headers[name];
      if (value === null || value === undefined) continue;
      head += escapeHeader(name, command, version, true) + ":";
      head += escapeHeader(String(value), command, version, false) + "\n";
    }
    head += "\n";
    if (!isBytes(body)) return head + body + "\0";
    const headBytes = encoder.encode(head);
    const bodyBytes = toBytes(body);
    const frame = new Uint8Array(headBytes.length + bodyBytes.length + 1);
    frame.set(headBytes, 0);
    frame.set(bodyBytes, headBytes.length);
    return frame;
  }

  function decodeHead(bytes) {
    try {
      return decoder.decode(bytes);
    } catch {
      throw new ProtocolError("a frame's headers are not UTF-8");
    }
  }

  /** Return `{command, headers}` of the lines above a frame's blank line. */
  function parseHead(text, version) {
    const lines = text.split("\n").map((line) => (line.endsWith("\r") ? line.slice(0, -1) : line));
    const command = lines[0];
    if (!SERVER_COMMANDS.has(command)) {
      throw new ProtocolError(`${JSON.stringify(command.slice(0, 40))} is no frame that a STOMP server sends`);
    }
    const headers = Object.create(null);
    for (const line of lines.slice(1)) {
      const colon = line.indexOf(":");
      if (colon < 0) throw new ProtocolError(`${command}: a header line without a colon`);
      let name = line.slice(0, colon);
      let value = line.slice(colon + 1);
      if (version === "1.0") {
        // The examples of STOMP 1.0 have blanks around header values; 1.1 and 1.2 never trim.
        name = name.trim();
        value = value.trim();
      }
      name = unescapeHeader(name, command, version);
      // "If a client or a server receives repeated frame header entries, only the first header entry
      // SHOULD be used as the value of header entry" (STOMP 1.2)
      if (!(name in headers)) headers[name] = unescapeHeader(value, command, version);
    }
    return { command, headers };
  }

  /** `command`, `headers` (no prototype), `bytes`, and `body`: text, or the bytes when they are not UTF-8. */
  class Frame {
    constructor(command, headers, bytes) {
      this.command = command;
      this.headers = headers;
      this.bytes = bytes;
      try {
        this.body = decoder.decode(bytes);
      } catch {
        this.body = bytes;
      }
    }
  }

  const FIRST_BUFFER_BYTES = 4096;
  const KEPT_BUFFER_BYTES = 1024 * 1024;

  /**
   * Turns bytes, in any chunks, into frames: push(bytes), then next() until it returns null.
   * Set `version` once it is agreed; later frames are read by its rules.
   */
  class FrameParser {
    #buffer = new Uint8Array(FIRST_BUFFER_BYTES);
    #start = 0; // the first byte that is not part of a returned frame
    #end = 0; // behind the last received byte
    #scan = 0; // everything before it has been searched
    #head = null; // the head of the frame whose body has not arrived
    #bodyStart = 0;

    constructor({ maxFrameBytes = 64 * 1024 * 1024 } = {}) {
      this.version = null;
      this.maxFrameBytes = maxFrameBytes;
    }

    push(bytes) {
      if (this.#end + bytes.length > this.#buffer.length) this.#grow(bytes.length);
      this.#buffer.set(bytes, this.#end);
      this.#end += bytes.length;
    }

    next() {
      if (this.#head === null && !this.#readHead()) return this.#wait();
      const bodyEnd = this.#findBodyEnd();
      if (bodyEnd < 0) return this.#wait();
      const bytes = this.#buffer.slice(this.#bodyStart, bodyEnd);
      const frame = new Frame(this.#head.command, this.#head.headers, bytes);
      this.#head = null;
      this.#start = this.#scan = bodyEnd + 1;
      return frame;
    }

    #wait() {
      if (this.#end - this.#start > this.maxFrameBytes) {
        throw new ProtocolError(`a frame is larger than ${this.maxFrameBytes} bytes`);
      }
      if (this.#start === this.#end) {
        if (this.#buffer.length > KEPT_BUFFER_BYTES) this.#buffer = new Uint8Array(FIRST_BUFFER_BYTES);
        this.#start = this.#end = this.#scan = 0;
      }
      return null;
    }

    #grow(extra) {
      const used = this.#end - this.#start;
      let size = this.#buffer.length;
      while (size < used + extra) size *= 2;
      const target = size === this.#buffer.length ? this.#buffer : new Uint8Array(size);
      target.set(this.#buffer.subarray(this.#start, this.#end));
      this.#buffer = target;
      this.#scan -= this.#start;
      this.#bodyStart -= this.#start;
      this.#start = 0;
      this.#end = used;
    }

    #readHead() {
      const buffer = this.#buffer;
      // EOLs between frames are heart-beats.
      while (this.#start < this.#end && (buffer[this.#start] === LF || buffer[this.#start] === CR)) this.#start++;
      if (this.#scan < this.#start) this.#scan = this.#start;
      for (; this.#scan < this.#end; this.#scan++) {
        const byte = buffer[this.#scan];
        if (byte === 0) throw new ProtocolError("a frame ends before the blank line behind its headers");
        if (byte !== LF) continue;
        const second = this.#scan + 1;
        const blank = second < this.#end && buffer[second] === CR ? second + 1 : second;
        if (blank >= this.#end) return false; // the next chunk decides
        if (buffer[blank] !== LF) continue;
        const text = decodeHead(buffer.subarray(this.#start, this.#scan));
        this.#head = parseHead(text, this.version);
        this.#bodyStart = this.#scan = blank + 1;
        return true;
      }
      return false;
    }

    #findBodyEnd() {
      const length = this.#head.headers["content-length"];
      if (length === undefined) {
        const window = this.#buffer.subarray(this.#scan, this.#end);
        const at = window.indexOf(0);
        if (at >= 0) return this.#scan + at;
        this.#scan = this.#end;
        return -1;
      }
      if (!/^\d+$/.test(length)) {
        throw new ProtocolError(`content-length:${length.slice(0, 40)} is not a number of bytes`);
      }
      if (Number(length) > this.maxFrameBytes) {
        throw new ProtocolError(`content-length:${length} is more than ${this.maxFrameBytes} bytes`);
      }
      const bodyEnd = this.#bodyStart + Number(length);
      if (bodyEnd >= this.#end) return -1;
      if (this.#buffer[bodyEnd] !== 0) {
        throw new ProtocolError(`no NUL follows the ${length} bytes of the body`);
      }
      return bodyEnd;
    }
  }

  // ---- transports: open, bytes in, strings or bytes out, close ------------------------------------

  function webSocketUrl(path) {
    const url = new URL(path, baseUrl);
    if (url.protocol === "https:") url.protocol = "wss:";
    else if (url.protocol === "http:") url.protocol = "ws:";
    return url;
  }

  function tcpPath(host, port) {
    const name = String(host).replace(/^\[|\]$/g, "");
    if (!/^[^\s/?#@[\]\\%]+$/.test(name)) {
      throw new TypeError(`connect: ${JSON.stringify(host)} is not a host name or address`);
    }
    if (!/^\d+$/.test(String(port)) || Number(port) < 1 || Number(port) > 65535) {
      throw new TypeError(`connect: ${JSON.stringify(port)} is not a port from 1 to 65535`);
    }
    return `/tcp/${name.includes(":") ? `[${name}]` : name}:${Number(port)}`;
  }

  function openWebSocket(url, protocols, events) {
    const socket = protocols.length ? new root.WebSocket(url.href, protocols) : new root.WebSocket(url.href);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => events.opened();
    socket.onmessage = (event) => events.read(toBytes(event.data));
    socket.onerror = () => events.failed(new Error(`the WebSocket to ${url.href} failed`));
    // A page that is left may stay in the back/forward cache: there its connection would look alive to the server.
    const leave = () => socket.close(CODE_LEFT);
    if (root.addEventListener) root.addEventListener("pagehide", leave);
    socket.onclose = (event) => {
      if (root.removeEventListener) root.removeEventListener("pagehide", leave);
      events.closed(event.code);
    };
    return {
      send: (data) => {
        // The connection may have ended although its close event has not been dispatched yet.
        if (socket.readyState === CLOSING || socket.readyState === CLOSED) return;
        socket.send(data);
      },
      close: (code) => socket.close(code),
    };
  }

  function openTcpSocket(host, port, events) {
    const socket = new root.TCPSocket();
    socket.onopen = () => events.opened();
    socket.onread = (data) => events.read(toBytes(data));
    socket.onclose = (code) => events.closed(code);
    socket.open(host, port, true); // binary: bodies need not be UTF-8
    return {
      send: (data) => socket.send(data),
      close: () => socket.close(),
    };
  }

  // ---- the client ---------------------------------------------------------------------------------

  const noop = () => {};
  const MAX_REMEMBERED_ACKS = 10000;

  function parseHeartBeat(text) {
    const match = /^(\d{1,9}),(\d{1,9})$/.exec(text || "");
    return match ? [Number(match[1]), Number(match[2])] : [0, 0];
  }

  class STOMPClient {
    #options;
    #target = null; // what reset() connects to again
    #link = null; // everything that lives as long as one connection
    #receiptNumber = 0;

    /**
     * Options, all of them optional:
     *   url               the address for connect() without a host; "/ws" of the server of this script
     *   vhost             the `host` header of CONNECT, if it differs from the host
     *   connectHeaders    more headers of CONNECT: an object, or a function that returns one for each attempt
     *   heartBeatMs       [the interval we can send at, the one we want], 10 s each; 0 turns one off
     *   connectTimeoutMs  the longest wait for CONNECTED, 15 s
     *   maxFrameBytes     the largest frame accepted, 64 MiB
     */
    constructor(options = {}) {
      this.#options = {
        url: "/ws",
        vhost: null,
        connectHeaders: {},
        heartBeatMs: [10000, 10000],
        connectTimeoutMs: 15000,
        disconnectTimeoutMs: 2000,
        maxFrameBytes: 64 * 1024 * 1024,
        ...options,
      };
      this.onopen = noop; // ()       the socket is open, CONNECT goes out
      this.onclose = noop; // (code)  the connection is gone; WebSocket close codes
      this.onerror = noop; // (error) something went wrong; onclose follows
      this.onconnectedframe = noop; // (frame) logged in: subscribe and send from here on
      this.onconnectframe = noop; // (frame)  the tutorial's other name for onconnectedframe
      this.onmessageframe = noop; // (frame)
      this.onreceiptframe = noop; // (frame)
      this.onerrorframe = noop; // (frame)
    }

    /** Whether the client is logged in: from CONNECTED to the end of the connection. */
    get connected() {
      return this.#link !== null && this.#link.state === "connected";
    }

    /** The STOMP version agreed with the server; null before that. */
    get version() {
      return this.#link && this.#link.parser.version;
    }

    /** Connect to a STOMP server through the proxy, or, without a host, to the page's own broker. */
    connect(host, port, login, passcode) {
      const direct = host === undefined || host === null;
      if (!direct) tcpPath(host, port); // throws to the caller if the host or port is invalid
      this.#drop(CODE_DONE);
      this.#target = { direct, host, port, login, passcode };
      this.#open();
    }

    /** Drop the connection at once, without onclose, and connect again with the same arguments. */
    reset() {
      if (this.#target === null) throw new Error("STOMPClient.reset: call connect() first");
      this.#drop(CODE_DONE);
      this.#open();
    }

    /** Drop the connection at once, without DISCONNECT and without onclose, as when the page is left. */
    close() {
      this.#drop(CODE_DONE);
    }

    /** Send DISCONNECT, wait for its RECEIPT (2 s at most) and close; onclose(1000) follows. */
    disconnect(headers = {}) {
      const link = this.#link;
      if (link === null || link.state === "disconnecting") return;
      if (link.state !== "connected") {
        this.#finish(link, CODE_DONE);
        return;
      }
      link.goodbye = headers.receipt === undefined ? `goodbye-${this.#receiptNumber++}` : String(headers.receipt);
      link.goodbyeIsOurs = headers.receipt === undefined;
      this.#write("DISCONNECT", { ...headers, receipt: link.goodbye });
      link.state = "disconnecting";
      link.goodbyeTimer = setTimeout(() => this.#finish(link, CODE_DONE), this.#options.disconnectTimeoutMs);
    }

    /** Send a string, or bytes as Uint8Array or ArrayBuffer. Throws an Error without a connection. */
    send(body, destination, headers = {}) {
      let content = body;
      if (typeof body === "number" || typeof body === "boolean") content = String(body);
      if (typeof content !== "string" && !isBytes(content)) {
        throw new TypeError("STOMPClient.send: the body must be a string or bytes; use JSON.stringify for objects");
      }
      const length = typeof content === "string" ? encoder.encode(content).length : toBytes(content).length;
      this.#write("SEND", { "content-length": length, ...headers, destination }, content);
    }

    /** Subscribe. Return the subscription's id: headers.id, or "sub-0", "sub-1", … */
    subscribe(destination, headers = {}) {
      const link = this.#connectedLink("subscribe");
      let id = headers.id;
      if (id === undefined || id === null) {
        do id = `sub-${link.subscriptionNumber++}`;
        while (link.subscriptions.has(id));
      }
      id = String(id);
      this.#write("SUBSCRIBE", { ack: "auto", ...headers, id, destination });
      link.subscriptions.set(id, destination);
      return id;
    }

    /** End the subscription with this id, or every subscription to this destination. */
    unsubscribe(destinationOrId, headers = {}) {
      const link = this.#connectedLink("unsubscribe");
      const ids = link.subscriptions.has(destinationOrId)
        ? [destinationOrId]
        : [...link.subscriptions.keys()].filter((id) => link.subscriptions.get(id) === destinationOrId);
      if (ids.length === 0) throw new Error(`STOMPClient.unsubscribe: not subscribed to ${destinationOrId}`);
      for (const id of ids) {
        const own = link.parser.version === "1.0" ? { id, destination: link.subscriptions.get(id) } : { id };
        this.#write("UNSUBSCRIBE", { ...headers, ...own });
        link.subscriptions.delete(id);
      }
    }

    /** Open a transaction. Return its id, for the header `transaction` of send(). */
    begin(id, headers = {}) {
      const link = this.#connectedLink("begin");
      const transaction = id === undefined || id === null ? `tx-${link.transactionNumber++}` : String(id);
      this.#write("BEGIN", { ...headers, transaction });
      return transaction;
    }

    commit(transaction, headers = {}) {
      this.#write("COMMIT", { ...headers, transaction });
    }

    abort(transaction, headers = {}) {
      this.#write("ABORT", { ...headers, transaction });
    }

    /** Acknowledge a MESSAGE: pass the frame or its message-id, and the id of the transaction, if any. */
    ack(message, transaction, headers = {}) {
      this.#acknowledge("ACK", message, transaction, headers);
    }

    /** Reject a MESSAGE; STOMP 1.0 has no NACK. */
    nack(message, transaction, headers = {}) {
      this.#acknowledge("NACK", message, transaction, headers);
    }

    // ---- one connection, from open to finish ----

    #open() {
      const { direct, host, port } = this.#target;
      const link = {
        state: "opening", // opening, connecting, connected, disconnecting
        transport: null,
        parser: new FrameParser({ maxFrameBytes: this.#options.maxFrameBytes }),
        subscriptions: new Map(), // id -> destination
        subscriptionNumber: 0,
        transactionNumber: 0,
        acks: new Map(), // message-id -> {subscription, ack} of messages that wait for ack()
        lastSent: Date.now(),
        lastRead: Date.now(),
        sendEveryMs: 0,
        connectTimer: null,
        sendTimer: null,
        silenceTimer: null,
        goodbyeTimer: null,
        goodbye: null,
        goodbyeIsOurs: true,
      };
      this.#link = link;
      const whileCurrent = (act) => (value) => {
        if (this.#link === link) act(value);
      };
      const events = {
        opened: whileCurrent(() => this.#opened(link)),
        read: whileCurrent((bytes) => this.#read(link, bytes)),
        failed: whileCurrent((error) => this.#call("onerror", error)),
        closed: whileCurrent((code) => this.#finish(link, code)),
      };
      const waitMs = this.#options.connectTimeoutMs;
      link.connectTimer = setTimeout(() => {
        this.#fail(link, CODE_NO_CONNECTION, new Error(`no answer from the STOMP server within ${waitMs / 1000} s`));
      }, waitMs);
      try {
        if (direct) {
          const url = webSocketUrl(this.#options.url);
          link.vhost = url.hostname;
          link.transport = openWebSocket(url, SUB_PROTOCOLS, events);
        } else {
          link.vhost = String(host);
          const tcpSocket = root.TCPSocket && root.TCPSocket.prototype && root.TCPSocket.prototype.open;
          link.transport = tcpSocket
            ? openTcpSocket(host, port, events)
            : openWebSocket(webSocketUrl(tcpPath(host, port)), [], events);
        }
      } catch (error) {
        // The browser refused to try. Report it like every other failure: asynchronously.
        setTimeout(whileCurrent(() => this.#fail(link, CODE_NO_CONNECTION, error)), 0);
      }
    }

    #opened(link) {
      link.state = "connecting";
      this.#call("onopen");
      if (this.#link !== link) return;
      const { login, passcode } = this.#target;
      const { connectHeaders } = this.#options;
      try {
        this.#write("CONNECT", {
          ...(typeof connectHeaders === "function" ? connectHeaders() : connectHeaders),
          "accept-version": SUPPORTED_VERSIONS.join(","),
          host: this.#options.vhost === null ? link.vhost : this.#options.vhost,
          "heart-beat": this.#options.heartBeatMs.join(","),
          login,
          passcode,
        });
      } catch (error) {
        this.#fail(link, CODE_PROTOCOL, error);
      }
    }

    #read(link, bytes) {
      link.lastRead = Date.now();
      try {
        link.parser.push(bytes);
        let frame = link.parser.next();
        while (frame !== null && this.#link === link) {
          this.#receive(link, frame);
          frame = this.#link === link ? link.parser.next() : null;
        }
      } catch (error) {
        this.#fail(link, CODE_PROTOCOL, error);
        return;
      }
      // Browsers slow the timers of a hidden page down to one a minute, but not its sockets: there,
      // the server's data keeps our own heart-beats going.
      const idleMs = Date.now() - link.lastSent;
      if (this.#link === link && link.sendEveryMs > 0 && idleMs >= 0.6 * link.sendEveryMs) this.#beat(link);
    }

    #receive(link, frame) {
      const isLogin = frame.command === "CONNECTED";
      if (isLogin !== (link.state === "connecting") && frame.command !== "ERROR") {
        throw new ProtocolError(`${frame.command} came while ${link.state}`);
      }
      switch (frame.command) {
        case "CONNECTED":
          this.#login(link, frame);
          this.#call("onconnectedframe", frame);
          if (this.onconnectframe !== this.onconnectedframe) this.#call("onconnectframe", frame);
          break;
        case "MESSAGE":
          this.#rememberAck(link, frame);
          this.#call("onmessageframe", frame);
          break;
        case "RECEIPT": {
          const isGoodbye = link.goodbye !== null && frame.headers["receipt-id"] === link.goodbye;
          if (!isGoodbye || !link.goodbyeIsOurs) this.#call("onreceiptframe", frame);
          if (isGoodbye && this.#link === link) this.#finish(link, CODE_DONE);
          break;
        }
        case "ERROR":
          this.#call("onerrorframe", frame); // the server closes the connection after it
          break;
      }
    }

    #login(link, frame) {
      const version = frame.headers.version === undefined ? "1.0" : frame.headers.version;
      if (!SUPPORTED_VERSIONS.includes(version)) {
        throw new ProtocolError(`the server chose STOMP ${version}, which was not offered`);
      }
      clearTimeout(link.connectTimer);
      link.parser.version = version;
      link.state = "connected";
      const [canSendMs, wantMs] = this.#options.heartBeatMs;
      const [serverSendsMs, serverWantsMs] = parseHeartBeat(frame.headers["heart-beat"]);
      // "if <cx> is 0 ... or <sy> is 0 ... there will be none; otherwise, there will be heart-beats every
      // MAX(<cx>,<sy>) milliseconds" (STOMP 1.2), and the same the other way.
      if (canSendMs > 0 && serverWantsMs > 0) {
        link.sendEveryMs = Math.max(canSendMs, serverWantsMs);
        this.#scheduleBeat(link);
      }
      if (wantMs > 0 && serverSendsMs > 0) this.#watchSilence(link, 2 * Math.max(wantMs, serverSendsMs));
    }

    #scheduleBeat(link) {
      const everyMs = 0.8 * link.sendEveryMs; // early enough for a slow line
      const idleMs = Math.max(0, Date.now() - link.lastSent);
      link.sendTimer = setTimeout(() => {
        if (Date.now() - link.lastSent >= everyMs) this.#beat(link);
        if (this.#link === link) this.#scheduleBeat(link);
      }, Math.max(1, everyMs - idleMs));
    }

    #beat(link) {
      this.#transmit(link, "\n");
    }

    #watchSilence(link, limitMs) {
      const idleMs = Math.max(0, Date.now() - link.lastRead);
      const dueMs = Math.max(1, limitMs - idleMs);
      const setAt = Date.now();
      link.silenceTimer = setTimeout(() => {
        const lateMs = Date.now() - setAt - dueMs;
        if (Date.now() - link.lastRead < limitMs) {
          this.#watchSilence(link, limitMs);
        } else if (lateMs > 1000) {
          // The page itself was suspended: give the socket time to deliver what has arrived meanwhile.
          link.lastRead = Date.now() - limitMs + 1000;
          this.#watchSilence(link, limitMs);
        } else {
          this.#fail(link, CODE_SILENCE, new Error(`the server has been silent for ${limitMs / 1000} s`));
        }
      }, dueMs);
    }

    #rememberAck(link, frame) {
      const { "message-id": messageId, subscription, ack } = frame.headers;
      if (messageId === undefined) return;
      if (ack === undefined && link.parser.version === "1.2") return; // a subscription with ack:auto
      link.acks.set(messageId, { subscription, ack });
      if (link.acks.size > MAX_REMEMBERED_ACKS) link.acks.delete(link.acks.keys().next().value);
    }

    #acknowledge(command, message, transaction, headers) {
      const link = this.#connectedLink(command.toLowerCase());
      const version = link.parser.version;
      if (command === "NACK" && version === "1.0") throw new ProtocolError("STOMP 1.0 has no NACK");
      const isFrame = typeof message === "object" && message !== null;
      const messageId = isFrame ? message.headers["message-id"] : String(message);
      const known = isFrame ? message.headers : link.acks.get(messageId) || {};
      const own = { transaction };
      if (version === "1.2") {
        own.id = known.ack === undefined ? messageId : known.ack;
      } else {
        own["message-id"] = messageId;
        if (version === "1.1" || known.subscription !== undefined) own.subscription = known.subscription;
      }
      this.#write(command, { ...headers, ...own });
      link.acks.delete(messageId);
    }

    #connectedLink(what) {
      const link = this.#link;
      if (link === null || link.state !== "connected") {
        throw new Error(`STOMPClient.${what}: not connected; wait for onconnectedframe`);
      }
      return link;
    }

    #write(command, headers, body = "") {
      const link = command === "CONNECT" ? this.#link : this.#connectedLink(command.toLowerCase());
      this.#transmit(link, encodeFrame(command, headers, body, link.parser.version));
    }

    #transmit(link, data) {
      link.lastSent = Date.now();
      link.transport.send(data);
    }

    #fail(link, code, error) {
      if (this.#link !== link) return;
      this.#call("onerror", error);
      if (this.#link === link) this.#finish(link, code);
    }

    #finish(link, code) {
      this.#drop(code === CODE_NO_CONNECTION ? CODE_DONE : code);
      this.#call("onclose", code);
    }

    #drop(code) {
      const link = this.#link;
      if (link === null) return;
      this.#link = null;
      for (const timer of [link.connectTimer, link.sendTimer, link.silenceTimer, link.goodbyeTimer]) clearTimeout(timer);
      if (link.transport !== null) link.transport.close(code >= 3000 && code < 5000 ? code : CODE_DONE);
    }

    #call(name, argument) {
      const callback = this[name];
      if (typeof callback !== "function") return;
      try {
        callback.call(this, argument);
      } catch (error) {
        // An exception in the page's callback must not break the connection; report it as uncaught.
        setTimeout(() => {
          throw error;
        }, 0);
      }
    }
  }

  STOMPClient.ProtocolError = ProtocolError;
  STOMPClient.FrameParser = FrameParser;
  STOMPClient.encodeFrame = encodeFrame;
  root.STOMPClient = STOMPClient;
})(globalThis);
