#include "ingest/graphite_socket.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 1024
/* Asked for; the kernel may give less. Datagrams wait here while the thread is busy. */
#define UDP_BUFFER_BYTES (8 << 20)
/* With port 0 the number TCP was given may be taken for UDP. */
#define PORT_TRIES 16

static int bad_address(const char *address, struct err *err)
{
    return err_set(
        err, ERR_INVALID,
        "graphite.listen = %.200s: expected address:port, for example 127.0.0.1:2003 or [::1]:2003", address);
}

/* "host:port" or "[host]:port" into its two halves. */
static int split_address(const char *address, char *host, size_t size, const char **port, struct err *err)
{
    const char *colon = strrchr(address, ':');
    const char *start = address, *end = colon;
    if (!colon || colon[1] == '\0' || strspn(colon + 1, "0123456789") != strlen(colon + 1))
        return bad_address(address, err);
    if (*start == '[') {
        start++;
        end--;
        if (*end != ']' || end < start)
            return bad_address(address, err);
    } else if (memchr(start, ':', (size_t)(end - start))) {
        return bad_address(address, err);
    }
    if (end == start || (size_t)(end - start) >= size || strlen(colon + 1) > 5 || atoi(colon + 1) > 65535)
        return bad_address(address, err);
    memcpy(host, start, (size_t)(end - start));
    host[end - start] = '\0';
    *port = colon + 1;
    return OK;
}

static int resolve_address(const char *address, struct addrinfo **out, struct err *err)
{
    char host[256];
    const char *port = NULL;
    int rc = split_address(address, host, sizeof host, &port, err);
    if (rc)
        return rc;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    int e = getaddrinfo(host, port, &hints, out);
    if (e)
        return err_set(err, ERR_INVALID, "graphite.listen = %.200s: %s", address, gai_strerror(e));
    return OK;
}

static unsigned local_port(int fd)
{
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    if (getsockname(fd, (struct sockaddr *)&a, &len) < 0)
        return 0;
    return ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port
                                         : ((struct sockaddr_in *)&a)->sin_port);
}

/* A bound socket of the type, or a negative errno. No SO_REUSEPORT: a second server on the port must fail. */
static int bind_socket(const struct addrinfo *a, int type)
{
    int fd = socket(a->ai_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int on = 1, size = UDP_BUFFER_BYTES;
    if (type == SOCK_STREAM)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    else
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (a->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, a->ai_addr, a->ai_addrlen) < 0 || (type == SOCK_STREAM && listen(fd, BACKLOG) < 0)) {
        int e = errno;
        close(fd);
        return -e;
    }
    return fd;
}

static void set_port(struct addrinfo *a, unsigned port)
{
    if (a->ai_family == AF_INET6)
        ((struct sockaddr_in6 *)a->ai_addr)->sin6_port = htons((uint16_t)port);
    else
        ((struct sockaddr_in *)a->ai_addr)->sin_port = htons((uint16_t)port);
}

/* Both sockets, or a negative errno with *kind telling which of them failed. */
static int bind_both(struct addrinfo *a, int want_udp, struct graphite_sockets *out, const char **kind)
{
    *kind = "TCP";
    out->tcp = bind_socket(a, SOCK_STREAM);
    if (out->tcp < 0)
        return out->tcp;
    out->port = local_port(out->tcp);
    if (!want_udp)
        return 0;
    *kind = "UDP";
    set_port(a, out->port);
    out->udp = bind_socket(a, SOCK_DGRAM);
    if (out->udp >= 0)
        return 0;
    int e = out->udp;
    close(out->tcp);
    return e;
}

int graphite_sockets_open(const char *address, int want_udp, struct graphite_sockets *out, struct err *err)
{
    struct addrinfo *a;
    int rc = resolve_address(address, &a, err);
    if (rc)
        return rc;
    *out = (struct graphite_sockets){-1, -1, 0};
    bool any_port = strcmp(strrchr(address, ':'), ":0") == 0;
    const char *kind;
    int e = bind_both(a, want_udp, out, &kind);
    for (int i = 1; e == -EADDRINUSE && any_port && i < PORT_TRIES; i++) {
        set_port(a, 0);
        e = bind_both(a, want_udp, out, &kind);
    }
    freeaddrinfo(a);
    if (e < 0)
        return err_sys(err, ERR_IO, -e, "graphite.listen = %.200s: cannot listen (%s)", address, kind);
    return OK;
}
