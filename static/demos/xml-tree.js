/**
 * XML as plain objects, {name, ns, attrs, children}, where a child is such an object or a string. Elements of a DOM
 * become them; they become text to send. The parser itself is handed in, so this runs without a browser.
 */

import { XmlError } from "./xml-splitter.js";

/** An element to send or compare. A null or undefined attribute or child is left out. */
export function el(name, attrs = {}, ...children) {
  const { xmlns: ns = "", ...rest } = attrs;
  const given = Object.entries(rest).filter(([, value]) => value !== null && value !== undefined);
  return {
    name,
    ns,
    attrs: Object.fromEntries(given.map(([key, value]) => [key, String(value)])),
    children: children.flat().filter((child) => child !== null && child !== undefined),
  };
}

/** The first child element of that name (and namespace, if one is given), or undefined. */
export function child(tree, name, ns = null) {
  return children(tree, name, ns)[0];
}

/** The child elements of that name (any, if null) and namespace (any, if null). */
export function children(tree, name = null, ns = null) {
  return (tree?.children ?? []).filter(
    (one) => typeof one !== "string" && (name === null || one.name === name) && (ns === null || one.ns === ns),
  );
}

/** The text right inside an element, "" if there is no such element. */
export function textOf(tree) {
  return (tree?.children ?? []).filter((one) => typeof one === "string").join("");
}

/** Text as it may stand in XML; what XML has no characters for (controls, halves of pairs) becomes U+FFFD. */
export function escapeXml(text) {
  return text
    .replace(/[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd")
    .replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** The text of an element; `ns` is the namespace that holds where it is put. */
export function write(tree, ns = "jabber:client") {
  const own = tree.ns || ns;
  const attrs = Object.entries(tree.attrs).map(([name, value]) => ` ${name}="${escapeXml(value)}"`);
  if (own !== ns) attrs.unshift(` xmlns="${escapeXml(own)}"`);
  const inside = tree.children.map((one) => (typeof one === "string" ? escapeXml(one) : write(one, own))).join("");
  return inside === "" ? `<${tree.name}${attrs.join("")}/>` : `<${tree.name}${attrs.join("")}>${inside}</${tree.name}>`;
}

/** A DOM element as a plain object. */
export function fromElement(element) {
  const inside = [];
  for (const node of element.childNodes) {
    if (node.nodeType === 1) inside.push(fromElement(node));
    else if (node.nodeType === 3 || node.nodeType === 4) inside.push(node.nodeValue);
  }
  const attrs = Object.create(null);
  for (const { name, value } of element.attributes) if (!/^xmlns(:|$)/.test(name)) attrs[name] = value;
  return { name: element.localName, ns: element.namespaceURI ?? "", attrs, children: inside };
}

/**
 * Makes what reads the pieces of an XmlSplitter: a function of the stream's start tag and a stanza ("" for none) that
 * gives the stanza, or the stream's own element, as a plain object. `parser` is a DOMParser. Throws an XmlError.
 */
export function stanzaReader(parser) {
  return (header, stanza = "") => {
    const [, name] = /^<([^\s/>]+)/.exec(header) ?? [null, "stream:stream"];
    const document = parser.parseFromString(`${header}${stanza}</${name}>`, "application/xml");
    if (document.getElementsByTagName("parsererror").length > 0) throw new XmlError("what the server sent is no well-formed XML");
    const root = document.documentElement;
    return fromElement(stanza === "" ? root : root.firstElementChild);
  };
}
