/* gateway: the load generator and the target of the benchmark of WebSocket-to-TCP gateways.
 *
 * Opens WebSockets to a gateway on this machine, which passes their bytes on to a TCP target:
 * the same program in its mode `target`. One thread, epoll, no allocation a message: both must
 * cost less than the gateway between them. gateway.py compiles and calls it; by hand:
 *
 *     cc -O3 -o gateway gateway.c
 *     ./gateway target                             # prints its port; ends with its input
 *     ./gateway hold 127.0.0.1 9000 path=/tcp/127.0.0.1:PORT connections=5000 seconds=60
 *     ./gateway open 127.0.0.1 9000 path=/tcp/127.0.0.1:PORT seconds=3
 *
 * hold      every connection sends a message a second, evenly spread, and waits for the echo
 * open      connect, upgrade, one message and its echo, close; again and again
 * messages  every connection keeps `window` messages under way
 * up, down  64 KiB messages to the target, or bytes from it, as fast as they go
 *
 * The first byte that the target receives says what it does: 'e' echoes all, 's' swallows and
 * answers one byte for each 64 KiB, 'd' sends without end.
 *
 * Every echo is compared, byte by byte, with what was sent. Before and after the load proper
 * it prints one JSON object and waits for a line on its input, so that whoever called it can
 * read the gateway's meters while nothing moves. Exit code: 0 done (see `lost`), 1 the load
 * could not begin, 2 wrong arguments.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    PERIOD = 251,                 /* of the bytes sent; prime, so that no shift goes unnoticed */
    ACK_BYTES = 65536,            /* the swallowing target answers one byte for as many */
    MAX_BODY_BYTES = 65536,
    MAX_WINDOW = 1024,
    OUT_BYTES = 2 * MAX_BODY_BYTES + 64,
    READ_BYTES = 1 << 18,
    MAX_LATENCIES = 8000000,
    STALL_S = 15,
};

static const char usage[] =
    "usage: gateway target\n"
    "       gateway hold|open|messages|up|down HOST PORT [path=/PATH] [connections=N]\n"
    "               [seconds=S] [body=BYTES] [window=MESSAGES] [parallel=N]\n"
    "parallel is how many connections are being opened at once.\n";

typedef enum { HOLD, OPEN, MESSAGES, UP, DOWN } Mode;
typedef enum { CLOSED, CONNECTING, UPGRADING, FRAMES, LEAVING, BROKEN } State;

typedef struct {
    int fd;
    State state;
    bool wants_out;               /* EPOLLOUT is asked for */
    char head[1024];              /* of the answer to the upgrade, then of a frame */
    size_t head_bytes;
    uint64_t payload_left;        /* of the frame that is being read */
    uint8_t opcode;
    uint64_t sent, received;      /* bytes of messages */
    uint64_t messages_out, messages_in;
    uint64_t started_ns;
    uint64_t *sent_ns;            /* ring of MAX_WINDOW: when each message left */
    char *out;
    size_t out_at, out_bytes;
} Connection;

static struct {
    Mode mode;
    const char *host, *path;
    int port;
    long connections, body_bytes, window, parallel;
    double seconds;
} want = {
    .path = "/",
    .connections = 1,
    .body_bytes = 64,
    .window = 1,
    .parallel = 32,
    .seconds = 3,
};

static char pattern[PERIOD + MAX_BODY_BYTES];
static char data[READ_BYTES];
static struct sockaddr_in gateway;
static int epoll;
static Connection *all;
static long open_count, broken_count, rounds;
static uint64_t echoed, payload_in;
static uint32_t *latencies_us;
static long latency_count;
static bool may_begin = true;     /* open: whether a closed slot connects again */
static char first_problem[256];

