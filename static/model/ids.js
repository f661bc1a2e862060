/** Random ids. */

/** Return 128 random bits in hex. Unlike crypto.randomUUID, getRandomValues also works on plain http. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
