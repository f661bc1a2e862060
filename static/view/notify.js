/** Desktop notifications: asked for with a button, never by the page of its own accord. */

import { STRINGS } from "../strings.js";
import { $, announce } from "./dom.js";

const MAX_BODY_CHARS = 200;

export class Notifications {
  #memory;
  #button = $("notify");

  constructor(memory) {
    this.#memory = memory;
    this.onclick = () => {}; // (hash) a notification was pressed
    if (!("Notification" in globalThis)) return;
    this.#button.hidden = false;
    this.#button.addEventListener("click", () => this.#toggle());
    this.#show();
  }

  get isOn() {
    return "Notification" in globalThis && Notification.permission === "granted" && this.#memory.recall("notify") === "on";
  }

  /** Shows one, if the reader wants them and looks at something else. */
  tell(title, text, hash) {
    if (!this.isOn || document.hasFocus()) return;
    try {
      const note = new Notification(title, { body: text.slice(0, MAX_BODY_CHARS), tag: `rtchat ${hash}`, icon: "/static/favicon.svg" });
      note.onclick = () => {
        window.focus();
        this.onclick(hash);
        note.close();
      };
    } catch {
      // Browsers on phones have the name and not the thing.
    }
  }

  async #toggle() {
    if (this.isOn) this.#memory.remember("notify", "off");
    else if ((await Notification.requestPermission()) === "granted") this.#memory.remember("notify", "on");
    else announce(STRINGS.notifyBlocked);
    this.#show();
  }

  #show() {
    const isBlocked = Notification.permission === "denied";
    this.#button.textContent = this.isOn ? STRINGS.notifyOn : isBlocked ? STRINGS.notifyOff : STRINGS.notifyAsk;
    this.#button.title = isBlocked ? STRINGS.notifyBlocked : "";
    this.#button.setAttribute("aria-pressed", String(this.isOn));
  }
}
