/* Sends Graphite lines as fast as a server takes them: the load of script/bench.
 *
 *   generate --port P --series N --points M [--connections C] [--start SECONDS] [--step SECONDS] [--shuffle
 * PERMILLE] [--rate POINTS_PER_S] [--mixed] [--again PERMILLE] [--wait]
 *
 * All lines are rendered before the clock starts, so that the sender costs little more than its system calls.
 * Time runs in the outer loop, as from agents; each connection has its share of the series. The mix of
 * values: 20 % constant, 10 % true doubles, the rest in equal parts noisy counters, two-decimal gauges, k/60
 * rates and multiples of a page. Prints one JSON object.
 *
 * With --mixed it is what agents send after an outage: the minutes of each host (50 series) in any order,
 * newest and oldest mixed. With --again some of it is sent twice. With --wait "ready" is printed when all is
 * rendered, and a line on stdin begins. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct options {
    int port, connections, mixed, wait;
    uint32_t series, points, step, shuffle_permille, again_permille;
    double rate; /* points a second over all connections; 0: as fast as it goes */
    uint64_t start;
    const char *prefix;
    int to_file;
};

struct share {
    const struct options *o;
    uint32_t first, count;
    char *bytes;
    size_t size, cap;
    uint64_t lines;
    int error;
};

static uint64_t mix64(uint64_t x) /* splitmix64 finaliser (Steele, Lea, Flood 2014) */
{
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

static int render_value(char *out, uint32_t series, uint32_t t)
{
    uint64_t r = mix64((uint64_t)series << 32 | t);
    unsigned kind = series % 10;
    if (kind < 2)
        return sprintf(out, "%u", series % 1000);
    if (kind == 2)
        return sprintf(out, "%.17g", (double)(r >> 11) / 9007199254740992.0 * 100);
    switch ((series / 10 + kind) % 4) {
    case 0:
        return sprintf(out, "%llu", (unsigned long long)t * (1000 + series % 500) + r % 400);
    case 1: {
        unsigned v = (unsigned)(series * 7919 % 9000 + r % 700);
        return sprintf(out, "%u.%02u", v / 100, v % 100);
    }
    case 2:
        return sprintf(out, "%.17g", (double)(series % 3000 + r % 600) / 60);
    default:
        return sprintf(out, "%llu", (unsigned long long)(100000 + series % 5000 + r % 300) * 4096);
    }
}

static void put_line(struct share *s, uint32_t series, uint32_t t)
{
    if (s->cap - s->size < 256) {
        s->cap = s->cap ? s->cap * 2 : 1 << 20;
        s->bytes = realloc(s->bytes, s->cap);
        if (!s->bytes)
            exit(1);
    }
    char *p = s->bytes + s->size, *start = p;
    p += sprintf(p, "%s.host-%06u.cpu.%u.percentage ", s->o->prefix, series / 50, series % 50);
    p += render_value(p, series, t);
    p += sprintf(p, " %llu\n", (unsigned long long)(s->o->start + (uint64_t)t * s->o->step));
    s->size += (size_t)(p - start);
    s->lines++;
}

/* A shuffled point is sent up to an hour late: it swaps its time with one of the last 60 steps. */
static uint32_t when(const struct options *o, uint32_t series, uint32_t t)
{
    uint64_t r = mix64(((uint64_t)series << 32 | t) ^ 0xabcdef);
    return r % 1000 < o->shuffle_permille && t >= 60 ? t - (uint32_t)(r >> 32) % 60 : t;
}

#define HOST 50

static void render_host(struct share *s, uint32_t host, uint32_t t)
{
    for (uint32_t i = host * HOST; i < s->count && i < (host + 1) * HOST; i++)
        put_line(s, s->first + i, t);
}

static uint64_t common_factor(uint64_t a, uint64_t b)
{
    return b ? common_factor(b, a % b) : a;
}

/* Every host and minute once, in an order that looks random: a full cycle of strides. */
static void render_mixed(struct share *s)
{
    uint64_t hosts = (s->count + HOST - 1) / HOST, n = hosts * s->o->points, stride = n * 618 / 1000 | 1;
    while (common_factor(stride, n) != 1)
        stride++;
    for (uint64_t i = 0, at = 0; i < n; i++, at = (at + stride) % n) {
        render_host(s, (uint32_t)(at % hosts), (uint32_t)(at / hosts));
        if (mix64(at) % 1000 < s->o->again_permille)
            render_host(s, (uint32_t)(at % hosts), (uint32_t)(at / hosts));
    }
}

static void *render(void *arg)
{
    struct share *s = arg;
    if (s->o->mixed) {
        render_mixed(s);
        return NULL;
    }
    for (uint32_t t = 0; t < s->o->points; t++)
        for (uint32_t i = 0; i < s->count; i++)
            put_line(s, s->first + i, when(s->o, s->first + i, t));
    return NULL;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void wait_until(double then)
{
    double left = then - now();
    if (left > 0)
        nanosleep(&(struct timespec){(time_t)left, (long)((left - (double)(time_t)left) * 1e9)}, NULL);
}

static void *send_all(void *arg)
{
    struct share *s = arg;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)s->o->port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) < 0) {
        s->error = errno;
        return NULL;
    }
    double begun = now(),
           bytes_per_s = s->lines ? s->o->rate / s->o->connections * (double)s->size / (double)s->lines : 0;
    for (size_t at = 0; at < s->size;) {
        size_t most = bytes_per_s > 0 ? 16384 : 262144, n = s->size - at < most ? s->size - at : most;
        if (bytes_per_s > 0)
            wait_until(begun + (double)at / bytes_per_s);
        ssize_t w = send(fd, s->bytes + at, n, MSG_NOSIGNAL);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0) {
            s->error = errno;
            break;
        }
        at += (size_t)w;
    }
    shutdown(fd, SHUT_WR);
    char drain[256];
    while (recv(fd, drain, sizeof drain, 0) > 0)
        ;
    close(fd);
    return NULL;
}

