/** The targets that this page may reach through the gateway, and the demos that could speak to them. */

const IRC_PORTS = new Set([194, 6660, 6661, 6662, 6663, 6664, 6665, 6666, 6667, 6668, 6669, 7000]);
const XMPP_PORTS = new Set([5222]);
/** Well-known ports of protocols that are neither IRC nor XMPP: only the console can speak to them. */
const OTHER_PORTS = new Set([
  7, 9, 13, 19, 21, 22, 23, 25, 43, 53, 70, 79, 80, 110, 119, 143, 389, 443, 465, 587, 631, 636, 993, 995, 1433, 1521,
  1883, 3306, 3389, 5269, 5432, 5672, 5900, 5901, 6379, 8080, 8443, 8883, 11211, 27017, 61613, 61614,
]);

/**
 * Return `{host, port, text}` of HOST:PORT, [IPV6]:PORT or, with a default port, HOST; null of anything else. An IPv6
 * address has brackets in `text` and none in `host`.
 */
export function parseTarget(text, defaultPort = null) {
  const parts = /^(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/?#@[\]\\%]+))(?::([0-9]{1,5}))?$/.exec(text.trim());
  if (parts === null) return null;
  const host = parts[1] ?? parts[2];
  const port = parts[3] === undefined ? defaultPort : Number(parts[3]);
  if (port === null || port < 1 || port > 65535) return null;
  return { host, port, text: `${parts[1] === undefined ? host : `[${host}]`}:${port}` };
}

/**
 * Ask the server which targets this page may reach. Return `{targets, broker}`, two lists of what parseTarget()
 * returns: `broker` has the server's own STOMP ports, `targets` all others. Targets without HOST:PORT are left out.
 * Throws an Error if the server does not answer.
 */
export async function askTargets(fetch = globalThis.fetch) {
  const answer = await fetch("/tcp/", { headers: { accept: "application/json" }, cache: "no-store" });
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  const { targets, broker } = await answer.json();
  const own = new Set(broker);
  const read = (texts) => texts.map((text) => parseTarget(text)).filter((target) => target !== null);
  return { targets: read(targets.filter((text) => !own.has(text))), broker: read(broker) };
}

/** Return what a target speaks, judging by its port: "irc", "xmpp", "other", or "any" if the port is not known. */
export function kindOf(target) {
  if (IRC_PORTS.has(target.port)) return "irc";
  if (XMPP_PORTS.has(target.port)) return "xmpp";
  return OTHER_PORTS.has(target.port) ? "other" : "any";
}

/** Return the targets for a demo ("console", "irc" or "xmpp"), the likeliest first. */
export function targetsFor(demo, targets) {
  if (demo === "console") return [...targets];
  const sure = targets.filter((target) => kindOf(target) === demo);
  return [...sure, ...targets.filter((target) => kindOf(target) === "any")];
}

/** Return the demos that have a target, in the order in which the chat page links them. */
export function usableDemos(targets) {
  return ["irc", "xmpp", "console"].filter((demo) => targetsFor(demo, targets).length > 0);
}
