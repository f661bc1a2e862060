/** Asking the server whether it admits this page, since a browser does not tell why a WebSocket failed. */

/**
 * Return a promise of whether the server's access list refuses this page. False, too, if the server does not answer.
 *
 * @param origin the page's address as the browser shows it; a front proxy may have told the server another one.
 */
export async function isRefused(origin, fetch = globalThis.fetch) {
  try {
    const address = `/embed/check?page=${encodeURIComponent(origin)}`;
    const answer = await fetch(address, { credentials: "omit", cache: "no-store" });
    if (!answer.ok) return false;
    const { lacking } = await answer.json();
    return Array.isArray(lacking) && lacking.length > 0;
  } catch {
    return false;
  }
}