static void die(const char *what)
{
    fprintf(stderr, "gateway: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static double seconds_since(uint64_t start_ns)
{
    return (double)(now_ns() - start_ns) / 1e9;
}

static double own_cpu_s(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void watch(int fd, uint32_t events, void *subject, int operation)
{
    struct epoll_event event = {.events = events, .data.ptr = subject};
    if (epoll_ctl(epoll, operation, fd, &event))
        die("epoll_ctl");
}

/* -- the target ------------------------------------------------------------------------- */

typedef struct {
    int fd;
    char kind;                    /* 'e', 's', 'd', or 0 before the first byte */
    uint64_t swallowed;
    char *rest;                   /* what an echo could not send at once */
    size_t rest_at, rest_bytes;
} Guest;

static void end_guest(Guest *g)
{
    close(g->fd);
    free(g->rest);
    free(g);
}

/* Send what is left. Returns false when the guest has gone. */
static bool drain_guest(Guest *g)
{
    for (;;) {
        if (g->kind == 'd' && g->rest_at == g->rest_bytes)
            g->rest_at = 0; /* the same again, without end */
        if (g->rest_at == g->rest_bytes) {
            g->rest_at = g->rest_bytes = 0;
            watch(g->fd, EPOLLIN, g, EPOLL_CTL_MOD);
            return true;
        }
        ssize_t sent = write(g->fd, g->rest + g->rest_at, g->rest_bytes - g->rest_at);
        if (sent < 0)
            return errno == EAGAIN;
        g->rest_at += (size_t)sent;
    }
}

/* Keep the bytes and send them once the socket takes more; nothing is read meanwhile. */
static void keep_for_guest(Guest *g, const char *from, size_t length)
{
    g->rest = realloc(g->rest, READ_BYTES);
    if (!g->rest)
        die("memory");
    memcpy(g->rest, from, length);
    g->rest_at = 0;
    g->rest_bytes = length;
    watch(g->fd, EPOLLOUT | (g->kind == 'd' ? EPOLLRDHUP : 0), g, EPOLL_CTL_MOD);
}

static bool serve_guest(Guest *g, uint32_t events)
{
    if (events & EPOLLRDHUP)
        return false; /* nobody wants more of what has no end */
    if (events & EPOLLOUT)
        return drain_guest(g);
    ssize_t got = read(g->fd, data, READ_BYTES);
    if (got <= 0)
        return got < 0 && errno == EAGAIN;
    if (!g->kind)
        g->kind = data[0];
    if (g->kind == 's') {
        uint64_t before = g->swallowed / ACK_BYTES;
        g->swallowed += (uint64_t)got;
        size_t due = (size_t)(g->swallowed / ACK_BYTES - before);
        return !due || write(g->fd, data, due) == (ssize_t)due;
    }
    if (g->kind == 'd') {
        keep_for_guest(g, pattern, MAX_BODY_BYTES);
        return true;
    }
    ssize_t sent = write(g->fd, data, (size_t)got);
    if (sent < 0 && errno != EAGAIN)
        return false;
    if (sent < got)
        keep_for_guest(g, data + (sent > 0 ? sent : 0), (size_t)(got - (sent > 0 ? sent : 0)));
    return true;
}

static int be_target(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
    struct epoll_event events[512];
    socklen_t length = sizeof address;
    int one = 1, port = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    if (port < 0 || bind(port, (struct sockaddr *)&address, sizeof address) ||
        listen(port, 4096) || getsockname(port, (struct sockaddr *)&address, &length))
        die("target");
    watch(port, EPOLLIN, &port, EPOLL_CTL_ADD);
    watch(0, EPOLLIN, &one, EPOLL_CTL_ADD); /* ends with its input: nobody is left behind */
    printf("{\"port\": %d}\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        int ready = epoll_wait(epoll, events, 512, -1);
        for (int i = 0; i < ready; i++) {
            void *subject = events[i].data.ptr;
            if (subject == &one) {
                if (read(0, data, sizeof data) <= 0)
                    return 0;
            } else if (subject == &port) {
                int fd;
                while ((fd = accept4(port, 0, 0, SOCK_NONBLOCK)) >= 0) {
                    Guest *g = calloc(1, sizeof *g);
                    if (!g)
                        die("memory");
                    g->fd = fd;
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    watch(fd, EPOLLIN, g, EPOLL_CTL_ADD);
                }
            } else if (!serve_guest(subject, events[i].events)) {
                end_guest(subject);
            }
        }
    }
}

/* -- bytes out -------------------------------------------------------------------------- */

/* Append one masked frame, as a browser sends it. There has to be room. */
static void append_frame(Connection *c, uint8_t opcode, const char *body, size_t length)
{
    static uint64_t seed = 88172645463325252u;
    char *out = c->out + c->out_bytes;
    size_t n = 0, i = 0;

    out[n++] = (char)(0x80 | opcode);
    if (length < 126) {
        out[n++] = (char)(0x80 | length);
    } else if (length < 65536) {
        out[n++] = (char)(0x80 | 126);
        out[n++] = (char)(length >> 8);
        out[n++] = (char)length;
    } else {
        out[n++] = (char)(0x80 | 127);
        for (int shift = 56; shift >= 0; shift -= 8)
            out[n++] = (char)((uint64_t)length >> shift);
    }
    seed ^= seed << 13; /* xorshift: the mask need not be secret here, only different */
    seed ^= seed >> 7;
    seed ^= seed << 17;
    uint64_t mask = (seed & 0xffffffffu) | seed << 32;
    memcpy(out + n, &mask, 4);
    n += 4;
    for (; i + 8 <= length; i += 8) {
        uint64_t word;
        memcpy(&word, body + i, 8);
        word ^= mask;
        memcpy(out + n + i, &word, 8);
    }
    for (; i < length; i++)
        out[n + i] = (char)(body[i] ^ ((const char *)&mask)[i & 7]);
    c->out_bytes += n + length;
}

static void append_message(Connection *c, uint64_t at_ns)
{
    append_frame(c, 2, pattern + c->sent % PERIOD, (size_t)want.body_bytes);
    c->sent_ns[c->messages_out++ % MAX_WINDOW] = at_ns;
    c->sent += (uint64_t)want.body_bytes;
}

static void end_connection(Connection *c, const char *problem)
{
    if (c->state == FRAMES)
        open_count--;
    if (problem) {
        broken_count++;
        for (size_t i = 0; !first_problem[0] || i; i++) {
            first_problem[i] = problem[i] == '"' || problem[i] == '\\' ? '?' : problem[i];
            if (!problem[i] || i == sizeof first_problem - 2)
                break;
        }
    }
    close(c->fd);
    c->fd = -1;
    c->state = problem && want.mode != OPEN ? BROKEN : CLOSED;
}

static void flush(Connection *c)
{
    if (c->out_bytes) {
        ssize_t sent = write(c->fd, c->out + c->out_at, c->out_bytes - c->out_at);
        if (sent < 0 && errno != EAGAIN) {
            end_connection(c, strerror(errno));
            return;
        }
        if (sent > 0)
            c->out_at += (size_t)sent;
        if (c->out_at == c->out_bytes)
            c->out_at = c->out_bytes = 0;
    }
    if (c->wants_out != (c->out_bytes != 0)) {
        c->wants_out = !c->wants_out;
        watch(c->fd, EPOLLIN | (c->wants_out ? EPOLLOUT : 0), c, EPOLL_CTL_MOD);
    }
}

/* Send as much as the window allows. */
static void pump(Connection *c)
{
    uint64_t under_way = c->messages_out - c->messages_in;
    size_t frame_bytes = (size_t)want.body_bytes + 14;

    if (!c->out_at && under_way < (uint64_t)want.window) {
        uint64_t now = now_ns();
        for (; under_way < (uint64_t)want.window && c->out_bytes + frame_bytes < OUT_BYTES;
             under_way++)
            append_message(c, now);
    }
    flush(c);
}

/* -- bytes in --------------------------------------------------------------------------- */

static void take_echo(Connection *c, const char *payload, size_t length)
{
    payload_in += length;
    if (want.mode == DOWN || want.mode == UP) {
        c->received += length;
        if (want.mode == UP)
            c->messages_in = c->received * ACK_BYTES / (uint64_t)want.body_bytes;
        return;
    }
    for (size_t at = 0; at < length;) {
        size_t part = length - at < MAX_BODY_BYTES ? length - at : MAX_BODY_BYTES;
        if (memcmp(payload + at, pattern + (c->received + at) % PERIOD, part)) {
            end_connection(c, "an echo is not what was sent");
            return;
        }
        at += part;
    }
    c->received += length;
    if (c->received / (uint64_t)want.body_bytes == c->messages_in)
        return;
    uint64_t now = now_ns();
    for (; c->messages_in < c->received / (uint64_t)want.body_bytes; c->messages_in++) {
        echoed++;
        if (latency_count < MAX_LATENCIES)
            latencies_us[latency_count++] =
                (uint32_t)((now - c->sent_ns[c->messages_in % MAX_WINDOW]) / 1000);
    }
    if (want.mode == OPEN && c->state == FRAMES) {
        append_frame(c, 8, "\x03\xe8", 2);
        c->state = LEAVING;
        open_count--;
        flush(c);
    }
}

/* Give the length of a frame's header as far as it can be told. */
static size_t header_bytes(const Connection *c)
{
    if (c->head_bytes < 2)
        return 2;
    int length = c->head[1] & 0x7f;
    return length == 127 ? 10 : length == 126 ? 4 : 2;
}

static void take_frames(Connection *c, const char *at, size_t length)
{
    while (length && (c->state == FRAMES || c->state == LEAVING)) {
        if (c->payload_left) {
            size_t part = length < c->payload_left ? length : (size_t)c->payload_left;
            c->payload_left -= part;
            if (c->opcode <= 2)
                take_echo(c, at, part);
            at += part;
            length -= part;
            continue;
        }
        c->head[c->head_bytes++] = *at++;
        length--;
        if (c->head_bytes < header_bytes(c))
            continue;
        uint64_t size = (uint64_t)(c->head[1] & 0x7f);
        if (size >= 126)
            size = 0;
        for (size_t i = 2; i < c->head_bytes; i++)
            size = size << 8 | (uint8_t)c->head[i];
        c->opcode = c->head[0] & 0x0f;
        c->payload_left = size;
        c->head_bytes = 0;
        if (c->opcode == 9) {
            append_frame(c, 10, "", 0);
            flush(c);
        } else if (c->opcode == 8 && c->state != LEAVING) {
            end_connection(c, "the gateway sent a close frame");
        }
    }
}

static void begin_frames(Connection *c)
{
    c->state = FRAMES;
    c->head_bytes = 0;
    open_count++;
    if (want.mode == OPEN)
        pump(c);
}

static void take_answer(Connection *c, const char *at, size_t length)
{
    size_t part = sizeof c->head - 1 - c->head_bytes, had = c->head_bytes;
    part = part < length ? part : length;
    memcpy(c->head + c->head_bytes, at, part);
    c->head_bytes += part;
    c->head[c->head_bytes] = 0;
    char *end = strstr(c->head, "\r\n\r\n");
    if (strncmp(c->head, "HTTP/1.1 101", c->head_bytes < 12 ? c->head_bytes : 12) ||
        (!end && c->head_bytes == sizeof c->head - 1)) {
        c->head[strcspn(c->head, "\r\n")] = 0;
        end_connection(c, c->head);
    } else if (end) {
        size_t used = (size_t)(end + 4 - c->head) - had;
        begin_frames(c);
        take_frames(c, at + used, length - used);
    }
}

static void begin_connection(Connection *c)
{
    int one = 1;

    c->head_bytes = c->out_at = c->out_bytes = 0;
    c->payload_left = c->sent = c->received = c->messages_out = c->messages_in = 0;
    c->wants_out = true;
    c->started_ns = now_ns();
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(c->fd, (struct sockaddr *)&gateway, sizeof gateway) && errno != EINPROGRESS)
        die("connect");
    c->state = CONNECTING;
    watch(c->fd, EPOLLIN | EPOLLOUT, c, EPOLL_CTL_ADD);
}

static void ask_for_upgrade(Connection *c)
{
    c->state = UPGRADING;
    c->out_bytes = (size_t)snprintf(
        c->out, OUT_BYTES,
        "GET %s HTTP/1.1\r\nHost: %s:%d\r\nOrigin: http://%s:%d\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: binary\r\n\r\n",
        want.path, want.host, want.port, want.host, want.port);
    flush(c);
}

static void serve(Connection *c, uint32_t events)
{
    if (c->state == CONNECTING && events & EPOLLOUT)
        ask_for_upgrade(c);
    else if (events & EPOLLOUT)
        flush(c);
    if (c->fd < 0 || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    ssize_t got = read(c->fd, data, READ_BYTES);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0 && c->state == LEAVING) {
        rounds++;
        end_connection(c, 0);
    } else if (got <= 0) {
        end_connection(c, got ? strerror(errno) : "the gateway closed the connection");
    } else if (c->state == UPGRADING) {
        take_answer(c, data, (size_t)got);
    } else {
        take_frames(c, data, (size_t)got);
        if (c->state == FRAMES && (want.mode == MESSAGES || want.mode == UP))
            pump(c);
    }
}

/* Wait for something to happen, at most so long, and take it. */
static bool turn(int timeout_ms)
{
    struct epoll_event events[512];
    int ready = epoll_wait(epoll, events, 512, timeout_ms);
    for (int i = 0; i < ready; i++)
        serve(events[i].data.ptr, events[i].events);
    return ready > 0;
}

/* -- the loads -------------------------------------------------------------------------- */

static void open_all(void)
{
    uint64_t last_change = now_ns();
    long next = 0, last_open = 0;

    while (open_count + broken_count < want.connections) {
        while (next < want.connections && next - open_count - broken_count < want.parallel)
            begin_connection(&all[next++]);
        turn(100);
        if (open_count != last_open) {
            last_open = open_count;
            last_change = now_ns();
        } else if (seconds_since(last_change) > STALL_S) {
            fprintf(stderr, "gateway: %ld of %ld connections are open, and no more since %d s\n",
                    open_count, want.connections, STALL_S);
            exit(1);
        }
    }
    if (broken_count) {
        fprintf(stderr, "gateway: %ld of %ld connections could not be opened: %s\n",
                broken_count, want.connections, first_problem);
        exit(1);
    }
}

static uint64_t due_at(uint64_t start, uint64_t number)
{
    return start + (uint64_t)((double)number * 1e9 / (double)want.connections);
}

static void hold(uint64_t start)
{
    uint64_t due = (uint64_t)((double)want.connections * want.seconds), next = 0;
    uint64_t last_s = now_ns();

    while (next < due || (echoed < due && seconds_since(last_s) < STALL_S)) {
        uint64_t now = now_ns();
        for (; next < due && due_at(start, next) <= now; next++) {
            Connection *c = &all[next % (uint64_t)want.connections];
            if (c->state == FRAMES && c->messages_out - c->messages_in < MAX_WINDOW &&
                c->out_bytes + (size_t)want.body_bytes + 14 < OUT_BYTES) {
                append_message(c, now);
                flush(c);
            }
            last_s = now;
        }
        if (!open_count)
            break;
        turn(1);
    }
}

static void open_and_close(uint64_t start)
{
    for (long busy = 1; busy;) {
        may_begin = seconds_since(start) < want.seconds;
        busy = 0;
        for (long i = 0; i < want.parallel; i++) {
            if (all[i].state == CLOSED && may_begin)
                begin_connection(&all[i]);
            if (all[i].state != CLOSED) {
                busy++;
                if (seconds_since(all[i].started_ns) > STALL_S)
                    end_connection(&all[i], "nothing came for too long");
            }
        }
        if (busy)
            turn(100);
    }
}

static void flat_out(uint64_t start)
{
    for (long i = 0; i < want.connections; i++) {
        if (want.mode == MESSAGES) {
            pump(&all[i]);
        } else {
            append_frame(&all[i], 2, want.mode == UP ? "s" : "d", 1);
            flush(&all[i]);
        }
    }
    if (want.mode == UP)
        for (long i = 0; i < want.connections; i++)
            pump(&all[i]);
    while (seconds_since(start) < want.seconds && open_count)
        turn(100);
    if (want.mode == MESSAGES) {
        uint64_t ending = now_ns(), sent = 0;
        want.window = 0; /* nothing new leaves; what is under way still counts */
        for (long i = 0; i < want.connections; i++)
            sent += all[i].messages_out;
        while (echoed < sent && open_count && seconds_since(ending) < STALL_S)
            turn(100);
    }
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double percentile_ms(int percent)
{
    return latency_count ? latencies_us[(latency_count - 1) * percent / 100] / 1e3 : 0;
}

static void wait_for_line(void)
{
    int c;
    fflush(stdout);
    while ((c = getchar()) != EOF && c != '\n')
        continue;
}

static void read_arguments(int argc, char **argv)
{
    static const char *const modes[] = {"hold", "open", "messages", "up", "down"};
    const struct {
        const char *name;
        long *number;
        double *real;
        const char **text;
    } known[] = {
        {"path", .text = &want.path},
        {"connections", .number = &want.connections},
        {"seconds", .real = &want.seconds},
        {"body", .number = &want.body_bytes},
        {"window", .number = &want.window},
        {"parallel", .number = &want.parallel},
    };
    size_t mode = 0, count = sizeof known / sizeof *known;

    while (argc >= 4 && mode < 5 && strcmp(argv[1], modes[mode]))
        mode++;
    if (argc < 4 || mode == 5) {
        fputs(usage, stderr);
        exit(2);
    }
    want.mode = (Mode)mode;
    want.host = argv[2];
    want.port = atoi(argv[3]);
    for (int i = 4; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        size_t k = value ? 0 : count;
        while (k < count && (strlen(known[k].name) != (size_t)(value - argv[i]) ||
                             strncmp(known[k].name, argv[i], (size_t)(value - argv[i]))))
            k++;
        if (k == count) {
            fprintf(stderr, "gateway: unknown argument %s\n%s", argv[i], usage);
            exit(2);
        }
        value++;
        if (known[k].number)
            *known[k].number = atol(value);
        else if (known[k].real)
            *known[k].real = atof(value);
        else
            *known[k].text = value;
    }
    if (want.body_bytes < 1 || want.body_bytes > MAX_BODY_BYTES || want.window < 1 ||
        want.window > MAX_WINDOW || want.connections < 1 || want.parallel < 1) {
        fputs(usage, stderr);
        exit(2);
    }
    gateway.sin_family = AF_INET;
    gateway.sin_port = htons((uint16_t)want.port);
    if (inet_pton(AF_INET, want.host, &gateway.sin_addr) != 1) {
        fprintf(stderr, "gateway: HOST must be an IPv4 address, not %s\n", want.host);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    struct rlimit files;

    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (char)('e' + i % PERIOD * 7);
    if ((epoll = epoll_create1(0)) < 0)
        die("epoll");
    if (argc == 2 && !strcmp(argv[1], "target"))
        return be_target();
    read_arguments(argc, argv);

    long slots = want.mode == OPEN ? want.parallel : want.connections;
    all = calloc((size_t)slots, sizeof *all);
    latencies_us = malloc(sizeof *latencies_us * MAX_LATENCIES);
    for (long i = 0; all && i < slots; i++) {
        all[i].out = malloc(OUT_BYTES);
        all[i].sent_ns = malloc(sizeof *all[i].sent_ns * MAX_WINDOW);
        if (!all[i].out || !all[i].sent_ns)
            die("memory");
    }
    if (!all || !latencies_us)
        die("memory");

    uint64_t start = now_ns();
    if (want.mode != OPEN)
        open_all();
    printf("{\"open\": %ld, \"open_s\": %.4f}\n", open_count, seconds_since(start));
    wait_for_line();

    double own = own_cpu_s();
    start = now_ns();
    if (want.mode == HOLD)
        hold(start);
    else if (want.mode == OPEN)
        open_and_close(start);
    else
        flat_out(start);
    double wall_s = seconds_since(start);
    own = own_cpu_s() - own;

    uint64_t bytes = payload_in;
    long lost = broken_count;
    if (want.mode == UP)
        bytes *= ACK_BYTES;
    if (want.mode == HOLD || want.mode == MESSAGES)
        for (long i = 0; i < want.connections; i++)
            lost += all[i].state == FRAMES && all[i].messages_in < all[i].messages_out;
    if (want.mode == UP || want.mode == DOWN)
        for (long i = 0; i < want.connections; i++)
            if (all[i].state == FRAMES)
                end_connection(&all[i], 0);
    qsort(latencies_us, (size_t)latency_count, sizeof *latencies_us, by_value);
    printf("{\"wall_s\": %.4f, \"generator_cpu_s\": %.3f, \"connections\": %ld, \"lost\": %ld, "
           "\"messages\": %llu, \"bytes\": %llu, \"p50_ms\": %.3f, \"p99_ms\": %.3f, "
           "\"max_ms\": %.3f, \"problem\": \"%s\"}\n",
           wall_s, own, want.mode == OPEN ? rounds : open_count, lost,
           (unsigned long long)echoed, (unsigned long long)bytes, percentile_ms(50),
           percentile_ms(99), percentile_ms(100), first_problem);
    wait_for_line();
    return 0;
}
