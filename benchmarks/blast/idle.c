/* Connections that carry no message: read what comes, answer pings, send heart-beats. */
#define _GNU_SOURCE
#include "blast.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { MAX_IDLE_BYTES = 512, PING = 9, PONG = 10, TEXT = 1, CLOSE = 8 };

static void beat(Connection *c)
{
    char wire[16];
    append(c, wire, on_the_wire(wire, "\n", 1));
    write_out(c);
}

/* The server's WebSocket frames, which are small while nothing happens. */
static void take_frames(Connection *c)
{
    size_t at = 0;

    while (c->in_bytes - at >= 2) {
        const unsigned char *frame = (unsigned char *)c->in + at;
        size_t length = frame[1] & 127;
        if (length > 125)
            fail("an idle connection received: %.*s", (int)(c->in_bytes - at), c->in + at);
        if (c->in_bytes - at < 2 + length)
            break;
        if ((frame[0] & 15) == PING) {
            char pong[160];
            append(c, pong, websocket_message(pong, PONG, (const char *)frame + 2, length));
            write_out(c);
        } else if ((frame[0] & 15) == CLOSE) {
            fail("the server closed an idle connection: %.*s", (int)length, frame + 2);
        }
        at += 2 + length;
    }
    c->in_bytes -= at;
    memmove(c->in, c->in + at, c->in_bytes);
}

static void take(Connection *c)
{
    char data[MAX_IDLE_BYTES];
    ssize_t got = read(c->fd, data, sizeof data);

    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0)
        fail("the server closed an idle connection");
    if (want.wire != WS)
        return;
    if (c->in_bytes + (size_t)got > c->in_room) {
        c->in_room = c->in_bytes + (size_t)got;
        if (!(c->in = realloc(c->in, c->in_room)))
            die("memory");
    }
    memcpy(c->in + c->in_bytes, data, (size_t)got);
    c->in_bytes += (size_t)got;
    take_frames(c);
}

/* Whose heart-beat is due next: first in, first out, as all have the same interval. */
static Connection **due;
static long due_first, due_count, due_room;

void keep_alive(Connection *c)
{
    if (!want.heartbeat_ms)
        return;
    if (!due) {
        due_room = want.subscribers + want.publishers;
        if (!(due = calloc((size_t)due_room, sizeof *due)))
            die("memory");
    }
    c->next_beat_ns = now_ns() + (uint64_t)want.heartbeat_ms * 1000000u;
    due[(due_first + due_count++) % due_room] = c;
}

static void beat_all_due(void)
{
    uint64_t now = now_ns();

    while (due_count && due[due_first]->next_beat_ns <= now) {
        Connection *c = due[due_first];
        due_first = (due_first + 1) % due_room;
        due_count--;
        beat(c);
        keep_alive(c);
    }
}

void serve_idle(int epoll, Connection *all, double seconds)
{
    uint64_t start = now_ns();

    do {
        struct epoll_event events[256];
        int ready = epoll_wait(epoll, events, 256, seconds > 0 ? 1 : 0);
        for (int i = 0; i < ready; i++)
            take(&all[events[i].data.u32]);
        beat_all_due();
    } while (seconds_since(start) < seconds);
}
