/** Loads older messages of a room, block by block. */

/** Messages in a block. */
export const BLOCK_MESSAGES = 500;
/** A block ends, whole or not, when no message of it has arrived for so long. */
const SILENCE_MS = 5000;

/**
 * Load the block before the room's oldest message into its conversation.
 *
 * `subscriptions` are those of the connection; `read(frame)` returns a frame's message. A prefetch-count without ACKs
 * makes the broker stop after the block by itself. Return a promise of whether there were older messages; while a
 * block is being loaded, every call returns the promise of that block.
 */
export function loadOlder(room, subscriptions, read, { count = BLOCK_MESSAGES, timers = globalThis } = {}) {
  if (!room.stream.hasOlder) return Promise.resolve(false);
  if (room.loading !== null) return room.loading;
  const { end, from, headers } = room.stream.olderBlock(count);
  const id = `earlier ${room.destination}`;
  const messages = [];
  let isDamaged = false;
  room.loading = new Promise((resolve) => {
    let timer = null;
    const finish = (isComplete) => {
      timers.clearTimeout(timer);
      room.loading = null;
      room.cancelLoading = null;
      if (isComplete) {
        subscriptions.unsubscribe(id);
        // Where the server cannot read its file there is a hole, not the beginning of the stream.
        room.stream.addedOlder(from, isDamaged ? from : (messages[0]?.offset ?? null));
        room.conversation.addOlder(messages);
      }
      resolve(isComplete && messages.length > 0);
    };
    room.cancelLoading = () => finish(false);
    const restartTimer = () => {
      timers.clearTimeout(timer);
      timer = timers.setTimeout(() => finish(true), SILENCE_MS);
    };
    restartTimer();
    subscriptions.subscribe(room.destination, { id, ...headers }, (frame) => {
      const message = read(frame);
      if (messages.length === 0 && frame.headers["x-stream-unreadable"]) isDamaged = true;
      if (message.offset < end) messages.push({ ...message, live: false });
      if (message.offset >= end - 1) finish(true);
      else restartTimer();
    });
  });
  return room.loading;
}
