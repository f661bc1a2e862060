/* blast: the load generator of rtchat's benchmarks.
 *
 * Opens many subscribers and a few publishers to one server on this machine, sends messages
 * and counts the copies that arrive. It speaks STOMP over TCP (tcp) or WebSocket (ws), NATS
 * and MQTT. One thread, epoll, no allocation a message: it must cost less than the server it
 * measures. generator.py compiles and calls it; by hand:
 *
 *     cc -O2 -o blast benchmarks/blast/[a-z]*.c
 *     ./blast tcp 127.0.0.1 61613 subscribers=100 publishers=1 messages=20000 pids=1234
 *     ./blast tcp 127.0.0.1 61613 subscribers=4 publishers=4 prefetch=100 destination=/queue/q
 *     ./blast ws 127.0.0.1 9000 subscribers=1000 publishers=0 messages=0 hold=10 pids=1234
 *
 * Every body begins with the time it was sent, 19 digits of nanoseconds, and one '|'. So
 * counting and timing need no parser: find a '|' that ends 19 digits.
 *
 * A publisher stays at most `window` messages ahead of the slowest subscriber. That keeps the
 * server busy without ever filling its send backlog, for which it would rightly cut us off.
 *
 * Prints one JSON object. Exit code: 0 all copies arrived, 1 some did not or a connection
 * broke, 2 wrong arguments.
 */
#define _GNU_SOURCE
#include "blast.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    STALL_SECONDS = 15,
    IDLE_EVERY = 64, /* so often idle connections are served while others open */
};

static const char usage[] =
    "usage: blast tcp|ws|nats|mqtt HOST PORT [subscribers=N] [publishers=N] [messages=N]\n"
    "             [body=BYTES] [topics=N] [subscriptions=N] [prefetch=N] [rate=PER_SECOND]\n"
    "             [window=MESSAGES] [hold=SECONDS] [heartbeat=MS] [sources=N] [pids=PID,PID,...]\n"
    "             [path=/ws] [destination=/topic/bench] [login=NAME] [passcode=WORD] [vhost=NAME]\n"
    "messages counts over all publishers, who take the topics in turn. Each subscriber has as\n"
    "many subscriptions, to topics one after the other. prefetch makes it a queue whose\n"
    "consumers acknowledge each message. rate=0, the default, sends as fast as the server takes\n"
    "it. hold waits that long with all connections open before memory is read and messages go\n"
    "out; heartbeat is what both sides then send. sources spreads over 127.0.0.1, 127.0.0.2, ...\n";

Wanted want = {
    .subscribers = 100,
    .publishers = 1,
    .messages = 10000,
    .body_bytes = 100,
    .window = 2048,
    .topics = 1,
    .subscriptions = 1,
    .sources = 1,
    .path = "/ws",
    .destination = "/topic/bench",
    .vhost = "/",
};

void die(const char *what)
{
    fail("%s: %s", what, strerror(errno));
}

void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("blast: ", stderr);
    vfprintf(stderr, format, arguments);
    fputs("\n", stderr);
    exit(1);
}

/* -- the run ---------------------------------------------------------------------------- */

/* How many messages all subscribers have had; a queue's are each had by one. */
static long messages_had(const Connection *all)
{
    if (want.prefetch)
        return copies_in;
    long least = -1;
    for (long i = 0; i < want.subscribers; i++)
        if (least < 0 || all[i].copies < least)
            least = all[i].copies;
    return least < 0 ? want.messages : least * want.topics / want.subscriptions;
}

/* Prepare and write what may be sent now. Returns whether anything went out. */
static bool publish(Connection *p, long *queued_by_all, long allowed)
{
    static char frame[MAX_WIRE_BYTES];
    long share = want.messages / want.publishers;

    while (p->queued < share && *queued_by_all < allowed && p->out_bytes < OUT_BYTES) {
        append(p, frame, publish_frame(frame, *queued_by_all % want.topics));
        p->queued++;
        ++*queued_by_all;
    }
    return write_out(p);
}

static void take(Connection *c, char *data)
{
    ssize_t got = read(c->fd, data, READ_BYTES);

    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0)
        fail("the server closed a connection after %ld copies", copies_in);
    if (!c->subscriber)
        return;
    if (want.prefetch) {
        take_deliveries(c, data, (size_t)got);
        write_out(c);
    } else {
        count_copies(c, data, (size_t)got);
    }
}

static void wait_and_take(int epoll, Connection *all, int wait_ms)
{
    static char room[TAIL_BYTES + READ_BYTES];
    struct epoll_event events[512];
    int ready = epoll_wait(epoll, events, 512, wait_ms);

    for (int i = 0; i < ready; i++)
        take(&all[events[i].data.u32], room + TAIL_BYTES);
}

