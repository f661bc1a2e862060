/* What goes over the wire: STOMP 1.2 over TCP or WebSocket, NATS, MQTT 3.1.1 with QoS 0. */
#define _GNU_SOURCE
#include "blast.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

/* -- packing ---------------------------------------------------------------------------- */

/* Wrap bytes as one masked message, as a browser does. Returns the length. */
size_t websocket_message(char *out, int opcode, const char *data, size_t length)
{
    static uint32_t seed = 2463534242u;
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
    seed ^= seed >> 17;
    seed ^= seed << 5;
    memcpy(out + n, &seed, 4);
    n += 4;
    uint64_t mask = (uint64_t)seed << 32 | seed, word;
    for (; i + 8 <= length; i += 8) {
        memcpy(&word, data + i, 8);
        word ^= mask;
        memcpy(out + n + i, &word, 8);
    }
    for (; i < length; i++)
        out[n + i] = data[i] ^ (char)(mask >> (8 * (i & 7)));
    return n + length;
}

size_t on_the_wire(char *out, const char *frame, size_t length)
{
    if (want.wire == WS)
        return websocket_message(out, 1, frame, length);
    memcpy(out, frame, length);
    return length;
}

/* MQTT's length: seven bits a byte, lowest first. */
static size_t mqtt_length(char *out, size_t length)
{
    size_t n = 0;
    do {
        out[n++] = (char)((length & 127) | (length > 127 ? 128 : 0));
        length >>= 7;
    } while (length);
    return n;
}

static size_t mqtt_text(char *out, const char *text)
{
    size_t length = strlen(text);
    out[0] = (char)(length >> 8);
    out[1] = (char)length;
    memcpy(out + 2, text, length);
    return length + 2;
}

static const char *topic_name(long topic)
{
    static char name[256];
    if (want.topics == 1)
        return want.destination;
    snprintf(name, sizeof name, "%s.%ld", want.destination, topic);
    return name;
}

/* -- publishing ------------------------------------------------------------------------- */

/* A message up to its body. */
static size_t message_head(char *out, const char *topic)
{
    long size = want.body_bytes;

    if (want.wire == NATS)
        return (size_t)snprintf(out, MAX_HEAD_BYTES, "PUB %s %ld\r\n", topic, size);
    if (want.wire == MQTT) {
        size_t n = 1;
        out[0] = 0x30;
        n += mqtt_length(out + n, strlen(topic) + 2 + (size_t)size);
        return n + mqtt_text(out + n, topic);
    }
    return (size_t)snprintf(out, MAX_HEAD_BYTES,
                            "SEND\ndestination:%s\ncontent-type:text/plain\n"
                            "content-length:%ld\n\n",
                            topic, size);
}

/* Put one message there, stamped with the time it is. Returns its length on the wire. */
size_t publish_frame(char *out, long topic)
{
    static char frame[MAX_WIRE_BYTES];
    static size_t head, length;
    static long made_for = -1;

    if (made_for != topic) {
        head = message_head(frame, topic_name(topic));
        memset(frame + head, 'x', (size_t)want.body_bytes);
        frame[head + STAMP_DIGITS] = '|';
        length = head + (size_t)want.body_bytes;
        if (want.wire == NATS) {
            memcpy(frame + length, "\r\n", 2);
            length += 2;
        } else if (want.wire != MQTT) {
            frame[length++] = 0;
        }
        made_for = topic;
    }
    uint64_t now = now_ns();
    for (int i = STAMP_DIGITS; i--; now /= 10)
        frame[head + (size_t)i] = (char)('0' + now % 10);
    return on_the_wire(out, frame, length);
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
        if (memmem(data, length, "ERROR\n", 6))
            break;
    }
    fail("no %s from the server but: %.*s", text, (int)length, data);
}

static void read_bytes(int fd, char *data, size_t length)
{
    while (length) {
        ssize_t got = read(fd, data, length);
        if (got <= 0)
            fail("the server closed a connection that was logging in");
        data += got;
        length -= (size_t)got;
    }
}

static void upgrade(int fd)
{
    char text[2048];
    int n = snprintf(text, sizeof text,
                     "GET %s HTTP/1.1\r\nHost: %s:%d\r\nOrigin: http://%s:%d\r\n"
                     "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                     "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: v12.stomp\r\n\r\n",
                     want.path, want.host, want.port, want.host, want.port);
    send_all(fd, text, (size_t)n);
    read_until(fd, "\r\n\r\n");
}

static void stomp_login(int fd)
{
    char text[2048];
    int n = snprintf(text, sizeof text, "CONNECT\naccept-version:1.2\nhost:%s\nheart-beat:%ld,%ld\n",
                     want.vhost, want.heartbeat_ms, want.heartbeat_ms);
    if (want.login)
        n += snprintf(text + n, sizeof text - (size_t)n, "login:%s\n", want.login);
    if (want.passcode)
        n += snprintf(text + n, sizeof text - (size_t)n, "passcode:%s\n", want.passcode);
    n += snprintf(text + n, sizeof text - (size_t)n, "\n");
    send_frame(fd, text, (size_t)n + 1);
    read_until(fd, "CONNECTED");
}

