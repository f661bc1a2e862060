/* What one connection still has to write. */
#define _GNU_SOURCE
#include "blast.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Make room for that many bytes behind what waits. */
static void make_room(Connection *c, size_t length)
{
    if (c->out_start) {
        memmove(c->out, c->out + c->out_start, c->out_bytes);
        c->out_start = 0;
    }
    if (c->out_bytes + length > c->out_room) {
        c->out_room = 2 * (c->out_bytes + length);
        if (!(c->out = realloc(c->out, c->out_room)))
            die("memory");
    }
}

void append(Connection *c, const char *data, size_t length)
{
    if (c->out_start + c->out_bytes + length > c->out_room)
        make_room(c, length);
    memcpy(c->out + c->out_start + c->out_bytes, data, length);
    c->out_bytes += length;
}

bool write_out(Connection *c)
{
    if (!c->out_bytes)
        return false;
    ssize_t sent = write(c->fd, c->out + c->out_start, c->out_bytes);
    if (sent < 0 && errno != EAGAIN)
        die("write");
    if (sent <= 0)
        return false;
    c->out_bytes -= (size_t)sent;
    c->out_start = c->out_bytes ? c->out_start + (size_t)sent : 0;
    return true;
}