static bool has_stalled(void)
{
    static uint64_t last_progress;
    static long last_copies = -1;

    if (copies_in != last_copies) {
        last_copies = copies_in;
        last_progress = now_ns();
    }
    return seconds_since(last_progress) > STALL_SECONDS;
}

static void run(Connection *all, int epoll, long copies_due)
{
    long connections = want.subscribers + want.publishers, queued = 0, limit = 0;
    uint64_t start = now_ns();

    while (copies_in < copies_due) {
        long allowed = want.messages;
        if (want.rate > 0)
            allowed = (long)(seconds_since(start) * want.rate) + 1;
        if (queued >= limit) {
            /* Go on when half the window is free, with as much at once: a publisher that sends
             * each message as another arrives would have the server write one at a time. */
            long room = messages_had(all) + want.window - queued;
            if (room > want.window / 2)
                limit = queued + room;
        }
        allowed = allowed < limit ? allowed : limit;
        bool busy = false;
        for (long i = want.subscribers; i < connections; i++)
            busy |= publish(&all[i], &queued, allowed);
        for (long i = 0; want.prefetch && i < want.subscribers; i++)
            busy |= write_out(&all[i]);
        wait_and_take(epoll, all, busy ? 0 : 1);
        if (has_stalled()) {
            fprintf(stderr, "blast: nothing arrived for %d s, %ld of %ld copies had\n",
                    STALL_SECONDS, copies_in, copies_due);
            return;
        }
    }
}

/* Wait until the server has read every acknowledgement: it answers frames in order. */
static void settle(Connection *all, int epoll)
{
    static const char last[] = "UNSUBSCRIBE\nid:sub-0\nreceipt:settled\n\n";

    for (long i = 0; i < want.subscribers; i++)
        append(&all[i], last, sizeof last);
    for (long i = 0; i < want.subscribers;) {
        for (long j = i; j < want.subscribers; j++)
            write_out(&all[j]);
        if (all[i].has_receipt)
            i++;
        else
            wait_and_take(epoll, all, 1);
        if (has_stalled())
            fail("the acknowledgements were not taken within %d s", STALL_SECONDS);
    }
}

/* -- arguments -------------------------------------------------------------------------- */

static void refuse(void)
{
    fputs(usage, stderr);
    exit(2);
}

static void read_pids(const char *text)
{
    for (char *end; *text; text = *end == ',' ? end + 1 : end) {
        long pid = strtol(text, &end, 10);
        if (pid <= 0 || end == text || (*end && *end != ',') || want.pid_count == MAX_PIDS)
            refuse();
        want.pids[want.pid_count++] = (int)pid;
    }
}

static void read_argument(char *argument)
{
    static const char *pids;
    const struct {
        const char *name;
        long *number;
        double *real;
        const char **text;
    } known[] = {
        {"subscribers", .number = &want.subscribers},
        {"publishers", .number = &want.publishers},
        {"messages", .number = &want.messages},
        {"body", .number = &want.body_bytes},
        {"window", .number = &want.window},
        {"topics", .number = &want.topics},
        {"subscriptions", .number = &want.subscriptions},
        {"prefetch", .number = &want.prefetch},
        {"heartbeat", .number = &want.heartbeat_ms},
        {"sources", .number = &want.sources},
        {"rate", .real = &want.rate},
        {"hold", .real = &want.hold_s},
        {"pids", .text = &pids},
        {"path", .text = &want.path},
        {"destination", .text = &want.destination},
        {"login", .text = &want.login},
        {"passcode", .text = &want.passcode},
        {"vhost", .text = &want.vhost},
    };
    size_t count = sizeof known / sizeof *known, k = count;
    char *value = strchr(argument, '=');

    if (value) {
        *value++ = 0;
        for (k = 0; k < count && strcmp(known[k].name, argument); k++)
            ;
    }
    if (k == count) {
        fprintf(stderr, "blast: unknown argument %s\n", argument);
        refuse();
    }
    if (known[k].number)
        *known[k].number = atol(value);
    else if (known[k].real)
        *known[k].real = atof(value);
    else
        *known[k].text = value;
    if (pids) {
        read_pids(pids);
        pids = NULL;
    }
}

