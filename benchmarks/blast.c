/* blast: the load generator of rtchat's benchmark.
 *
 * Opens many STOMP subscribers and a few publishers to one server on this machine, over plain
 * TCP or over WebSocket, sends messages and counts the copies that arrive. One thread, epoll,
 * no allocation a message: it must cost less than the server it measures. bench.py compiles
 * and calls it; by hand:
 *
 *     cc -O2 -o blast blast.c
 *     ./blast tcp 127.0.0.1 61613 subscribers=100 publishers=1 messages=20000 pid=1234
 *     ./blast ws 127.0.0.1 9000 subscribers=1000 publishers=0 messages=0 hold=1 pid=1234
 *
 * Every body begins with the time it was sent, 19 digits of nanoseconds, and one '|'. So
 * counting and timing need no STOMP parser: find a '|' that ends 19 digits.
 *
 * A publisher stays at most `window` messages ahead of the slowest subscriber. That keeps the
 * server busy without ever filling its send backlog, for which it would rightly cut us off.
 *
 * Prints one JSON object. Exit code: 0 all copies arrived, 1 some did not or a connection
 * broke, 2 wrong arguments.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
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
    STAMP_DIGITS = 19,
    TAIL_BYTES = 24,         /* kept from the last read: a stamp may lie across two reads */
    MIN_BODY_BYTES = 40,     /* room for the stamp and some padding */
    MAX_BODY_BYTES = 65536,
    OUT_BYTES = 65536,       /* a publisher prepares about this much ahead */
    READ_BYTES = 1 << 18,
    MAX_LATENCIES = 5000000,
    FLAT_OUT_SAMPLING = 64,  /* flat out, one copy in this many is timed */
    STALL_SECONDS = 15,
};

static const char usage[] =
    "usage: blast tcp|ws HOST PORT [subscribers=N] [publishers=N] [messages=N] [body=BYTES]\n"
    "             [rate=MESSAGES_PER_SECOND] [window=MESSAGES] [hold=SECONDS] [pid=SERVER_PID]\n"
    "             [path=/ws] [destination=/topic/bench] [login=NAME] [passcode=WORD]\n"
    "             [vhost=NAME]\n"
    "rate=0, the default, sends as fast as the server takes it. hold waits that long with all\n"
    "connections open and idle before memory is read. messages counts over all publishers.\n";

typedef struct {
    int fd;
    bool subscriber;
    long copies;             /* subscriber: messages received */
    char tail[TAIL_BYTES];
    size_t tail_bytes;
    char *out;               /* publisher: bytes prepared and not yet written */
    size_t out_bytes;
    long queued;             /* publisher: messages prepared */
} Connection;

static struct {
    bool websocket;
    const char *host;
    int port;
    long subscribers, publishers, messages, body_bytes, window;
    double rate, hold_s;
    int pid;
    const char *path, *destination, *login, *passcode, *vhost;
} want = {
    .subscribers = 100,
    .publishers = 1,
    .messages = 10000,
    .body_bytes = 100,
    .window = 2048,
    .path = "/ws",
    .destination = "/topic/bench",
    .vhost = "/",
};

