#include "http/accept.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/thread_name.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define NO_ROOM_MS 10 /* until it looks again whether a connection has ended */

struct acceptor {
    struct acceptor_options o;
    int wake; /* an eventfd, readable once it is to stop */
    pthread_t thread;
    struct log_limit log_limit;
};

/* True when it is to stop. */
static bool wait_ms(struct acceptor *a, bool for_connections, int timeout_ms)
{
    struct pollfd p[2] = {{.fd = a->wake, .events = POLLIN}, {.fd = a->o.fd, .events = POLLIN}};
    while (poll(p, for_connections ? 2 : 1, timeout_ms) < 0 && errno == EINTR)
        ;
    return p[0].revents != 0;
}

/* False when there was none to take. */
static bool accept_one(struct acceptor *a)
{
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    int fd = accept4(a->o.fd, (struct sockaddr *)&addr, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        a->o.take(a->o.ctx, fd, (const struct sockaddr *)&addr, len);
        return true;
    }
    bool short_of_files = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
    if (short_of_files && log_allowed(&a->log_limit, NULL))
        log_warn("http", "cannot accept connections, trying again", "error=\"%s\"", strerror(errno));
    if (short_of_files)
        wait_ms(a, false, NO_ROOM_MS);
    return false; /* anything else was that one connection's trouble */
}

static void *acceptor_main(void *ctx)
{
    struct acceptor *a = ctx;
    thread_name("carat-accept");
    for (bool stop = false; !stop;) {
        if (!a->o.room(a->o.ctx))
            stop = wait_ms(a, false, NO_ROOM_MS);
        else if (!accept_one(a))
            stop = wait_ms(a, true, -1);
        else
            stop = wait_ms(a, false, 0);
    }
    return NULL;
}

int acceptor_start(const struct acceptor_options *o, struct acceptor **out, struct err *err)
{
    struct acceptor *a = xcalloc(1, sizeof *a);
    a->o = *o;
    a->wake = eventfd(0, EFD_CLOEXEC);
    int rc = a->wake < 0 ? errno : pthread_create(&a->thread, NULL, acceptor_main, a);
    if (rc) {
        if (a->wake >= 0)
            close(a->wake);
        free(a);
        return err_sys(err, ERR_IO, rc, "cannot start the thread that accepts HTTP connections");
    }
    *out = a;
    return OK;
}

void acceptor_stop(struct acceptor *a)
{
    if (!a)
        return;
    uint64_t one = 1;
    while (write(a->wake, &one, sizeof one) < 0 && errno == EINTR)
        ;
    pthread_join(a->thread, NULL);
    close(a->o.fd);
    close(a->wake);
    free(a);
}
