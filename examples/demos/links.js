/** The links to the demo pages. Where this folder is mounted as "demos", the chat page imports this file. */

import { askTargets, usableDemos } from "./targets.js";

const TITLES = { irc: "IRC", xmpp: "XMPP", console: "Line console" };

/** Return a promise of `[{href, text}]`: a link to every demo for which an access rule names a usable target. */
export async function demoLinks() {
  const { targets } = await askTargets();
  return usableDemos(targets).map((demo) => ({
    href: new URL(`${demo}.html`, import.meta.url).href,
    text: TITLES[demo],
  }));
}
