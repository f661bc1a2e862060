"""The stops of the Tab key on a page, and what is seen of each."""

from __future__ import annotations

from dataclasses import dataclass

from playwright.sync_api import Page

__all__ = ["TabStop", "tab_stops"]

# The walk goes from a first button to a last one, which exist only meanwhile: past the page's own
# last element the focus would be in the browser's menus. An open dialog holds the focus.
_START = """() => {
  const top = document.querySelector("dialog[open]") ?? document.body;
  for (const [id, add] of [["walk-start", "prepend"], ["walk-end", "append"]]) {
    const button = document.createElement("button");
    button.id = id;
    button.style.position = "fixed";
    top[add](button);
  }
  document.getElementById("walk-start").focus();
}"""

_END = """() => {
  for (const id of ["walk-start", "walk-end"]) document.getElementById(id)?.remove();
  for (const at of document.querySelectorAll("[data-tab-stop]")) delete at.dataset.tabStop;
}"""

_LOOK = """() => {
  const at = document.activeElement;
  if (at === null || at === document.body || at.id.startsWith("walk-")) return null;
  at.dataset.tabStop ??= String(document.querySelectorAll("[data-tab-stop]").length);
  const box = at.getBoundingClientRect();
  const style = getComputedStyle(at);
  let opacity = 1;
  for (let up = at; up !== null; up = up.parentElement) {
    opacity *= Number(getComputedStyle(up).opacity);
  }
  const width = parseFloat(style.outlineWidth);
  const hasRing = style.outlineStyle !== "none" && width > 0;
  const reach = hasRing ? width + parseFloat(style.outlineOffset) : 0;
  // What of the element, and of the ring, is inside the window and inside each list that scrolls.
  const clip = { left: 0, top: 0, right: innerWidth, bottom: innerHeight };
  for (let up = at.parentElement; up !== null; up = up.parentElement) {
    if (!/auto|scroll|hidden|clip/.test(getComputedStyle(up).overflow)) continue;
    const outer = up.getBoundingClientRect();
    clip.left = Math.max(clip.left, outer.left);
    clip.top = Math.max(clip.top, outer.top);
    clip.right = Math.min(clip.right, outer.right);
    clip.bottom = Math.min(clip.bottom, outer.bottom);
  }
  const sides = [box.left - reach >= clip.left, box.top - reach >= clip.top,
                 box.right + reach <= clip.right, box.bottom + reach <= clip.bottom];
  const seen = document.elementFromPoint(
    (Math.max(box.left, clip.left) + Math.min(box.right, clip.right)) / 2,
    (Math.max(box.top, clip.top) + Math.min(box.bottom, clip.bottom)) / 2);
  const place = at.id || `${at.closest("[id]")?.id} ${at.localName}`;
  return {
    key: at.dataset.tabStop,
    name: place,
    words: (at.getAttribute("aria-label") || at.textContent || "").trim().slice(0, 60),
    width: Math.min(box.right, clip.right) - Math.max(box.left, clip.left),
    height: Math.min(box.bottom, clip.bottom) - Math.max(box.top, clip.top),
    opacity,
    isOnTop: seen !== null && (at.contains(seen) || seen.contains(at)),
    ring: style.outlineStyle === "none" ? 0 : width,
    sides: sides.filter(Boolean).length,
  };
}"""


@dataclass(frozen=True)
class TabStop:
    """Where the focus was after a press of Tab.

    Attributes:
        key: The same for the same element.
        name: The element's id, or its tag in the nearest element with one.
        words: Its label or text.
        width: Its visible part, in pixels.
        height: Its visible part, in pixels.
        opacity: 0 if it is not to be seen, 1 if nothing shines through.
        isOnTop: Nothing covers it.
        ring: The width of the ring around it, in pixels.
        sides: How many of the ring's four sides are inside everything that clips them.
    """

    key: str
    name: str
    words: str
    width: float
    height: float
    opacity: float
    isOnTop: bool  # noqa: N815 - as the script names it
    ring: float
    sides: int

    def faults(self) -> list[str]:
        """Return why a person who looks at the page cannot tell where the focus is."""
        found = {
            f"{self.width:.0f} x {self.height:.0f} pixels": min(self.width, self.height) < 12,
            f"opacity {self.opacity}": self.opacity < 0.9,
            "covered": not self.isOnTop,
            "no ring": self.ring < 2,
            f"{self.sides} sides of the ring": self.sides < 3,
        }
        return [f"{self.name} '{self.words}': {fault}" for fault, is_so in found.items() if is_so]


def tab_stops(page: Page, most: int = 120) -> list[TabStop]:
    """Walk through the page with the Tab key, once, from its top; return where the focus was."""
    page.evaluate(_START)
    stops: list[TabStop] = []
    for _ in range(most):
        page.keyboard.press("Tab")
        seen = page.evaluate(_LOOK)
        if seen is None:
            break
        assert all(stop.key != seen["key"] for stop in stops), f"a loop at {seen['name']}"
        stops.append(TabStop(**seen))
    page.evaluate(_END)
    return stops