static void read_arguments(int argc, char **argv)
{
    static const char *const wires[] = {[TCP] = "tcp", [WS] = "ws", [NATS] = "nats",
                                        [MQTT] = "mqtt"};
    int wire = 0;

    while (argc >= 4 && wire < 4 && strcmp(argv[1], wires[wire]))
        wire++;
    if (argc < 4 || wire == 4)
        refuse();
    want.wire = (Wire)wire;
    want.host = argv[2];
    want.port = atoi(argv[3]);
    for (int i = 4; i < argc; i++)
        read_argument(argv[i]);

    if (want.body_bytes < MIN_BODY_BYTES || want.body_bytes > MAX_BODY_BYTES) {
        fprintf(stderr, "blast: body must be %d to %d bytes\n", MIN_BODY_BYTES, MAX_BODY_BYTES);
        exit(2);
    }
    if (want.prefetch && (want.wire != TCP || want.topics != 1 || want.subscriptions != 1)) {
        fputs("blast: a queue needs tcp, one destination and one subscription each\n", stderr);
        exit(2);
    }
    if (want.subscribers < 0 || want.publishers < 0 || want.messages < 0 || want.window < 1 ||
        want.topics < 1 || want.subscriptions < 1 || want.sources < 1 ||
        (want.messages && !want.publishers))
        refuse();
    if (want.subscribers * want.subscriptions % want.topics) {
        fputs("blast: every topic needs as many subscriptions as the others: subscribers *\n"
              "subscriptions must be a multiple of topics\n", stderr);
        exit(2);
    }
    if (want.publishers)
        want.messages -= want.messages % want.publishers;
    /* A subscriber is only heard of once in a round through all topics. */
    if (want.window < 2 * want.topics && want.topics > 1)
        want.window = 2 * want.topics;
}

/* -- all of it -------------------------------------------------------------------------- */

static void open_all(Connection *all, long connections, int epoll)
{
    for (long i = 0; i < connections; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        all[i].subscriber = i < want.subscribers;
        all[i].fd = open_connection(i, all[i].subscriber);
        keep_alive(&all[i]);
        fcntl(all[i].fd, F_SETFL, O_NONBLOCK);
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].fd, &event))
            die("epoll_ctl");
        if (i % IDLE_EVERY == 0 && !want.prefetch)
            serve_idle(epoll, all, 0);
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
    int epoll = epoll_create1(0);
    if (!all || epoll < 0)
        die("start");
    start_counting();

    long rss_before = server_rss_kb();
    double connect_cpu_s = server_cpu_s();
    uint64_t connect_start = now_ns();
    open_all(all, connections, epoll);
    double connect_s = seconds_since(connect_start);
    connect_cpu_s = server_cpu_s() - connect_cpu_s;

    double hold_cpu_s = server_cpu_s(), hold_own_s = own_cpu_s();
    if (want.hold_s > 0)
        serve_idle(epoll, all, want.hold_s);
    hold_cpu_s = server_cpu_s() - hold_cpu_s;
    hold_own_s = own_cpu_s() - hold_own_s;
    long rss_connected = server_rss_kb();

    long copies_due = want.messages * (want.prefetch ? 1 : want.subscribers);
    if (want.topics > 1) {
        /* As long as messages are whole rounds, every topic has the same. */
        copies_due = want.messages * (want.subscribers * want.subscriptions / want.topics);
    } else if (!want.prefetch) {
        copies_due *= want.subscriptions;
    }
    double cpu = server_cpu_s(), own = own_cpu_s();
    uint64_t start = now_ns();
    run(all, epoll, copies_due);
    if (want.prefetch && copies_in == copies_due)
        settle(all, epoll);
    double wall_s = seconds_since(start);
    cpu = server_cpu_s() - cpu;
    own = own_cpu_s() - own;

    printf("{\"messages\": %ld, \"copies\": %ld, \"copies_due\": %ld, \"wall_s\": %.4f, "
           "\"server_cpu_s\": %.6f, \"generator_cpu_s\": %.3f, \"p50_ms\": %.3f, "
           "\"p99_ms\": %.3f, \"max_ms\": %.3f, \"connections\": %ld, \"connect_s\": %.3f, "
           "\"connect_cpu_s\": %.6f, \"hold_s\": %.3f, \"hold_cpu_s\": %.6f, "
           "\"hold_generator_cpu_s\": %.3f, \"rss_before_kb\": %ld, \"rss_connected_kb\": %ld, "
           "\"rss_end_kb\": %ld}\n",
           want.messages, copies_in, copies_due, wall_s, cpu, own, percentile_ms(50),
           percentile_ms(99), percentile_ms(100), connections, connect_s, connect_cpu_s,
           want.hold_s, hold_cpu_s, hold_own_s, rss_before, rss_connected, server_rss_kb());
    return copies_in != copies_due;
}
