/* The load of the benchmark, in C so that it is never what is measured.
 *
 *   load PORT N < TOKENS then commands   N WebSocket clients of one process. Reads N tokens, one a line, connects them all,
 *                                        prints "connected SECONDS", and then obeys one command a line:
 *       rounds TOPIC SIZE COUNT          client 0 publishes; wait until all N got it; COUNT times
 *       bursts TOPIC SIZE LENGTH COUNT   client 0 publishes LENGTH messages at once; wait until all N got all; COUNT times
 *       publish TOPIC EACH CLIENTS SIZE DEPTH SECONDS
 *                                        every client keeps DEPTH publishes in flight, each with an id that its receipt
 *                                        carries back; to TOPIC, or (EACH 1) to TOPIC and its own number
 *       Each is answered by one line of numbers: see the printf that ends it.
 *   load raw N SIZE                      the yardstick: a server that sends a ready frame of SIZE bytes to its N
 *                                        connections, one send(2) each, for every frame that it gets. Prints its port.
 *
 * Every ping is answered. Masking keys are zero: legal, and the server's work is the same.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LEFT 8192        /* bytes of a frame of which the rest has not come yet */
#define CHUNK 262144     /* bytes read at once */
#define OPENING_MOST 64  /* handshakes under way */
#define DEPTH_MOST 64
#define SAMPLES 4000000

struct client {
    int fd, number, open, in_flight;
    long published;
    size_t left_size;
    double sent[DEPTH_MOST]; /* when the publishes in flight went out; receipts come in their order */
    char left[LEFT];
};

static struct client *clients;
static int epoll_fd, n_clients, opened, upgraded;
static long texts, text_bytes, receipts;
static float *latencies; /* of publishes, microseconds */
static long n_latencies;
static char buffer[LEFT + CHUNK];
static char topic[128], content[4096];
static int each, depth; /* of the command under way; depth is 0 when no more is to be published */
static long run_number;
static char *raw_frame; /* of the yardstick */
static size_t raw_size;

static void die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "load: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static double cpu(void) {
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return r.ru_utime.tv_sec + r.ru_stime.tv_sec + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static float quantile(float *sorted, long n, double q) { return n ? sorted[(long)((n - 1) * q)] : 0; }

static void send_all(int fd, const char *data, size_t size) {
    while (size) {
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            struct pollfd p = {fd, POLLOUT, 0};
            poll(&p, 1, 1000);
        } else if (n < 0) {
            die("send: %s", strerror(errno));
        } else {
            data += n, size -= n;
        }
    }
}

/* A masked text frame with the payload that follows; returns the length of its head. */
static size_t frame_head(char *out, size_t size) {
    size_t head = 2;
    out[0] = (char)0x81;
    if (size < 126) {
        out[1] = (char)(0x80 | size);
    } else {
        out[1] = (char)(0x80 | 126), out[2] = size >> 8, out[3] = size & 255, head = 4;
    }
    memset(out + head, 0, 4);
    return head + 4;
}

/* count publishes of one client in one write. */
static void publish(struct client *c, int count, int with_id) {
    static char out[256 * 5000];
    char payload[5000], to[160];
    size_t size = 0;
    double t = now();
    snprintf(to, sizeof to, each ? "%s%d" : "%s", topic, c->number);
    for (int i = 0; i < count; i++) {
        int n = snprintf(payload, sizeof payload, "{\"action\":\"message\",\"topic_name\":\"%s\",\"content\":\"%s\"", to, content);
        if (with_id) {
            c->sent[c->published % DEPTH_MOST] = t;
            n += snprintf(payload + n, sizeof payload - n, ",\"id\":\"%ld-%ld-%d\"", run_number, c->published, c->number);
        }
        payload[n++] = '}';
        c->published++;
        size += frame_head(out + size, n);
        memcpy(out + size, payload, n);
        size += n;
    }
    send_all(c->fd, out, size);
}

static void text(struct client *c, const char *data, size_t size) {
    if (size > 12 && memcmp(data, "{\"action\":\"", 11) == 0) {
        if (data[11] == 'e' || memcmp(data + 11, "closing", 7) == 0)
            die("the server answered %.*s", (int)size, data);
        if (data[11] == 'c') {
            opened++;
            return;
        }
        if (c->in_flight && memmem(data, size < 250 ? size : 250, "\"result\":\"ok\"", 13)) {
            if (n_latencies < SAMPLES)
                latencies[n_latencies++] = (now() - c->sent[(c->published - c->in_flight) % DEPTH_MOST]) * 1e6;
            receipts++;
            c->in_flight--;
            return;
        }
    }
    texts++;
    text_bytes += size + (size < 126 ? 2 : 4);
}

