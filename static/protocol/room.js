/** A room that was joined: its conversation, where its stream was read up to, and who is there. */

import { Conversation } from "../model/conversation.js";
import { readBody, sentAt } from "./messages.js";
import { People } from "./people.js";
import { Stream } from "./stream.js";
import { Typing } from "./typing.js";

export class Room {
  constructor(address) {
    this.conversation = new Conversation(address);
    this.destination = address.destination;
    this.stream = new Stream();
    this.people = new People();
    this.typing = new Typing();
    /** Subscribed, and everything that was missed has come. */
    this.isIn = false;
    /** The RECEIPT of the subscription is there. */
    this.isConfirmed = false;
    /** Was in at least once: what comes later is news, also if it comes late. */
    this.wasIn = false;
    this.subscription = null;
    this.timer = null;
    /** The promise of a block of older messages that is on its way. */
    this.loading = null;
    this.giveUpEarlier = null;
  }

  /** What a MESSAGE frame of this room says. `at` is null if nobody knows when it was sent. */
  read(frame, outbox, now) {
    const body = readBody(frame);
    const offset = frame.headers["x-stream-offset"];
    return {
      ...body,
      at: sentAt(frame.headers, now) ?? (this.isIn ? now : null),
      offset: offset === undefined ? null : Number(offset),
      isOwn: body.id !== null && outbox.isOwn(body.id),
      live: this.wasIn,
    };
  }
}