static void stomp_subscribe(int fd, long number, long topic, bool is_last)
{
    char text[2048], ack[128] = "auto";

    if (want.prefetch) /* RabbitMQ's and rtchat's header, and ActiveMQ's */
        snprintf(ack, sizeof ack,
                 "client-individual\nprefetch-count:%ld\nactivemq.prefetchSize:%ld",
                 want.prefetch, want.prefetch);
    int n = snprintf(text, sizeof text, "SUBSCRIBE\nid:sub-%ld\ndestination:%s\nack:%s\n%s\n",
                     number, topic_name(topic), ack, is_last ? "receipt:ready\n" : "");
    send_frame(fd, text, (size_t)n + 1);
    if (is_last)
        read_until(fd, "RECEIPT");
}

static void nats_login(int fd)
{
    static const char login[] = "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"c\","
                                "\"version\":\"1\",\"protocol\":0}\r\nPING\r\n";
    read_until(fd, "\r\n"); /* INFO comes first */
    send_all(fd, login, strlen(login));
    read_until(fd, "PONG");
}

static void nats_subscribe(int fd, long number, long topic, bool is_last)
{
    char text[512];
    int n = snprintf(text, sizeof text, "SUB %s %ld\r\n%s", topic_name(topic), number + 1,
                     is_last ? "PING\r\n" : "");
    send_all(fd, text, (size_t)n);
    if (is_last)
        read_until(fd, "PONG");
}

static void mqtt_login(int fd, long number)
{
    char packet[256], rest[128], name[64], answer[4];
    size_t n = mqtt_text(rest, "MQTT"), head = 1;

    rest[n++] = 4;  /* version 3.1.1 */
    rest[n++] = 2;  /* clean session */
    rest[n++] = 0;  /* no keep-alive */
    rest[n++] = 0;
    snprintf(name, sizeof name, "blast-%d-%ld", (int)getpid(), number);
    n += mqtt_text(rest + n, name);
    packet[0] = 0x10;
    head += mqtt_length(packet + head, n);
    memcpy(packet + head, rest, n);
    send_all(fd, packet, head + n);
    read_bytes(fd, answer, sizeof answer);
    if (answer[0] != 0x20 || answer[3])
        fail("the MQTT server refused the connection, code %d", answer[3]);
}

static void mqtt_subscribe(int fd, long topic)
{
    char packet[512], answer[5];
    const char *name = topic_name(topic);
    size_t n = 1;

    packet[0] = (char)0x82;
    n += mqtt_length(packet + n, 2 + 2 + strlen(name) + 1);
    packet[n++] = 0;
    packet[n++] = 1;
    n += mqtt_text(packet + n, name);
    packet[n++] = 0; /* QoS 0 */
    send_all(fd, packet, n);
    read_bytes(fd, answer, sizeof answer);
    if ((unsigned char)answer[0] != 0x90 || answer[4])
        fail("the MQTT server refused the subscription");
}

static int dial(long number)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)want.port)};
    struct timeval patience = {.tv_sec = 30};
    int one = 1;

    if (inet_pton(AF_INET, want.host, &address.sin_addr) != 1)
        fail("HOST must be an IPv4 address, not %s", want.host);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        die("socket: ulimit -n says how many there may be");
    if (want.sources > 1) {
        /* An address has some 28,000 ports to connect from; loopback has many addresses. */
        struct sockaddr_in source = {.sin_family = AF_INET};
        source.sin_addr.s_addr = htonl((127u << 24) + 1 + (uint32_t)(number % want.sources));
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        if (bind(fd, (struct sockaddr *)&source, sizeof source))
            die("bind");
    }
    /* A server that never answers is a failure, not a wait without end. */
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&address, sizeof address))
        die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

int open_connection(long number, bool subscriber)
{
    int fd = dial(number);

    if (want.wire == WS)
        upgrade(fd);
    if (want.wire == NATS)
        nats_login(fd);
    else if (want.wire == MQTT)
        mqtt_login(fd, number);
    else
        stomp_login(fd);

    for (long k = 0; subscriber && k < want.subscriptions; k++) {
        long topic = (number * want.subscriptions + k) % want.topics;
        bool is_last = k == want.subscriptions - 1;
        if (want.wire == NATS)
            nats_subscribe(fd, k, topic, is_last);
        else if (want.wire == MQTT)
            mqtt_subscribe(fd, topic);
        else
            stomp_subscribe(fd, k, topic, is_last);
    }
    return fd;
}