/* The whole frames among size bytes; returns how many bytes they have. */
static size_t frames(struct client *c, const char *data, size_t size, void (*on_text)(struct client *, const char *, size_t)) {
    size_t at = 0;
    while (size - at >= 2) {
        const unsigned char *head = (const unsigned char *)data + at;
        size_t length = head[1] & 127, skip = 2;
        if (length == 127)
            die("a frame over 64 KiB");
        if (length == 126) {
            if (size - at < 4)
                break;
            length = head[2] << 8 | head[3], skip = 4;
        }
        if (head[1] & 128)
            skip += 4;
        if (size - at < skip + length)
            break;
        if ((head[0] & 15) == 1) {
            on_text(c, data + at + skip, length);
        } else if ((head[0] & 15) == 9) {
            char pong[6 + 125] = {(char)0x8a, (char)(0x80 | length)};
            memcpy(pong + 6, data + at + skip, length);
            send_all(c->fd, pong, 6 + length);
        } else if ((head[0] & 15) == 8) {
            die("the server closed client %d: %d %.*s", c->number, head[skip] << 8 | head[skip + 1], (int)length - 2, head + skip + 2);
        }
        at += skip + length;
    }
    return at;
}

static void receive(struct client *c, void (*on_text)(struct client *, const char *, size_t)) {
    char *start = buffer + LEFT - c->left_size;
    memcpy(start, c->left, c->left_size);
    ssize_t n = recv(c->fd, buffer + LEFT, CHUNK, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0 && raw_frame)
        exit(0); /* the clients are done */
    if (n <= 0)
        die("client %d lost its connection: %s", c->number, n ? strerror(errno) : "closed");
    size_t size = c->left_size + n, used = 0;
    if (!c->open) {
        char *end = memmem(start, size, "\r\n\r\n", 4);
        if (end) {
            if (memcmp(start, "HTTP/1.1 101", 12) && memcmp(start, "GET /", 5))
                die("the handshake failed: %.*s", (int)size, start);
            c->open = 1, upgraded++, used = end + 4 - start;
        }
    }
    if (c->open)
        used += frames(c, start + used, size - used, on_text);
    c->left_size = size - used;
    if (c->left_size > LEFT)
        die("a frame over %d bytes", LEFT);
    memcpy(c->left, start + used, c->left_size);
}

/* Wait for something to read, and read it. Answers to receipts (the next publishes) go out once per read. */
static void turn(int timeout) {
    struct epoll_event events[256];
    int n = epoll_wait(epoll_fd, events, 256, timeout);
    for (int i = 0; i < n; i++) {
        struct client *c = events[i].data.ptr;
        receive(c, text);
        if (depth && c->in_flight < depth && c->published) {
            int more = depth - c->in_flight;
            c->in_flight = depth;
            publish(c, more, 1);
        }
    }
}

static void until(long count, const char *what) {
    double end = now() + 60;
    while (texts < count) {
        turn(1000);
        if (now() > end)
            die("%s: only %ld of %ld messages within a minute", what, texts, count);
    }
    if (texts > count)
        die("%s: %ld messages instead of %ld", what, texts, count);
}

static void follow(struct client *c, int fd) {
    int one = 1;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    c->fd = fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static void connect_all(int port) {
    char token[4200], request[5000];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int i = 0; i < n_clients; i++) {
        if (!fgets(token, sizeof token, stdin))
            die("too few tokens");
        token[strcspn(token, "\n")] = 0;
        while (i - upgraded >= OPENING_MOST)
            turn(1000);
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to))
            die("connect: %s", strerror(errno));
        clients[i].number = i;
        follow(&clients[i], fd);
        int n = snprintf(request, sizeof request,
                         "GET /%s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n", token, port);
        send_all(fd, request, n);
    }
}

static void set(const char *to, int size) {
    snprintf(topic, sizeof topic, "%s", to);
    memset(content, 'x', size);
    content[size] = 0;
}

static void rounds(int length, int count) {
    float *took = malloc(count * sizeof *took);
    double start = now(), busy = cpu();
    long before = text_bytes;
    for (int i = 0; i < count; i++) {
        double t = now();
        texts = 0;
        publish(&clients[0], length, 0);
        until((long)n_clients * length, "a round");
        took[i] = (now() - t) * 1e3;
    }
    double seconds = now() - start;
    qsort(took, count, sizeof *took, ascending);
    /* milliseconds p50 p99, deliveries per second, bytes of a frame, the load's CPU in cores */
    printf("%f %f %f %f %f\n", quantile(took, count, .5), quantile(took, count, .99),
           (double)n_clients * length * count / seconds, (double)(text_bytes - before) / ((double)n_clients * length * count), (cpu() - busy) / seconds);
    free(took);
}

