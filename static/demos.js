/**
 * The links to the demo pages: none. Where chat.ini mounts the folder examples/demos as "demos", the server redirects
 * this address to that folder's links.js, which exports the same function.
 */

/** Return a promise of `[{href, text}]`. */
export async function demoLinks() {
  return [];
}
