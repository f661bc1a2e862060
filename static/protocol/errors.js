/** What the server's ERROR frames mean to the page. */

const MAX_REASON_CHARS = 300;

/**
 * Return `{kind, reason, id, maxChars}` of an ERROR frame.
 *
 * `kind` is "taken" (another session holds the nickname), "nick" (the nickname is not allowed) or
 * "other". `id` is the receipt that the refused frame asked for,
 * `maxChars` the limit that a text exceeded, or null. `isLogin` says that the ERROR answers CONNECT.
 */
export function readError(frame, isLogin) {
  const text = frame.headers.message || (typeof frame.body === "string" ? frame.body : "");
  const reason = text.trim().slice(0, MAX_REASON_CHARS);
  const limit = /text longer than (\d+) characters/.exec(reason);
  const found = { kind: "other", reason, id: frame.headers["receipt-id"], maxChars: limit && Number(limit[1]) };
  if (isLogin && /\bnick\b/i.test(reason)) return { ...found, kind: /in use/i.test(reason) ? "taken" : "nick" };
  return found;
}