static void flood(int n, int in_flight, double seconds) {
    depth = in_flight, receipts = 0, n_latencies = 0;
    double start = now(), busy = cpu();
    for (int i = 0; i < n; i++) {
        clients[i].in_flight = depth;
        publish(&clients[i], depth, 1);
    }
    while (now() - start < seconds)
        turn(100);
    double took = now() - start, used = cpu() - busy;
    long done = receipts, waiting = 1;
    for (depth = 0; waiting;) {
        turn(100);
        waiting = 0;
        for (int i = 0; i < n; i++)
            waiting += clients[i].in_flight;
        if (now() - start > seconds + 30)
            die("%ld receipts did not come within 30 s", waiting);
    }
    for (int i = 0; i < n; i++)
        clients[i].published = 0;
    run_number++;
    qsort(latencies, n_latencies, sizeof *latencies, ascending);
    /* receipts per second, milliseconds p50 p99, the load's CPU in cores */
    printf("%f %f %f %f\n", done / took, quantile(latencies, n_latencies, .5) / 1e3, quantile(latencies, n_latencies, .99) / 1e3, used / took);
}

static int command(char *line) {
    char to[100];
    int size, length, count, n, in_flight;
    double seconds;
    if (sscanf(line, "rounds %99s %d %d", to, &size, &count) == 3) {
        each = 0, set(to, size), rounds(1, count);
    } else if (sscanf(line, "bursts %99s %d %d %d", to, &size, &length, &count) == 4) {
        each = 0, set(to, size), rounds(length, count);
    } else if (sscanf(line, "publish %99s %d %d %d %d %lf", to, &each, &n, &size, &in_flight, &seconds) == 6) {
        set(to, size), flood(n, in_flight, seconds);
    } else {
        return 0;
    }
    fflush(stdout);
    return 1;
}

static void to_everyone(struct client *c, const char *data, size_t size) {
    (void)c, (void)data, (void)size;
    for (int i = 0; i < n_clients; i++)
        send_all(clients[i].fd, raw_frame, raw_size);
}

static void raw(int size) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    int listening = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listening, (struct sockaddr *)&at, sizeof at) || listen(listening, 4096))
        die("listen: %s", strerror(errno));
    getsockname(listening, (struct sockaddr *)&at, &length);
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    for (int i = 0; i < n_clients; i++) {
        static const char hello[] = "HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x16{\"action\":\"connected\"}";
        follow(&clients[i], accept(listening, NULL, NULL));
        send_all(clients[i].fd, hello, sizeof hello - 1);
    }
    raw_size = size, raw_frame = malloc(size);
    memset(raw_frame, 'x', size);
    raw_frame[0] = (char)0x81, raw_frame[1] = 126, raw_frame[2] = (size - 4) >> 8, raw_frame[3] = (size - 4) & 255;
    for (;;) {
        struct epoll_event events[256];
        int n = epoll_wait(epoll_fd, events, 256, -1);
        for (int i = 0; i < n; i++)
            receive(events[i].data.ptr, to_everyone);
    }
}

int main(int argc, char **argv) {
    if (argc != 4 && argc != 3)
        die("see the comment at the top of load.c");
    int as_raw = strcmp(argv[1], "raw") == 0;
    n_clients = atoi(argv[2]);
    clients = calloc(n_clients, sizeof *clients);
    latencies = malloc(SAMPLES * sizeof *latencies);
    epoll_fd = epoll_create1(0);
    run_number = (long)time(NULL) * 1000;
    if (as_raw) {
        raw(atoi(argv[3]));
        return 0;
    }
    setvbuf(stdin, NULL, _IONBF, 0);
    double start = now();
    connect_all(atoi(argv[1]));
    while (opened < n_clients)
        turn(1000);
    printf("connected %f\n", now() - start);
    fflush(stdout);
    struct epoll_event input = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &input);
    for (;;) {
        struct epoll_event event;
        if (epoll_wait(epoll_fd, &event, 1, -1) < 1)
            continue;
        if (event.data.ptr) {
            receive(event.data.ptr, text);
            continue;
        }
        char line[300];
        if (!fgets(line, sizeof line, stdin))
            return 0;
        epoll_ctl(epoll_fd, EPOLL_CTL_DEL, 0, NULL);
        if (!command(line))
            die("unknown command %s", line);
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &input);
    }
}
