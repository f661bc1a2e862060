/** Desktop notifications. The page asks for permission only when its button is pressed. */

import { STRINGS } from "../strings.js";
import { $ } from "./dom.js";
import { toast } from "./toast.js";

const MAX_BODY_CHARS = 200;

export class Notifications {
  #store;
  #button = $("notify");

  constructor(store) {
    this.#store = store;
    this.onclick = () => {}; // (hash) a notification was clicked; `hash` is the address of its conversation
    if (!("Notification" in globalThis)) return;
    this.#button.hidden = false;
    this.#button.addEventListener("click", () => this.#toggle());
    this.#show();
  }

  get isOn() {
    return "Notification" in globalThis && Notification.permission === "granted" && this.#store.get("notify") === "on";
  }

  /** Show a notification, if the reader wants them and is looking at something else. */
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
      // Browsers on phones have the class but do not let pages use it.
    }
  }

  async #toggle() {
    if (this.isOn) this.#store.set("notify", "off");
    else if (!isSecureContext) toast(STRINGS.notifyInsecure);
    else if ((await Notification.requestPermission()) === "granted") this.#store.set("notify", "on");
    else toast(STRINGS.notifyBlocked);
    this.#show();
  }

  #show() {
    // Without https a browser denies them to every page, whatever its settings are.
    const isBlocked = Notification.permission === "denied" || !isSecureContext;
    this.#button.textContent = this.isOn ? STRINGS.notifyOn : isBlocked ? STRINGS.notifyOff : STRINGS.notifyAsk;
    this.#button.title = !isBlocked ? "" : isSecureContext ? STRINGS.notifyBlocked : STRINGS.notifyInsecure;
    this.#button.setAttribute("aria-pressed", String(this.isOn));
  }
}
