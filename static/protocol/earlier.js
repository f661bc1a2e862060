/** Reads older messages of a room, block by block. No DOM in here. */

/** So many at once. */
export const BLOCK = 500;
const SILENCE_MS = 5000;

/**
 * Reads the block before what is there into the room's conversation; gives a promise of whether there was any.
 * `wire` is a Wire, `read(frame)` makes a message of a frame. The broker is asked for so many messages that it stops by
 * itself (a prefetch-count without ACKs), so nothing comes twice in vain.
 */
export function loadEarlier(room, wire, read, { count = BLOCK, timers = globalThis } = {}) {
  if (!room.stream.hasEarlier) return Promise.resolve(false);
  if (room.loading !== null) return room.loading;
  const { end, from, headers } = room.stream.earlier(count);
  const id = `earlier ${room.destination}`;
  const messages = [];
  room.loading = new Promise((resolve) => {
    let timer = null;
    const finish = (isWhole) => {
      timers.clearTimeout(timer);
      room.loading = null;
      room.giveUpEarlier = null;
      if (isWhole) {
        wire.unsubscribe(id);
        room.stream.tookEarlier(from, messages[0]?.offset ?? null);
        room.conversation.addEarlier(messages);
      }
      resolve(isWhole && messages.length > 0);
    };
    room.giveUpEarlier = () => finish(false);
    const wait = () => {
      timers.clearTimeout(timer);
      timer = timers.setTimeout(() => finish(true), SILENCE_MS);
    };
    wait();
    wire.subscribe(room.destination, { id, ...headers }, (frame) => {
      const message = read(frame);
      if (message.offset < end) messages.push({ ...message, live: false });
      if (message.offset >= end - 1) finish(true);
      else wait();
    });
  });
  return room.loading;
}
