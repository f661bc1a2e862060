/** What the server's ERROR frames mean to the page. */

const MAX_REASON_CHARS = 300;

/**
 * Return `{kind, reason, id, maxChars, verb, destination}` of an ERROR frame.
 *
 * `kind` is "taken" (another session holds the nickname), "nick" (the nickname is not allowed), "access" (the server
 * wants a log-in), "expired" (the log-in has to be renewed), "right" (the user may not `verb`, "read" or "write",
 * `destination`) or "other". `id` is the receipt that the refused frame asked for, `maxChars` the limit that a text
 * exceeded, or null. `isLogin` says that the ERROR answers CONNECT.
 */
export function readError(frame, isLogin) {
  const text = (frame.headers.message || (typeof frame.body === "string" ? frame.body : "")).trim();
  const reason = text.slice(0, MAX_REASON_CHARS);
  const limit = /text longer than (\d+) characters/.exec(reason);
  const found = { kind: "other", reason, id: frame.headers["receipt-id"], maxChars: limit && Number(limit[1]) };
  if (text === "access refused") return { ...found, kind: "access" };
  if (text === "token expired") return { ...found, kind: "expired" };
  const [, verb, destination] = /^not allowed: (read|write) (.+)$/s.exec(text) ?? [];
  if (verb !== undefined) return { ...found, kind: "right", verb, destination };
  if (isLogin && /\bnick\b/i.test(reason)) return { ...found, kind: /in use/i.test(reason) ? "taken" : "nick" };
  return found;
}
