/** A room that the page has joined: its conversation, its position in the stream, its people. */

import { Conversation } from "../model/conversation.js";
import { readBody, stampedAt } from "./messages.js";
import { People } from "./presence.js";
import { Stream } from "./stream.js";
import { Typing, typingDestination } from "./typing.js";

export class Room {
  constructor(address) {
    this.conversation = new Conversation(address);
    this.destination = address.destination;
    this.stream = new Stream();
    this.people = new People();
    this.typing = new Typing();
    /** Subscribed, and every message that was missed has arrived. */
    this.isIn = false;
    /** The RECEIPT of the subscription has arrived. */
    this.isConfirmed = false;
    /** Was in at least once: messages that arrive from then on are news, however late they come. */
    this.wasIn = false;
    /** The reader may not read it: nothing is subscribed. */
    this.isBarred = false;
    /** The reader may not write here, as far as the server has said. */
    this.isReadOnly = false;
    /** The id of the subscription, or null. */
    this.subscription = null;
    this.timer = null;
    /** The promise of a block of older messages that is being loaded, or null. */
    this.loading = null;
    /** Ends that loading without a result; null when nothing is being loaded. */
    this.cancelLoading = null;
  }

  /** Return whether a destination is this room, the list of its people, or its typing notices. */
  isAbout(destination) {
    const own = [this.destination, `/presence${this.destination}`, typingDestination(this.destination)];
    return own.includes(destination);
  }

  /**
   * Return the message in a MESSAGE frame of this room. `isOwn(senderId, id)` returns whether the reader sent it.
   * `at` is null if the time is unknown.
   */
  read(frame, isOwn, now) {
    const body = readBody(frame);
    const offset = frame.headers["x-stream-offset"];
    const senderId = frame.headers["x-sender-id"] ?? null;
    return {
      ...body,
      at: stampedAt(frame.headers) ?? (this.isIn ? now : null),
      epoch: frame.headers["x-stream-epoch"] ?? null,
      offset: offset === undefined ? null : Number(offset),
      senderId,
      isOwn: isOwn(senderId, body.id),
      live: this.wasIn,
    };
  }
}
