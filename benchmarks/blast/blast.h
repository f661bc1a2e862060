/* What the parts of blast share: what was asked for, a connection, and who does what. */
#ifndef BLAST_H
#define BLAST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    STAMP_DIGITS = 19,
    TAIL_BYTES = 24,                 /* kept from the last read: a stamp may lie across two */
    MIN_BODY_BYTES = 20,             /* the stamp and its bar */
    MAX_BODY_BYTES = 1 << 20,
    MAX_HEAD_BYTES = 1024,           /* of a frame that carries a message */
    MAX_WIRE_BYTES = MAX_HEAD_BYTES + MAX_BODY_BYTES + 64,
    OUT_BYTES = 65536,               /* a publisher prepares about this much ahead */
    READ_BYTES = 1 << 18,
    MAX_PIDS = 64,
};

typedef enum { TCP, WS, NATS, MQTT } Wire;   /* TCP and WS carry STOMP */

typedef struct {
    int fd;
    bool subscriber;
    long copies;                     /* subscriber: messages received */
    char tail[TAIL_BYTES];
    size_t tail_bytes;
    char *out;                       /* prepared and not yet written */
    size_t out_start, out_bytes, out_room;
    long queued;                     /* publisher: messages prepared */
    char *in;                        /* consumer of a queue, or idle: an unfinished frame */
    size_t in_bytes, in_room;
    bool has_receipt;
    uint64_t next_beat_ns;
} Connection;

typedef struct {
    Wire wire;
    const char *host;
    int port;
    long subscribers, publishers, messages, body_bytes, window;
    long topics, subscriptions;      /* topics in all; subscriptions of each subscriber */
    long prefetch;                   /* above 0: a queue, each message acknowledged */
    long heartbeat_ms, sources;
    double rate, hold_s;
    int pids[MAX_PIDS], pid_count;
    const char *path, *destination, *login, *passcode, *vhost;
} Wanted;

extern Wanted want;

/* blast.c */
void die(const char *what);
void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* meters.c */
uint64_t now_ns(void);
double seconds_since(uint64_t start_ns);
double server_cpu_s(void);           /* user and system, all processes of the server */
long server_rss_kb(void);
double own_cpu_s(void);

/* wire.c */
int open_connection(long number, bool subscriber);
size_t publish_frame(char *out, long topic);
size_t on_the_wire(char *out, const char *frame, size_t length);
size_t websocket_message(char *out, int opcode, const char *data, size_t length);

/* counting.c */
extern long copies_in;
void start_counting(void);
void count_copies(Connection *c, char *data, size_t length);   /* TAIL_BYTES of room before */
void take_deliveries(Connection *c, const char *data, size_t length);
double percentile_ms(double percent);

/* idle.c */
void keep_alive(Connection *c);      /* send heart-beats from now on, if they were asked for */
void serve_idle(int epoll, Connection *all, double seconds);

/* out.c */
void append(Connection *c, const char *data, size_t length);
bool write_out(Connection *c);       /* whether anything went out */
#endif
