/** Asking the server whether it admits this page, since a browser does not tell why a WebSocket failed. */

/**
 * Return a promise of what the server's access list says about this page: "refused", "asks" if it lets in users only,
 * otherwise "". That, too, if the server does not answer.
 *
 * @param origin the page's address as the browser shows it; a front proxy may have told the server another one.
 */
export async function askAdmission(origin, fetch = globalThis.fetch) {
  try {
    const address = `/embed/check?page=${encodeURIComponent(origin)}`;
    const answer = await fetch(address, { credentials: "omit", cache: "no-store" });
    if (!answer.ok) return "";
    const { lacking, asks } = await answer.json();
    if (Array.isArray(lacking) && lacking.length > 0) return "refused";
    return asks === true ? "asks" : "";
  } catch {
    return "";
  }
}
