/** Reads the well-formed XML of tests into trees as examples/demos/xml-tree.js has them, in the place of a DOMParser. */

import { el } from "../../examples/demos/xml-tree.js";

const ENTITIES = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" };

const unescape = (text) =>
  text.replace(/&(?:#(\d+)|(\w+));/g, (_, code, name) => (code ? String.fromCodePoint(Number(code)) : ENTITIES[name]));

/** The stanza as a tree, or the stream's own element when there is no stanza; like stanzaReader()'s result. */
export function readXml(header, stanza = "") {
  const end = /^<([^\s/>]+)/.exec(header)[1];
  const stack = [{ children: [], prefixes: { "": "" } }];
  for (const [, tag, text] of `${header}${stanza}</${end}>`.matchAll(/<([^>]+)>|([^<]+)/g)) {
    const top = stack.at(-1);
    if (text !== undefined) top.children.push(unescape(text));
    else if (tag[0] === "/") stack.pop();
    else {
      const [, qualified, rest] = /^([^\s/]+)(.*?)\/?$/s.exec(tag);
      const attrs = Object.fromEntries([...rest.matchAll(/([\w:.-]+)\s*=\s*(?:'([^']*)'|"([^"]*)")/g)].map(([, name, a, b]) => [name, unescape(a ?? b)]));
      const prefixes = { ...top.prefixes };
      for (const [name, value] of Object.entries(attrs)) {
        const declared = /^xmlns(?::(.+))?$/.exec(name);
        if (declared === null) continue;
        prefixes[declared[1] ?? ""] = value;
        delete attrs[name];
      }
      const [name, prefix = ""] = qualified.split(":").reverse();
      const tree = { ...el(name, attrs), ns: prefixes[prefix], prefixes };
      tree.children = [];
      top.children.push(tree);
      if (!tag.endsWith("/")) stack.push(tree);
    }
  }
  const root = stack[0].children[0];
  return stanza === "" ? root : root.children.find((child) => typeof child !== "string");
}
