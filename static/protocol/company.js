/** Who is in the room that is looked at, and who types there: two subscriptions that follow the reader. No DOM in here. */

import { typingDestination } from "./typing.js";

export class Company {
  #wire;
  #now;

  constructor(wire, now) {
    this.#wire = wire;
    this.#now = now;
    this.room = null;
    this.onpeople = () => {}; // (change)
    this.ontyping = () => {};
    this.onfailed = () => {}; // the server does not tell who is there
  }

  /** Turns to a room, or with null to none. `hasPeople`: the server tells who is there. */
  follow(room, hasPeople) {
    if (room === this.room) return;
    if (this.room !== null) {
      this.#wire.unsubscribe("people");
      this.#wire.unsubscribe("typing");
      this.room.people.clear();
      this.room.typing.clear();
    }
    this.room = room;
    if (room !== null && this.#wire.isOpen) this.#subscribe(room, hasPeople);
    this.onpeople(null);
    this.ontyping();
  }

  /** Subscribes what a new connection knows nothing of. */
  resume(hasPeople) {
    if (this.room !== null) this.#subscribe(this.room, hasPeople);
  }

  #subscribe(room, hasPeople) {
    this.#wire.subscribe(typingDestination(room.destination), { id: "typing" }, (frame) => {
      if (typeof frame.body !== "string") return;
      room.typing.hear(frame.body, this.#now());
      this.ontyping();
    });
    if (!hasPeople) return;
    const onpeople = (frame) => {
      const change = room.people.take(frame);
      if (change === null) return;
      if (change.event === "leave") room.typing.stop(change.person.nick);
      this.onpeople(change);
    };
    this.#wire.subscribe(`/presence${room.destination}`, { id: "people" }, onpeople, { failed: () => this.onfailed() });
  }
}