static void die(const char *what)
{
    fprintf(stderr, "blast: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* -- clocks and meters ------------------------------------------------------------------ */

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

/* User and system time the server has used so far. */
static double server_cpu_s(void)
{
    char path[64], text[1024];
    unsigned long user, system;

    if (!want.pid)
        return 0;
    snprintf(path, sizeof path, "/proc/%d/stat", want.pid);
    FILE *file = fopen(path, "r");
    if (!file)
        die(path);
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = 0;
    /* The name, in brackets, may hold anything: count the fields from its end. */
    char *rest = strrchr(text, ')');
    if (!rest || sscanf(rest + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                        &user, &system) != 2) {
        fprintf(stderr, "blast: cannot read the processor time in %s\n", path);
        exit(1);
    }
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static long server_rss_kb(void)
{
    char path[64];
    long size, resident;

    if (!want.pid)
        return 0;
    snprintf(path, sizeof path, "/proc/%d/statm", want.pid);
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%ld %ld", &size, &resident) != 2)
        die(path);
    fclose(file);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static double own_cpu_s(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

/* -- one frame out ---------------------------------------------------------------------- */

/* Wrap bytes as one masked text message, as a browser does. Returns the length. */
static size_t websocket_message(char *out, const char *data, size_t length)
{
    static uint32_t seed = 2463534242u;
    size_t n = 0;

    out[n++] = (char)0x81;
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
    seed ^= seed >> 17;
    seed ^= seed << 5;
    const char *mask = (const char *)&seed;
    memcpy(out + n, mask, 4);
    n += 4;
    for (size_t i = 0; i < length; i++)
        out[n + i] = data[i] ^ mask[i & 3];
    return n + length;
}

static size_t on_the_wire(char *out, const char *frame, size_t length)
{
    if (want.websocket)
        return websocket_message(out, frame, length);
    memcpy(out, frame, length);
    return length;
}

static size_t publish_frame(char *out)
{
    static char frame[MAX_BODY_BYTES + 1024];
    int head = snprintf(frame, 1024,
                        "SEND\ndestination:%s\ncontent-type:text/plain\ncontent-length:%ld\n\n",
                        want.destination, want.body_bytes);
    char *body = frame + head;

    snprintf(body, STAMP_DIGITS + 1, "%019llu", (unsigned long long)now_ns());
    body[STAMP_DIGITS] = '|';
    memset(body + STAMP_DIGITS + 1, 'x', (size_t)want.body_bytes - STAMP_DIGITS - 1);
    body[want.body_bytes] = 0;
    return on_the_wire(out, frame, (size_t)head + (size_t)want.body_bytes + 1);
}

/* -- opening connections ---------------------------------------------------------------- */

static void send_all(int fd, const char *data, size_t length)
{
    while (length) {
        ssize_t sent = write(fd, data, length);
        if (sent < 0)
            die("write");
        data += sent;
        length -= (size_t)sent;
    }
}

static void send_frame(int fd, const char *frame, size_t length)
{
    char wire[4096];
    send_all(fd, wire, on_the_wire(wire, frame, length));
}

/* Read until the text appears; the server sends nothing after it of its own accord. */
static void read_until(int fd, const char *text)
{
    char data[16384];
    size_t length = 0;

    while (length < sizeof data) {
        ssize_t got = read(fd, data + length, sizeof data - length);
        if (got <= 0)
            break;
        length += (size_t)got;
        if (memmem(data, length, text, strlen(text)))
            return;
    }
    fprintf(stderr, "blast: no %s from the server but: %.*s\n", text, (int)length, data);
    exit(1);
}

static int open_connection(bool subscriber)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)want.port)};
    char text[2048];
    int one = 1, n;

    if (inet_pton(AF_INET, want.host, &address.sin_addr) != 1) {
        fprintf(stderr, "blast: HOST must be an IPv4 address, not %s\n", want.host);
        exit(2);
    }
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        die("socket");
    if (connect(fd, (struct sockaddr *)&address, sizeof address))
        die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);

    if (want.websocket) {
        n = snprintf(text, sizeof text,
                     "GET %s HTTP/1.1\r\nHost: %s:%d\r\nOrigin: http://%s:%d\r\n"
                     "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                     "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: v12.stomp\r\n\r\n",
                     want.path, want.host, want.port, want.host, want.port);
        send_all(fd, text, (size_t)n);
        read_until(fd, "\r\n\r\n");
    }

    n = snprintf(text, sizeof text, "CONNECT\naccept-version:1.2\nhost:%s\nheart-beat:0,0\n",
                 want.vhost);
    if (want.login)
        n += snprintf(text + n, sizeof text - (size_t)n, "login:%s\n", want.login);
    if (want.passcode)
        n += snprintf(text + n, sizeof text - (size_t)n, "passcode:%s\n", want.passcode);
    n += snprintf(text + n, sizeof text - (size_t)n, "\n");
    send_frame(fd, text, (size_t)n + 1);
    read_until(fd, "CONNECTED");

    if (subscriber) {
        n = snprintf(text, sizeof text,
                     "SUBSCRIBE\nid:sub-0\ndestination:%s\nack:auto\nreceipt:r1\n\n",
                     want.destination);
        send_frame(fd, text, (size_t)n + 1);
        read_until(fd, "RECEIPT");
    }
    return fd;
}

/* -- counting what arrives -------------------------------------------------------------- */

static uint32_t *latencies_us;
static long latency_count, copies_in, copies_due;

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

