/** Chat messages on the wire: the bodies of SEND and MESSAGE. */

import { cleanNick } from "../model/nicknames.js";
import { MAX_ID_CHARS } from "../model/seen-ids.js";

/**
 * Return the body of a SEND. Receivers use `id` to recognise a message that arrives a second time; `isAction` marks
 * the result of /me.
 */
export function writeBody({ nick, text, id, isAction = false }) {
  return JSON.stringify({ nick, text, id, ...(isAction ? { kind: "action" } : {}) });
}

/**
 * Return `{nick, text, bytes, id, isAction}` of a MESSAGE frame. Unless the body is {"nick": "…", "text": "…"}, `nick`
 * is null and the whole body is the text. `bytes` is the length of a body that is not text, else null; `id` may be
 * null.
 */
export function readBody(frame) {
  const plain = { nick: null, text: "", bytes: null, id: null, isAction: false };
  if (typeof frame.body !== "string") return { ...plain, bytes: frame.bytes.length };
  let value = null;
  try {
    value = JSON.parse(frame.body);
  } catch {
    // Plain text, which any STOMP client may send.
  }
  if (value === null || typeof value.nick !== "string" || typeof value.text !== "string") {
    return { ...plain, text: frame.body };
  }
  const id = typeof value.id === "string" && value.id !== "" && value.id.length <= MAX_ID_CHARS ? value.id : null;
  return { nick: cleanNick(value.nick) || null, text: value.text, bytes: null, id, isAction: value.kind === "action" };
}

/** Return the time that the server has stamped on a frame, in ms since 1970; null if there is none. */
export function stampedAt({ timestamp }) {
  return /^[1-9]\d{0,14}$/.test(timestamp ?? "") ? Number(timestamp) : null;
}
