/**
 * XML as plain objects, {name, ns, attrs, children}, where a child is such an object or a string: made from DOM
 * elements, and written as text. The parser is passed in, so this module runs without a browser.
 */

import { XmlError } from "./xml-splitter.js";

/** Return an element. Attributes and children that are null or undefined are left out. */
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

/** Return the first child element with this name (and namespace, if one is given), or undefined. */
export function child(tree, name, ns = null) {
  return children(tree, name, ns)[0];
}

/** Return the child elements with this name (null: any) and namespace (null: any). */
export function children(tree, name = null, ns = null) {
  return (tree?.children ?? []).filter(
    (one) => typeof one !== "string" && (name === null || one.name === name) && (ns === null || one.ns === ns),
  );
}

/** Return the text directly inside an element; "" if the element is undefined. */
export function textOf(tree) {
  return (tree?.children ?? []).filter((one) => typeof one === "string").join("");
}

/** Return a text escaped for XML. Characters that XML cannot contain (controls, lone surrogates) become U+FFFD. */
export function escapeXml(text) {
  return text
    .replace(/[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd")
    .replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** Return an element as text; `ns` is the default namespace of its surroundings. */
export function write(tree, ns = "jabber:client") {
  const own = tree.ns || ns;
  const attrs = Object.entries(tree.attrs).map(([name, value]) => ` ${name}="${escapeXml(value)}"`);
  if (own !== ns) attrs.unshift(` xmlns="${escapeXml(own)}"`);
  const inside = tree.children.map((one) => (typeof one === "string" ? escapeXml(one) : write(one, own))).join("");
  return inside === "" ? `<${tree.name}${attrs.join("")}/>` : `<${tree.name}${attrs.join("")}>${inside}</${tree.name}>`;
}

/** Return a DOM element as a plain object. */
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
 * Return a function that parses the pieces of an XmlSplitter: it takes the stream's start tag and a stanza ("" for
 * none) and returns the stanza, or the stream's own element, as a plain object. It throws an XmlError. `parser` is a
 * DOMParser.
 */
export function stanzaReader(parser) {
  return (header, stanza = "") => {
    const [, name] = /^<([^\s/>]+)/.exec(header) ?? [null, "stream:stream"];
    const document = parser.parseFromString(`${header}${stanza}</${name}>`, "application/xml");
    if (document.getElementsByTagName("parsererror").length > 0) throw new XmlError("the server sent XML that is not well-formed");
    const root = document.documentElement;
    return fromElement(stanza === "" ? root : root.firstElementChild);
  };
}
