/** What this window keeps of private conversations, so that a reload does not end them. */

const KEY = "talks";
const MAX_TALKS = 30;
const MAX_MESSAGES = 200;
const MAX_CHARS = 1000000;

const isText = (value) => typeof value === "string";
const isTextOrNull = (value) => value === null || isText(value);

function isMessage(value) {
  return (
    typeof value === "object" &&
    value !== null &&
    isTextOrNull(value.id) &&
    isTextOrNull(value.senderId) &&
    [value.nick, value.text].every(isText) &&
    [value.isOwn, value.isAction].every((one) => typeof one === "boolean") &&
    typeof value.at === "number" &&
    ["sent", "undelivered"].includes(value.state)
  );
}

function isTalk(value) {
  return (
    typeof value === "object" &&
    value !== null &&
    [value.nick, value.destination].every(isText) &&
    isTextOrNull(value.personId) &&
    Number.isInteger(value.unread) &&
    Array.isArray(value.messages) &&
    value.messages.every(isMessage)
  );
}

/** Return what is kept of a message. */
function kept({ id, senderId, nick, text, isOwn, isAction, at, state }) {
  return { id, senderId, nick, text, isOwn, isAction, at, state };
}

export class TalkStore {
  #store;

  /** `store` is a Store of this window, as on sessionStorage. */
  constructor(store) {
    this.#store = store;
  }

  /** Whether a reload finds what was saved. */
  get isKept() {
    return this.#store.isKept;
  }

  /** Return {ownId, talks}; a talk is {nick, personId, destination, unread, messages}. */
  load() {
    const { ownId, talks } = this.#store.getJson(KEY, {});
    return { ownId: isText(ownId) ? ownId : null, talks: Array.isArray(talks) ? talks.filter(isTalk) : [] };
  }

  /** Keep the latest conversations, and of each the latest messages. The ids of people hold while `ownId` does. */
  save(ownId, talks) {
    let left = MAX_CHARS;
    const all = [];
    for (const { conversation, personId } of talks.slice(-MAX_TALKS).reverse()) {
      const { nick, destination, unread, messages } = conversation;
      const latest = [];
      for (const row of messages.slice(-MAX_MESSAGES).reverse()) {
        // What waits or was refused is in the send queue; bytes that are no text are not worth keeping.
        if (!["sent", "undelivered"].includes(row.state) || row.nick === null || row.at === null) continue;
        left -= row.text.length;
        if (left < 0) break;
        latest.unshift(kept(row));
      }
      all.unshift({ nick, destination, personId, unread, messages: latest });
    }
    this.#store.setJson(KEY, { ownId, talks: all });
  }
}
