/**
 * SASL SCRAM (RFC 5802, RFC 7677), which proves the password without sending it, with the browser's own cryptography;
 * and PLAIN for servers that offer nothing better.
 */

const SCRAM = new Map([
  ["SCRAM-SHA-512", "SHA-512"],
  ["SCRAM-SHA-256", "SHA-256"],
  ["SCRAM-SHA-1", "SHA-1"],
]); // the strongest first
/** RFC 5802, 5.1, demands at least 4096 iterations. The upper bound keeps the browser from computing for minutes. */
const MIN_ITERATIONS = 4096;
const MAX_ITERATIONS = 5_000_000;
const GS2_HEADER = "n,,"; // no channel binding: a page cannot see its TLS connection

export class SaslError extends Error {}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

export function toBase64(bytes) {
  return btoa(String.fromCharCode(...bytes));
}

export function fromBase64(text) {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    throw new SaslError("the server sent something that is not base64");
  }
}

/**
 * Return the mechanism to use of those that the server offers, or null: the strongest SCRAM if the browser offers
 * cryptography to this page (`hasCrypto`), or PLAIN if the user allows it.
 */
export function chooseMechanism(offered, { hasCrypto, isPlainAllowed }) {
  if (hasCrypto) {
    for (const name of SCRAM.keys()) if (offered.includes(name)) return name;
  }
  return isPlainAllowed && offered.includes("PLAIN") ? "PLAIN" : null;
}

/**
 * Return a name or password as both sides have to spell it (SASLprep, RFC 4013): non-ASCII spaces become spaces,
 * invisible characters go, the rest is normalised to NFKC. Throws a SaslError if there is a control character.
 */
export function prepare(text) {
  const prepared = text
    .replace(/[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]/g, " ")
    .replace(/[\u00ad\u034f\u1806\u180b-\u180d\u200b-\u200d\u2060\ufe00-\ufe0f\ufeff]/g, "")
    .normalize("NFKC");
  if (/[\0-\x1f\x7f-\x9f\ufffd]/.test(prepared)) throw new SaslError("there is a control character in the name or password");
  return prepared;
}

/** Return the message of PLAIN (RFC 4616) in base64. */
export function plainMessage(username, password) {
  return toBase64(encoder.encode(`\0${prepare(username)}\0${prepare(password)}`));
}

/** The client's side of a SCRAM exchange. All messages are in base64, as XMPP carries them. */
export class Scram {
  #hash;
  #password;
  #nonce;
  #crypto;
  #firstBare;
  #serverSignature = null;

  /** Only tests pass a `nonce`. */
  constructor(mechanism, username, password, { crypto = globalThis.crypto, nonce = randomNonce(crypto) } = {}) {
    this.#hash = SCRAM.get(mechanism);
    this.#password = prepare(password);
    this.#nonce = nonce;
    this.#crypto = crypto.subtle;
    const name = prepare(username).replace(/=/g, "=3D").replace(/,/g, "=2C");
    this.#firstBare = `n=${name},r=${nonce}`;
  }

  /** Return the first message. */
  first() {
    return toBase64(encoder.encode(GS2_HEADER + this.#firstBare));
  }

  /** Return a promise of the answer to the server's challenge: the proof that we know the password. */
  async answer(challenge) {
    const serverFirst = readText(challenge);
    const { r: nonce = "", s: salt = "", i: count = "", m } = readFields(serverFirst);
    if (m !== undefined) throw new SaslError("the server demands an extension of SCRAM that this page does not have");
    if (!nonce.startsWith(this.#nonce) || nonce.length === this.#nonce.length) {
      throw new SaslError("the server's answer is not to our question");
    }
    const iterations = /^[1-9][0-9]{0,9}$/.test(count) ? Number(count) : 0;
    if (iterations < MIN_ITERATIONS || iterations > MAX_ITERATIONS) {
      throw new SaslError(`the server wants ${count} iterations; ${MIN_ITERATIONS} to ${MAX_ITERATIONS} are sound`);
    }
    const salted = await this.#salted(fromBase64(salt), iterations);
    const withoutProof = `c=${toBase64(encoder.encode(GS2_HEADER))},r=${nonce}`;
    const authMessage = encoder.encode(`${this.#firstBare},${serverFirst},${withoutProof}`);
    const clientKey = await this.#hmac(salted, encoder.encode("Client Key"));
    const storedKey = new Uint8Array(await this.#crypto.digest(this.#hash, clientKey));
    const signature = await this.#hmac(storedKey, authMessage);
    const proof = clientKey.map((byte, index) => byte ^ signature[index]);
    const serverKey = await this.#hmac(salted, encoder.encode("Server Key"));
    this.#serverSignature = await this.#hmac(serverKey, authMessage);
    return toBase64(encoder.encode(`${withoutProof},p=${toBase64(proof)}`));
  }

  /** Throw a SaslError unless the server has proved that it knows the password, too. */
  verify(success) {
    const { v = "" } = readFields(readText(success));
    const given = fromBase64(v);
    const own = this.#serverSignature;
    if (own === null || given.length !== own.length || given.some((byte, index) => byte !== own[index])) {
      throw new SaslError("the server could not prove that it knows the password: it may not be the one it says it is");
    }
  }

  async #salted(salt, iterations) {
    // Some browsers' importKey refuses an empty password. HMAC pads keys with zeros, so a zero byte is the same key.
    const password = encoder.encode(this.#password || "\0");
    const key = await this.#crypto.importKey("raw", password, "PBKDF2", false, ["deriveBits"]);
    const bits = { "SHA-1": 160, "SHA-256": 256, "SHA-512": 512 }[this.#hash];
    const params = { name: "PBKDF2", hash: this.#hash, salt, iterations };
    return new Uint8Array(await this.#crypto.deriveBits(params, key, bits));
  }

  async #hmac(keyBytes, data) {
    const key = await this.#crypto.importKey("raw", keyBytes, { name: "HMAC", hash: this.#hash }, false, ["sign"]);
    return new Uint8Array(await this.#crypto.sign("HMAC", key, data));
  }
}

function randomNonce(crypto) {
  return toBase64(crypto.getRandomValues(new Uint8Array(18)));
}

function readText(base64) {
  try {
    return decoder.decode(fromBase64(base64));
  } catch (error) {
    throw error instanceof SaslError ? error : new SaslError("the server sent something that is not UTF-8");
  }
}

/** Return "a=1,b=2" as {a: "1", b: "2"}. */
function readFields(text) {
  const fields = Object.create(null);
  for (const part of text.split(",")) {
    const sign = part.indexOf("=");
    if (sign === 1) fields[part[0]] ??= part.slice(2);
  }
  return fields;
}