static void count_copies(Connection *c, char *data, size_t length)
{
    /* data has TAIL_BYTES of room before it: put what was kept there. */
    char *start = data - c->tail_bytes;
    char *end = data + length;
    uint64_t now = now_ns();

    memcpy(start, c->tail, c->tail_bytes);
    for (char *bar = data; (bar = memchr(bar, '|', (size_t)(end - bar))); bar++) {
        if (!ends_stamp(bar, start))
            continue;
        c->copies++;
        copies_in++;
        if (latency_count < MAX_LATENCIES &&
            (want.rate > 0 || copies_in % FLAT_OUT_SAMPLING == 0)) {
            char digits[STAMP_DIGITS + 1];
            memcpy(digits, bar - STAMP_DIGITS, STAMP_DIGITS);
            digits[STAMP_DIGITS] = 0;
            latencies_us[latency_count++] = (uint32_t)((now - strtoull(digits, 0, 10)) / 1000);
        }
    }
    c->tail_bytes = end - start < TAIL_BYTES ? (size_t)(end - start) : TAIL_BYTES;
    memmove(c->tail, end - c->tail_bytes, c->tail_bytes);
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

/* -- the run ---------------------------------------------------------------------------- */

static long copies_of_slowest(const Connection *all)
{
    long least = want.messages;
    for (long i = 0; i < want.subscribers; i++)
        if (all[i].copies < least)
            least = all[i].copies;
    return least;
}

/* Prepare and write what may be sent now. Returns whether anything went out. */
static bool publish(Connection *p, long *queued_by_all, long allowed)
{
    long share = want.messages / want.publishers;

    while (p->queued < share && *queued_by_all < allowed && p->out_bytes < OUT_BYTES) {
        p->out_bytes += publish_frame(p->out + p->out_bytes);
        p->queued++;
        ++*queued_by_all;
    }
    if (!p->out_bytes)
        return false;
    ssize_t sent = write(p->fd, p->out, p->out_bytes);
    if (sent < 0 && errno != EAGAIN)
        die("publish");
    if (sent <= 0)
        return false;
    p->out_bytes -= (size_t)sent;
    memmove(p->out, p->out + sent, p->out_bytes);
    return true;
}

static void run(Connection *all, int epoll)
{
    static char room[TAIL_BYTES + READ_BYTES];
    char *data = room + TAIL_BYTES;
    struct epoll_event events[512];
    long connections = want.subscribers + want.publishers, queued = 0, last_copies = 0;
    uint64_t start = now_ns(), last_progress = start;

    while (copies_in < copies_due) {
        long allowed = want.messages;
        if (want.rate > 0)
            allowed = (long)(seconds_since(start) * want.rate) + 1;
        if (queued < want.messages) {
            long limit = copies_of_slowest(all) + want.window;
            allowed = allowed < limit ? allowed : limit;
        }
        bool busy = false;
        for (long i = want.subscribers; i < connections; i++)
            busy |= publish(&all[i], &queued, allowed);

        int ready = epoll_wait(epoll, events, 512, busy ? 0 : 1);
        for (int i = 0; i < ready; i++) {
            Connection *c = &all[events[i].data.u32];
            ssize_t got = read(c->fd, data, READ_BYTES);
            if (got < 0 && errno == EAGAIN)
                continue;
            if (got <= 0) {
                fprintf(stderr, "blast: the server closed connection %u after %ld of %ld copies\n",
                        events[i].data.u32, copies_in, copies_due);
                exit(1);
            }
            if (c->subscriber)
                count_copies(c, data, (size_t)got);
        }
        if (copies_in != last_copies) {
            last_copies = copies_in;
            last_progress = now_ns();
        } else if (seconds_since(last_progress) > STALL_SECONDS) {
            fprintf(stderr, "blast: nothing arrived for %d s\n", STALL_SECONDS);
            break;
        }
    }
}

static void read_arguments(int argc, char **argv)
{
    const struct {
        const char *name;
        long *number;
        double *real;
        int *small;
        const char **text;
    } known[] = {
        {"subscribers", .number = &want.subscribers},
        {"publishers", .number = &want.publishers},
        {"messages", .number = &want.messages},
        {"body", .number = &want.body_bytes},
        {"window", .number = &want.window},
        {"rate", .real = &want.rate},
        {"hold", .real = &want.hold_s},
        {"pid", .small = &want.pid},
        {"path", .text = &want.path},
        {"destination", .text = &want.destination},
        {"login", .text = &want.login},
        {"passcode", .text = &want.passcode},
        {"vhost", .text = &want.vhost},
    };
    size_t count = sizeof known / sizeof *known;

    if (argc < 4 || (strcmp(argv[1], "tcp") && strcmp(argv[1], "ws"))) {
        fputs(usage, stderr);
        exit(2);
    }
    want.websocket = !strcmp(argv[1], "ws");
    want.host = argv[2];
    want.port = atoi(argv[3]);
    for (int i = 4; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        size_t k = count;
        if (value)
            for (k = 0; k < count; k++)
                if (strlen(known[k].name) == (size_t)(value - argv[i]) &&
                    !strncmp(known[k].name, argv[i], (size_t)(value - argv[i])))
                    break;
        if (k == count) {
            fprintf(stderr, "blast: unknown argument %s\n%s", argv[i], usage);
            exit(2);
        }
        value++;
        if (known[k].number)
            *known[k].number = atol(value);
        else if (known[k].real)
            *known[k].real = atof(value);
        else if (known[k].small)
            *known[k].small = atoi(value);
        else
            *known[k].text = value;
    }
    if (want.body_bytes < MIN_BODY_BYTES || want.body_bytes > MAX_BODY_BYTES) {
        fprintf(stderr, "blast: body must be %d to %d bytes\n", MIN_BODY_BYTES, MAX_BODY_BYTES);
        exit(2);
    }
    if (want.publishers)
        want.messages -= want.messages % want.publishers;
    if (want.subscribers < 0 || want.publishers < 0 || want.messages < 0 || want.window < 1 ||
        (want.messages && !want.publishers)) {
        fputs(usage, stderr);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    struct rlimit files;

    read_arguments(argc, argv);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);

    long connections = want.subscribers + want.publishers;
    Connection *all = calloc((size_t)connections + 1, sizeof *all);
    latencies_us = malloc(sizeof *latencies_us * MAX_LATENCIES);
    int epoll = epoll_create1(0);
    if (!all || !latencies_us || epoll < 0)
        die("start");

    long rss_before = server_rss_kb();
    double cpu_before_connect = server_cpu_s();
    uint64_t connect_start = now_ns();
    for (long i = 0; i < connections; i++) {
        all[i].subscriber = i < want.subscribers;
        all[i].fd = open_connection(all[i].subscriber);
        if (!all[i].subscriber && !(all[i].out = malloc(OUT_BYTES + MAX_BODY_BYTES + 2048)))
            die("start");
    }
    double connect_s = seconds_since(connect_start);
    double connect_cpu_s = server_cpu_s() - cpu_before_connect;
    usleep((useconds_t)(want.hold_s * 1e6));
    long rss_connected = server_rss_kb();

    for (long i = 0; i < connections; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        fcntl(all[i].fd, F_SETFL, O_NONBLOCK);
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].fd, &event))
            die("epoll_ctl");
    }
    copies_due = want.messages * want.subscribers;
    double cpu = server_cpu_s(), own = own_cpu_s();
    uint64_t start = now_ns();
    run(all, epoll);
    double wall_s = seconds_since(start);
    cpu = server_cpu_s() - cpu;
    own = own_cpu_s() - own;

    qsort(latencies_us, (size_t)latency_count, sizeof *latencies_us, by_value);
    printf("{\"messages\": %ld, \"copies\": %ld, \"copies_due\": %ld, \"wall_s\": %.4f, "
           "\"server_cpu_s\": %.2f, \"generator_cpu_s\": %.3f, \"p50_ms\": %.3f, "
           "\"p99_ms\": %.3f, \"max_ms\": %.3f, \"connections\": %ld, \"connect_s\": %.3f, "
           "\"connect_cpu_s\": %.2f, \"rss_before_kb\": %ld, \"rss_connected_kb\": %ld, "
           "\"rss_end_kb\": %ld}\n",
           want.messages, copies_in, copies_due, wall_s, cpu, own, percentile_ms(50),
           percentile_ms(99), percentile_ms(100), connections, connect_s, connect_cpu_s,
           rss_before, rss_connected, server_rss_kb());
    return copies_in != copies_due;
}
