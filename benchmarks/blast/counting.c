/* What arrives: copies of messages, how old they are, and their acknowledgement. */
#define _GNU_SOURCE
#include "blast.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_LATENCIES = 5000000,
    FLAT_OUT_SAMPLING = 64, /* flat out, one copy in this many is timed */
};

long copies_in;
static uint32_t *latencies_us;
static long latency_count;
static bool is_sorted;

void start_counting(void)
{
    if (!(latencies_us = malloc(sizeof *latencies_us * MAX_LATENCIES)))
        die("memory");
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A '|' counts when it ends a stamp; a length byte of a WebSocket header may look like one. */
static bool ends_stamp(const char *bar, const char *start)
{
    return bar - start >= STAMP_DIGITS && is_digit(bar[-1]) && is_digit(bar[-10]) &&
           is_digit(bar[-STAMP_DIGITS]);
}

static void count_copy(Connection *c, const char *bar, uint64_t now)
{
    c->copies++;
    copies_in++;
    if (latency_count < MAX_LATENCIES && (want.rate > 0 || copies_in % FLAT_OUT_SAMPLING == 0)) {
        char digits[STAMP_DIGITS + 1];
        memcpy(digits, bar - STAMP_DIGITS, STAMP_DIGITS);
        digits[STAMP_DIGITS] = 0;
        latencies_us[latency_count++] = (uint32_t)((now - strtoull(digits, 0, 10)) / 1000);
    }
}

void count_copies(Connection *c, char *data, size_t length)
{
    /* data has TAIL_BYTES of room before it: put what was kept there. */
    char *start = data - c->tail_bytes;
    char *end = data + length;
    uint64_t now = now_ns();

    memcpy(start, c->tail, c->tail_bytes);
    for (char *bar = data; (bar = memchr(bar, '|', (size_t)(end - bar))); bar++)
        if (ends_stamp(bar, start))
            count_copy(c, bar, now);
    c->tail_bytes = end - start < TAIL_BYTES ? (size_t)(end - start) : TAIL_BYTES;
    memmove(c->tail, end - c->tail_bytes, c->tail_bytes);
}

/* One STOMP frame of a queue's consumer, without its NUL: count it and acknowledge it. */
static void take_delivery(Connection *c, const char *frame, size_t length, uint64_t now)
{
    static const char ack_header[] = "\nack:";
    char ack[MAX_HEAD_BYTES];

    while (length && (*frame == '\n' || *frame == '\r')) {
        frame++;
        length--;
    }
    if (length >= 7 && !memcmp(frame, "RECEIPT", 7)) {
        c->has_receipt = true;
        return;
    }
    if (length < 7 || memcmp(frame, "MESSAGE", 7))
        fail("a consumer expected MESSAGE and received: %.*s", (int)length, frame);
    const char *id = memmem(frame, length, ack_header, strlen(ack_header));
    const char *bar = memchr(frame, '|', length);
    while (bar && !ends_stamp(bar, frame))
        bar = memchr(bar + 1, '|', (size_t)(frame + length - bar - 1));
    if (!id || !bar)
        fail("a MESSAGE without ack or without its stamp: %.*s", (int)length, frame);
    id += strlen(ack_header);
    const char *id_end = memchr(id, '\n', (size_t)(frame + length - id));
    if (!id_end || id_end - id > 512)
        fail("a MESSAGE whose ack header does not end: %.*s", (int)length, frame);
    count_copy(c, bar, now);
    int n = snprintf(ack, sizeof ack, "ACK\nid:%.*s\n\n", (int)(id_end - id), id);
    append(c, ack, (size_t)n + 1);
}

void take_deliveries(Connection *c, const char *data, size_t length)
{
    uint64_t now = now_ns();

    if (c->in_bytes + length > c->in_room) {
        c->in_room = 2 * (c->in_bytes + length);
        if (!(c->in = realloc(c->in, c->in_room)))
            die("memory");
    }
    memcpy(c->in + c->in_bytes, data, length);
    c->in_bytes += length;
    /* Neither the heads nor the bodies of this benchmark hold a NUL: it ends the frame. */
    const char *frame = c->in, *end = c->in + c->in_bytes, *nul;
    while ((nul = memchr(frame, 0, (size_t)(end - frame)))) {
        take_delivery(c, frame, (size_t)(nul - frame), now);
        frame = nul + 1;
    }
    c->in_bytes = (size_t)(end - frame);
    memmove(c->in, frame, c->in_bytes);
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

double percentile_ms(double percent)
{
    if (!latency_count)
        return 0;
    if (!is_sorted)
        qsort(latencies_us, (size_t)latency_count, sizeof *latencies_us, by_value);
    is_sorted = true;
    return latencies_us[(long)((double)(latency_count - 1) * percent / 100)] / 1e3;
}
