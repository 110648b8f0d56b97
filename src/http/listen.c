#include "http/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTEN_BACKLOG 1024

static int bad_address(const char *address, struct err *err)
{
    return err_set(err, ERR_INVALID,
                   "\"%.100s\" is not an address: host:port or [IPv6 address]:port is expected", address);
}

static int parse_port(const char *s, unsigned *port)
{
    unsigned v = 0;
    if (!*s || strlen(s) > 5)
        return -1;
    for (; *s; s++) {
        if (*s < '0' || *s > '9')
            return -1;
        v = v * 10 + (unsigned)(*s - '0');
    }
    *port = v;
    return v <= 65535 ? 0 : -1;
}

int listen_parse(const char *address, char *host, size_t host_size, unsigned *port, struct err *err)
{
    const char *start = address, *colon = strrchr(address, ':');
    if (!colon)
        return bad_address(address, err);
    const char *end = colon;
    if (*start == '[') {
        start++;
        if (end[-1] != ']')
            return bad_address(address, err);
        end--;
    } else if (memchr(start, ':', (size_t)(end - start))) {
        return bad_address(address, err); /* an IPv6 address without brackets: where it ends is a guess */
    }
    size_t len = end > start ? (size_t)(end - start) : 0;
    if (len == 0 || len >= host_size || parse_port(colon + 1, port) < 0)
        return bad_address(address, err);
    memcpy(host, start, len);
    host[len] = '\0';
    return OK;
}

static int try_listen(const struct addrinfo *a)
{
    int on = 1;
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* accepted sockets inherit it */
    if (a->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, LISTEN_BACKLOG) == 0)
        return fd;
    int errnum = errno;
    close(fd);
    errno = errnum;
    return -1;
}

int listen_open(const char *address, const char *option, int *fd, struct err *err)
{
    char host[256], service[16];
    unsigned port;
    int rc = listen_parse(address, host, sizeof host, &port, err);
    if (rc)
        return err_prefix(err, "%s", option);
    snprintf(service, sizeof service, "%u", port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE},
                    *list;
    rc = getaddrinfo(host, service, &hints, &list);
    if (rc)
        return err_set(err, ERR_INVALID, "%s: cannot resolve %s: %s", option, host, gai_strerror(rc));
    int errnum = 0;
    *fd = -1;
    for (const struct addrinfo *a = list; a && *fd < 0; a = a->ai_next) {
        *fd = try_listen(a);
        errnum = errno;
    }
    freeaddrinfo(list);
    if (*fd < 0)
        return err_sys(err, ERR_IO, errnum, "cannot listen on %s (%s)", address, option);
    return OK;
}

unsigned listen_port(int fd)
{
    struct sockaddr_storage a;
    socklen_t n = sizeof a;
    if (getsockname(fd, (struct sockaddr *)&a, &n) < 0)
        return 0;
    if (a.ss_family == AF_INET)
        return ntohs(((struct sockaddr_in *)&a)->sin_port);
    return a.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&a)->sin6_port) : 0;
}
