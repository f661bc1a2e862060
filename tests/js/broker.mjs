/**
 * A broker in the test's own process that a ChatSession talks to in the place of a STOMPClient: topics, receipts,
 * history with offsets and epochs, presence, private messages, nicknames. It answers in the order of the questions,
 * when the test says so (settle()).
 */

export class FakeBroker {
  clients = [];
  life = ""; // of the server
  nicks = new Map(); // token -> the nickname of the person with it
  nowMs = 1_000_000_000_000;
  streams = new Map(); // destination -> {epoch, next, kept: [{offset, body, headers}]}
  constructor({ history = true, people = true } = {}) {
    this.history = history;
    this.people = people;
    this.limit = Infinity;
    /** Who is logged in at the browser with this token: {user, nick}, or undefined for an anonymous person. */
    this.users = new Map();
    /** Whether somebody is forbidden to "read" or "write" a destination. */
    this.forbids = () => false;
    this.published = [];
  }

  client(connectHeaders) {
    return new FakeClient(this, connectHeaders);
  }

  stream(destination) {
    if (!this.history || !destination.startsWith("/topic/chat")) return null;
    if (!this.streams.has(destination)) {
      this.streams.set(destination, { epoch: `epoch of ${destination}`, next: 0, kept: [] });
    }
    return this.streams.get(destination);
  }

  /** The public id of a person; a server that has restarted gives another. */
  idOf(token) {
    return `id of ${token}${this.life}`;
  }

  /** `token`: the sender's. */
  publish(destination, body, { timestamp, ...own } = {}, token = undefined) {
    this.published.push({ destination, body });
    const sender = this.people && token !== undefined ? { "x-sender-id": this.idOf(token) } : {};
    const headers = { ...own, ...sender, timestamp: String(this.nowMs) };
    const stream = this.stream(destination);
    const more = {};
    if (stream !== null) {
      const message = { offset: stream.next++, body, headers };
      stream.kept.push(message);
      if (stream.kept.length > this.limit) stream.kept.shift();
      more["x-stream-offset"] = String(message.offset);
      more["x-stream-epoch"] = stream.epoch;
    }
    for (const client of this.clients) client.deliver(destination, body, { ...headers, ...more });
  }

  /** Lets everything that is under way arrive. */
  settle() {
    for (let isBusy = true; isBusy; ) {
      isBusy = false;
      for (const client of [...this.clients]) isBusy = client.step() || isBusy;
    }
  }

  /** The connections break; what is under way to the clients is lost. */
  breakAll(code = 1006) {
    for (const client of [...this.clients]) client.lose(code);
  }
}

class FakeClient {
  #broker;
  #headers;
  #inbox = [];
  subscriptions = new Map();
  connected = false;
  /** What was sent is lost on its way, as when the network is gone and nobody knows. */
  isDeaf = false;
  #attempt = 0;

  constructor(broker, connectHeaders) {
    this.#broker = broker;
    this.#headers = connectHeaders;
  }

  get nick() {
    return this.#broker.nicks.get(this.token);
  }

  close() {
    this.#drop();
  }

  connect() {
    this.#drop();
    this.#attempt++;
    const { nick: wished, "x-presence-token": token } = this.#headers();
    const who = this.#broker.users.get(token);
    const nick = wished ?? who?.nick;
    this.asked = { nick: wished, token };
    this.token = token;
    this.#broker.clients.push(this);
    const other = this.#broker.clients.find((one) => one.token !== token && one.nick === nick && nick !== undefined);
    this.#inbox.push(() => {
      if (this.#broker.people && other !== undefined) {
        this.error("nick in use");
        return;
      }
      this.connected = true;
      this.#broker.nicks.set(token, nick);
      const time = { timestamp: String(this.#broker.nowMs) };
      const user = who === undefined ? {} : { "x-user": who.user };
      const id = this.#broker.people && nick !== undefined ? { nick, "x-presence-id": this.#broker.idOf(token), ...time } : {};
      this.onconnectedframe({ headers: { version: "1.2", ...user, ...id } });
    });
  }

