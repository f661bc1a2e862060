/** The people and typists of the room on display: two subscriptions that follow the reader from room to room. */

import { typingDestination } from "./typing.js";

export class RoomWatcher {
  #subscriptions;
  #now;

  constructor(subscriptions, now) {
    this.#subscriptions = subscriptions;
    this.#now = now;
    this.room = null;
    this.onpeople = () => {}; // (change) what People.take() returned; null after a change of room
    this.ontyping = () => {};
    this.onfailed = () => {}; // the server refuses presence
  }

  /** Watch this room, or none if it is null. `hasPeople`: the server offers presence. */
  follow(room, hasPeople) {
    if (room === this.room) return;
    if (this.room !== null) {
      this.#subscriptions.unsubscribe("people");
      this.#subscriptions.unsubscribe("typing");
      this.room.people.clear();
      this.room.typing.clear();
    }
    this.room = room;
    if (room !== null && this.#subscriptions.isOpen) this.#subscribe(room, hasPeople);
    this.onpeople(null);
    this.ontyping();
  }

  /** Subscribe on a new connection, which has no subscriptions yet. */
  resume(hasPeople) {
    if (this.room !== null) this.#subscribe(this.room, hasPeople);
  }

  #subscribe(room, hasPeople) {
    this.#subscriptions.subscribe(typingDestination(room.destination), { id: "typing" }, (frame) => {
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
    const failed = () => this.onfailed();
    this.#subscriptions.subscribe(`/presence${room.destination}`, { id: "people" }, onpeople, { failed });
  }
}