static void each_share(struct share *shares, int n, void *(*fn)(void *))
{
    pthread_t threads[64];
    for (int i = 0; i < n; i++)
        pthread_create(&threads[i], NULL, fn, &shares[i]);
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
}

static int parse_options(int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {
        {"port", 1, 0, 'p'},   {"series", 1, 0, 's'}, {"points", 1, 0, 'n'},  {"connections", 1, 0, 'c'},
        {"start", 1, 0, 't'},  {"step", 1, 0, 'e'},   {"shuffle", 1, 0, 'u'}, {"prefix", 1, 0, 'x'},
        {"stdout", 0, 0, 'o'}, {"rate", 1, 0, 'r'},   {"mixed", 0, 0, 'm'},   {"wait", 0, 0, 'w'},
        {"again", 1, 0, 'a'},  {0, 0, 0, 0}};
    for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        long long v = optarg ? atoll(optarg) : 0;
        switch (c) {
        case 'p':
            o->port = (int)v;
            break;
        case 's':
            o->series = (uint32_t)v;
            break;
        case 'n':
            o->points = (uint32_t)v;
            break;
        case 'c':
            o->connections = (int)v;
            break;
        case 't':
            o->start = (uint64_t)v;
            break;
        case 'e':
            o->step = (uint32_t)v;
            break;
        case 'u':
            o->shuffle_permille = (uint32_t)v;
            break;
        case 'x':
            o->prefix = optarg;
            break;
        case 'o':
            o->to_file = 1;
            break;
        case 'r':
            o->rate = strtod(optarg, NULL);
            break;
        case 'w':
            o->wait = 1;
            break;
        case 'm':
            o->mixed = 1;
            break;
        case 'a':
            o->again_permille = (uint32_t)v;
            break;
        default:
            return -1;
        }
    }
    return o->series && o->points && o->connections > 0 && o->connections <= 64 && (o->port || o->to_file)
               ? 0
               : -1;
}

int main(int argc, char **argv)
{
    struct options o = {.connections = 2, .step = 60, .prefix = "servers"};
    if (parse_options(argc, argv, &o) < 0) {
        fprintf(stderr, "usage: generate --port P|--stdout --series N --points M [--connections C] [--start "
                        "S] [--step S] "
                        "[--shuffle PERMILLE] [--prefix NAME] [--rate POINTS_PER_S] [--mixed] [--again "
                        "PERMILLE] [--wait]\n");
        return 2;
    }
    if (!o.start)
        o.start = (uint64_t)time(NULL) / o.step * o.step - (uint64_t)(o.points - 1) * o.step;
    struct share shares[64] = {0};
    for (int i = 0; i < o.connections; i++) {
        shares[i].o = &o;
        shares[i].first = (uint32_t)((uint64_t)o.series * (uint64_t)i / (uint64_t)o.connections);
        shares[i].count =
            (uint32_t)((uint64_t)o.series * (uint64_t)(i + 1) / (uint64_t)o.connections) - shares[i].first;
    }
    each_share(shares, o.connections, render);
    if (o.to_file) {
        for (int i = 0; i < o.connections; i++)
            fwrite(shares[i].bytes, 1, shares[i].size, stdout);
        return 0;
    }
    if (o.wait) {
        printf("ready\n");
        fflush(stdout);
        (void)getchar();
    }
    double start = now();
    each_share(shares, o.connections, send_all);
    double seconds = now() - start;
    size_t bytes = 0;
    uint64_t lines = 0;
    for (int i = 0; i < o.connections; i++) {
        bytes += shares[i].size;
        lines += shares[i].lines;
        if (shares[i].error) {
            fprintf(stderr, "generate: connection %d: %s\n", i, strerror(shares[i].error));
            return 1;
        }
    }
    printf("{\"points\":%llu,\"bytes\":%zu,\"started\":%.6f,\"seconds\":%.6f}\n", (unsigned long long)lines,
           bytes, start, seconds);
    return 0;
}