  subscribe(destination, { id, receipt, ...headers }) {
    if (this.#broker.forbids("read", destination)) {
      this.#later(() => this.error(`not allowed: read ${destination}`, receipt, 3502));
      return;
    }
    const stream = this.#broker.stream(destination);
    const subscription = { destination, credit: Number(headers["prefetch-count"] ?? Infinity) };
    this.subscriptions.set(id, subscription);
    const answer = {};
    const replayed = [];
    let expected = 0;
    if (stream !== null) {
      answer["x-stream-epoch"] = stream.epoch;
      answer["x-stream-offset"] = String(stream.next);
      const wish = /^offset=(\d+)$/.exec(headers["x-stream-offset"]);
      if (wish !== null) {
        let from = Number(wish[1]);
        const first = stream.kept[0]?.offset ?? stream.next;
        if (headers["x-stream-epoch"] !== undefined) {
          const isWhole = headers["x-stream-epoch"] === stream.epoch && from >= first && from <= stream.next;
          if (!isWhole) from = 0;
          answer["x-stream-recovered"] = String(isWhole);
        }
        expected = Math.max(from, first);
        replayed.push(...stream.kept.filter(({ offset }) => offset >= from));
      }
    }
    this.#later(() => this.onreceiptframe({ headers: { ...answer, "receipt-id": receipt } }));
    for (const { offset, body, headers: own } of replayed) {
      const position = { "x-stream-offset": String(offset), "x-stream-epoch": stream.epoch };
      // What a test takes out of the middle is damaged.
      if (offset > expected) position["x-stream-unreadable"] = String(offset - expected);
      expected = offset + 1;
      this.#send(id, subscription, body, { ...own, ...position });
    }
  }

  unsubscribe(id) {
    if (!this.subscriptions.delete(id)) throw new Error(`not subscribed: ${id}`);
  }

  send(body, destination, { receipt, ...headers }) {
    if (!this.connected) throw new Error("not connected");
    if (this.isDeaf) return;
    if (this.#broker.forbids("write", destination)) {
      this.#later(() => this.error(`not allowed: write ${destination}`, receipt, 3502));
      return;
    }
    const to = /^\/user\/(.+)\/queue\/private$/.exec(destination);
    const isOther = this.#broker.people && JSON.parse(body).nick !== this.nick;
    if (isOther) {
      this.#later(() => this.error("not your nick", receipt));
      return;
    }
    if (to === null) this.#broker.publish(destination, body, headers, this.token);
    else this.#sendTo(to[1], body, headers);
    this.#later(() => this.onreceiptframe({ headers: { "receipt-id": receipt } }));
  }

  #sendTo(nick, body, headers) {
    const to = headers["x-receiver-id"];
    const isReceiver = (one) => (to === undefined ? one.nick?.toLowerCase() === nick.toLowerCase() : this.#broker.idOf(one.token) === to);
    const there = this.#broker.clients.filter(isReceiver);
    const time = { timestamp: String(this.#broker.nowMs) };
    const sender = { "x-sender": this.nick, "x-sender-id": this.#broker.idOf(this.token), ...time };
    for (const one of there) one.deliver("/user/queue/private", body, sender);
    if (there.length === 0) {
      this.deliver("/user/queue/private", body, { ...sender, "x-undelivered": "true" });
    } else if (headers["x-copy"] === "true") {
      const receiver = { "x-receiver": there[0].nick, "x-receiver-id": this.#broker.idOf(there[0].token) };
      for (const one of this.#broker.clients) {
        if (one.token === this.token) one.deliver("/user/queue/private", body, { ...sender, ...receiver });
      }
    }
  }

  deliver(destination, body, headers) {
    for (const [id, subscription] of this.subscriptions) {
      if (subscription.destination === destination) this.#send(id, subscription, body, headers);
    }
  }

  #send(id, subscription, body, headers) {
    if (subscription.credit-- <= 0) return;
    this.#later(() => {
      if (!this.subscriptions.has(id)) return;
      this.onmessageframe({ headers: { ...headers, subscription: id, destination: subscription.destination }, body });
    });
  }

  #later(act) {
    if (!this.isDeaf) this.#inbox.push(act);
  }

  /** One thing arrives; false if nothing is under way. */
  step() {
    const act = this.#inbox.shift();
    act?.();
    return act !== undefined;
  }

  error(message, receiptId, code = 1000) {
    const attempt = this.#attempt;
    this.onerrorframe({ headers: { message, ...(receiptId ? { "receipt-id": receiptId } : {}) }, body: "" });
    if (attempt === this.#attempt) this.#inbox = [() => this.lose(code)]; // nothing comes after an ERROR but the end
  }

  lose(code = 1006) {
    this.#drop();
    this.onclose(code);
  }

  #drop() {
    this.connected = false;
    this.isDeaf = false;
    this.#inbox = [];
    this.subscriptions.clear();
    this.#broker.clients = this.#broker.clients.filter((one) => one !== this);
  }
}

/** Timers that run when the test says so. */
export class FakeTimers {
  pending = new Map();
  #next = 1;
  setTimeout(act, ms) {
    this.pending.set(this.#next, { act, ms });
    return this.#next++;
  }
  clearTimeout(id) {
    this.pending.delete(id);
  }
  /** Runs all there are, once. */
  run() {
    const due = [...this.pending.values()];
    this.pending.clear();
    for (const { act } of due) act();
  }
}
