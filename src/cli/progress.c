#include "cli/progress.h"

#include "base/clock.h"
#include "base/mem.h"

#include <inttypes.h>
#include <signal.h>
#include <unistd.h>

#define EVERY_MS 200

/* A signal handler has nothing else to reach. */
static _Atomic bool stop_asked;

static void on_signal(int sig)
{
    (void)sig;
    atomic_store(&stop_asked, true);
}

const char *progress_bytes(uint64_t bytes, char out[16])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    double v = (double)bytes;
    size_t u = 0;
    for (; v >= 999.5 && u + 1 < ARRAY_LEN(units); u++)
        v /= 1000;
    snprintf(out, 16, u == 0 || v >= 99.95 ? "%.0f %s" : "%.1f %s", v, units[u]);
    return out;
}

static void show(void *ctx, const struct backup_progress *at)
{
    struct progress *p = ctx;
    char done[16], all[16];
    int64_t now = clock_mono_ms(clock_system());
    if (!p->to || now - p->shown_ms < EVERY_MS)
        return;
    p->shown_ms = now;
    p->dirty = true;
    fprintf(p->to, "\r\033[K%s", progress_bytes(at->bytes, done));
    if (at->bytes_all)
        fprintf(p->to, " of %s (%.0f %%)", progress_bytes(at->bytes_all, all),
                100.0 * (double)at->bytes / (double)at->bytes_all);
    fprintf(p->to, ", %" PRIu64 " files", at->files);
    fflush(p->to);
}

void progress_begin(struct progress *p, FILE *to, bool quiet)
{
    *p = (struct progress){.to = quiet || fileno(to) < 0 || !isatty(fileno(to)) ? NULL : to};
    p->io = (struct backup_io){.progress = show, .ctx = p, .cancel = &stop_asked};
    struct sigaction a = {.sa_handler = on_signal};
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
    signal(SIGPIPE, SIG_IGN);
}

void progress_end(struct progress *p)
{
    if (p->dirty)
        fputs("\r\033[K", p->to);
    p->dirty = false;
}
