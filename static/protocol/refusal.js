/** What the server's ERROR frames mean to the page. */

const MAX_REASON_CHARS = 300;

/**
 * `{kind, reason, id, maxChars}`: kind is "taken" (somebody else has the nickname), "nick" (nobody can be called so),
 * "replaced" (a newer connection of the same window) or "other"; `id` the receipt that was asked for, `maxChars` the limit
 * of a text that was too long. `isLogin`: the answer is to CONNECT.
 */
export function readRefusal(frame, isLogin) {
  const text = frame.headers.message || (typeof frame.body === "string" ? frame.body : "");
  const reason = text.trim().slice(0, MAX_REASON_CHARS);
  const limit = /text longer than (\d+) characters/.exec(reason);
  const found = { kind: "other", reason, id: frame.headers["receipt-id"], maxChars: limit && Number(limit[1]) };
  if (isLogin && /\bnick\b/i.test(reason)) return { ...found, kind: /in use/i.test(reason) ? "taken" : "nick" };
  return /replaced by a newer/i.test(reason) ? { ...found, kind: "replaced" } : found;
}
