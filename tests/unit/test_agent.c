#include "agent/agent.h"
#include "agent/host_id.h"
#include "agent/proc.h"
#include "agent/reading.h"
#include "agent/schedule.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/http.h"

#include <ftw.h>
#include <jansson.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* Files of /proc as real machines write them, cut to a few lines. */
static const char loadavg[] = "0.52 1.58 10.09 3/1113 15445\n";
static const char stat1[] = "cpu  1000 20 300 5000 60 7 8 9 100 0\n"
                            "cpu0 500 10 150 2500 30 3 4 5 50 0\n"
                            "cpu1 500 10 150 2500 30 4 4 4 50 0\n"
                            "intr 6664031039 0 0 0\nctxt 14007527061\nbtime 1349954031\n";
static const char stat2[] = "cpu  1160 40 320 5090 59 17 18 19 160 0\n"
                            "cpu0 0 0 0 0 0 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 0 0 0\n";
static const char meminfo[] =
    "MemTotal:        3916792 kB\nMemFree:          283840 kB\n"
    "MemAvailable:    2916792 kB\nBuffers:          100000 kB\n"
    "Cached:           500000 kB\nSwapCached:         4096 kB\n"
    "SwapTotal:       2097148 kB\nSwapFree:        2000000 kB\nHugePages_Total:       0\n";
static const char diskstats[] =
    "   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
    " 202       1 xvda1 750193 3037 28116978 368712 16600606 7233846 424712632 23987908 0 2355636 24345740\n"
    " 253       0 dm-0 46095806 0 549095028 2243928 7192424 0 305024576 12521088 0 2728444 14782668\n"
    " 104       0 cciss/c0d0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15\n";
static const char net_dev[] =
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo "
    "colls\n"
    "    lo: 2016965079  355214    0    0    0     0          0         0 2016965079  355214    0    0    0\n"
    "  eth0:5000 10 0 0 0 0 0 0 7000 20 0 0 0 0 0 0\n"
    "veth12: 5 1 0 0 0 0 0 0 7 2 0 0 0 0 0 0\n"
    "eth0.100: 1 1 0 0 0 0 0 0 2 2 0 0 0 0 0 0\n";
static const char mounts[] = "proc /proc proc rw,nosuid 0 0\n/dev/mapper/vg-root / ext4 rw 0 0\n"
                             "/dev/sda1 /mnt/with\\040blank\\134x xfs rw 0 0\n"
                             "/dev/mapper/vg-root /also ext4 rw 0 0\n"
                             "/dev/mapper/docker-8:1-123 /var/lib/docker/x ext4 rw 0 0\n";

static void proc_files_are_read(void **state)
{
    double load[3];
    assert_int_equal(proc_parse_loadavg(loadavg, sizeof loadavg - 1, load), 0);
    assert_true(load[0] == 0.52 && load[1] == 1.58 && load[2] == 10.09);
    struct proc_cpu cpu;
    assert_int_equal(proc_parse_stat(stat1, sizeof stat1 - 1, &cpu), 0);
    assert_int_equal(cpu.cpus, 2);
    assert_int_equal(cpu.fields, CPU_FIELDS);
    assert_true(cpu.ticks[CPU_USER] == 1000 && cpu.ticks[CPU_GUEST] == 100);
    struct proc_memory m;
    assert_int_equal(proc_parse_meminfo(meminfo, sizeof meminfo - 1, &m), 0);
    assert_true(m.total == 3916792ull * 1024 && m.available == 2916792ull * 1024);
    assert_true(m.swap_cached == 4096 * 1024 && m.swap_free == 2000000ull * 1024);
    struct proc_devices d;
    proc_parse_diskstats(diskstats, sizeof diskstats - 1, &d);
    assert_int_equal(d.n, 3);
    assert_string_equal(d.v[0].name, "xvda1");
    assert_true(d.v[0].a == 750193 && d.v[0].b == 16600606);
    assert_string_equal(d.v[2].name, "cciss_c0d0");
    proc_parse_net_dev(net_dev, sizeof net_dev - 1, &d);
    assert_int_equal(d.n, 2);
    assert_string_equal(d.v[0].name, "eth0");
    assert_true(d.v[0].a == 5000 && d.v[0].b == 7000);
    assert_string_equal(d.v[1].name, "eth0_100");
    struct proc_mounts mo;
    proc_parse_mounts(mounts, sizeof mounts - 1, &mo);
    assert_int_equal(mo.n, 2);
    assert_string_equal(mo.v[0].name, "mapper_vg-root");
    assert_string_equal(mo.v[0].path, "/");
    assert_string_equal(mo.v[1].path, "/mnt/with blank\\x");
}

static void old_kernels_and_broken_files_are_borne(void **state)
{
    struct proc_memory m;
    const char old[] = "MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 20 kB\nCached: 30 kB\n";
    assert_int_equal(proc_parse_meminfo(old, sizeof old - 1, &m), 0);
    assert_int_equal(m.available, 150 * 1024);
    assert_int_equal(proc_parse_meminfo("", 0, &m), -1);
    double load[3];
    assert_int_equal(proc_parse_loadavg("0.5 x 1\n", 8, load), -1);
    assert_int_equal(proc_parse_loadavg("0.5 1", 5, load), -1);
    struct proc_cpu cpu;
    const char ancient[] = "cpu 1 2 3 4\ncpu0 1 2 3 4\n";
    assert_int_equal(proc_parse_stat(ancient, sizeof ancient - 1, &cpu), 0);
    assert_int_equal(cpu.fields, 4);
    assert_int_equal(proc_parse_stat("cpu 1 2\n", 8, &cpu), -1);
}

/* Metrics of two readings as one text "name=value;". */
static void append_metric(void *ctx, const char *name, double value)
{
    buf_printf(ctx, "%s=%.10g;", name, value);
}

static void two_readings_make_metrics(void **state)
{
    struct reading *a = xcalloc(1, sizeof *a), *b = xcalloc(1, sizeof *b);
    struct buf out = BUF_INIT;
    a->mono_us = 5000000;
    b->mono_us = 65000000;
    a->has_cpu = proc_parse_stat(stat1, sizeof stat1 - 1, &a->cpu) == 0;
    b->has_cpu = proc_parse_stat(stat2, sizeof stat2 - 1, &b->cpu) == 0;
    b->has_load = proc_parse_loadavg(loadavg, sizeof loadavg - 1, b->load) == 0;
    b->has_memory = proc_parse_meminfo(meminfo, sizeof meminfo - 1, &b->memory) == 0;
    a->disks = (struct proc_devices){2, {{"sda", 100, 200}, {"sdb", 50, 50}}};
    b->disks = (struct proc_devices){3, {{"new", 1, 1}, {"sdb", 40, 110}, {"sda", 160, 203}}};
    a->interfaces = (struct proc_devices){1, {{"eth0", 0, 1000}}};
    b->interfaces = (struct proc_devices){1, {{"eth0", 6000, 1000}}};
    b->nfs = 1;
    b->fs[0] = (struct reading_fs){"vda", 1000, 400};
    reading_metrics(NULL, b, append_metric, &out);
    assert_string_equal(buf_str(&out), "loadavg1=0.52;loadavg5=1.58;loadavg15=10.09;memory.total=4010795008;"
                                       "memory.available=2986795008;memory.used=1024000000;"
                                       "memory.swap_total=2147479552;memory.swap_cached=4194304;"
                                       "memory.swap_used=99479552;filesystem.vda.size=1000;"
                                       "filesystem.vda.used=400;");
    size_t without_rates = out.len;
    buf_clear(&out);
    reading_metrics(a, b, append_metric, &out);
    /* ticks: user 160 of which guest 60, nice 20, system 20, idle 90, iowait back by 1, irq, softirq and
     * steal 10 each: 320 in all on two processors */
    assert_string_equal(buf_str(&out) + without_rates,
                        "cpu.user.percentage=62.5;cpu.nice.percentage=12.5;cpu.system.percentage=12.5;"
                        "cpu.idle.percentage=56.25;cpu.iowait.percentage=0;cpu.irq.percentage=6.25;"
                        "cpu.softirq.percentage=6.25;cpu.steal.percentage=6.25;cpu.guest.percentage=37.5;"
                        "disk.sdb.writes.delta=1;disk.sda.reads.delta=1;disk.sda.writes.delta=0.05;"
                        "interface.eth0.rxBytes.delta=100;interface.eth0.txBytes.delta=0;");
    buf_release(&out);
    free(a);
    free(b);
}

static void this_machine_can_be_read(void **state)
{
    struct reading *r = xcalloc(1, sizeof *r);
    reading_take(r, "/proc", 1);
    assert_true(r->has_load && r->has_cpu && r->has_memory);
    reading_take(r, "/nonexistent", 1);
    assert_false(r->has_load || r->has_cpu || r->has_memory || r->disks.n || r->interfaces.n || r->nfs);
    free(r);
}

/* A directory of the test's own. */
static void make_dir(char *path)
{
    strcpy(path, "/tmp/carat-agent-XXXXXX");
    assert_non_null(mkdtemp(path));
}

static void write_file(const char *dir, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static void remove_dir(const char *dir)
{
    assert_int_equal(nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static void host_ids_last(void **state)
{
    char dir[32], machine[64], first[HOST_ID_MAX + 1], second[HOST_ID_MAX + 1];
    struct err err = ERR_INIT;
    make_dir(dir);
    snprintf(machine, sizeof machine, "%s/machine-id", dir);
    assert_int_equal(host_id_get(fs_posix(), NULL, machine, first, &err), ERR_NOT_FOUND);
    assert_int_equal(host_id_get(fs_posix(), dir, machine, first, &err), OK); /* random, and kept */
    assert_int_equal(host_id_get(fs_posix(), dir, machine, second, &err), OK);
    assert_true(host_id_valid(first));
    assert_string_equal(first, second);
    write_file(dir, "machine-id", "3d1219c7c4c5404aaa1f6d2a48adfda4\n");
    assert_int_equal(host_id_get(fs_posix(), dir, machine, second, &err), OK);
    assert_string_equal(first, second);
    assert_int_equal(host_id_get(fs_posix(), NULL, machine, first, &err),
                     OK); /* derived, and always the same */
    assert_int_equal(host_id_get(fs_posix(), NULL, machine, second, &err), OK);
    assert_string_equal(first, second);
    assert_null(strstr(first, "3d1219"));
    write_file(dir, "host_id", "my-host_1\n");
    assert_int_equal(host_id_get(fs_posix(), dir, machine, first, &err), OK);
    assert_string_equal(first, "my-host_1");
    write_file(dir, "host_id", "not/valid\n");
    assert_int_equal(host_id_get(fs_posix(), dir, machine, first, &err), ERR_CORRUPT);
    remove_dir(dir);
}

/* Hours of the schedule in a moment: minutes are pushed at second 0 as batches named by their number; a post
 * takes no time and succeeds if `up`. */
struct sim {
    struct schedule s;
    int64_t now_ms; /* wall and mono are the same here */
    unsigned minute;
    bool up, refusing; /* refusing: an HTTP error instead of a network error */
    unsigned posts, attempts, lost_full;
    size_t lost_failures;
    int64_t last_post_ms;
    struct buf log; /* "second:batches " of each successful post, seconds since the start */
    bool done[20000];
};

static void sim_init(struct sim *m, unsigned jitter_s)
{
    memset(m, 0, sizeof *m);
    m->now_ms = 1763800080000; /* second 0 of a minute */
    m->up = true;
    schedule_init(&m->s, jitter_s, m->now_ms);
}

#define SIM_START 1763800080000

static void sim_release(struct sim *m)
{
    schedule_release(&m->s);
    buf_release(&m->log);
}

static void sim_push(struct sim *m)
{
    struct post_batch *b = post_batch_new();
    buf_printf(&b->json, "%u", m->minute++);
    b->points = 10;
    if (!schedule_push(&m->s, b)) {
        m->lost_full++;
        post_batch_free(b);
    }
}

static void sim_post(struct sim *m)
{
    size_t lost;
    m->attempts++;
    m->last_post_ms = m->now_ms;
    if (!m->up) {
        while (schedule_failed(&m->s, !m->refusing, 5, &lost))
            m->attempts++;
        m->lost_failures += lost;
        return;
    }
    m->posts++;
    buf_printf(&m->log, "%lld:", (long long)(m->now_ms - SIM_START) / 1000);
    for (size_t i = 0; i < m->s.ntaken; i++) {
        unsigned id = (unsigned)atoi(buf_str(&m->s.taken[i]->json));
        assert_false(m->done[id]); /* once each */
        m->done[id] = true;
        buf_printf(&m->log, "%s%u", i ? "+" : "", id);
    }
    buf_puts(&m->log, " ");
    schedule_posted(&m->s);
}

/* Runs until `until_ms`, collecting each minute if `collecting`. */
static bool sim_run(struct sim *m, int64_t until_ms, bool collecting)
{
    for (;;) {
        int64_t at;
        enum schedule_step step = schedule_next(&m->s, m->now_ms, m->now_ms, &at);
        if (step == SCHEDULE_FINISHED)
            return true;
        if (step == SCHEDULE_POST) {
            sim_post(m);
            continue;
        }
        int64_t minute = (m->now_ms / 60000 + 1) * 60000;
        int64_t next = collecting && minute < at ? minute : at;
        if (next > until_ms) {
            m->now_ms = until_ms;
            return false;
        }
        m->now_ms = next;
        if (collecting && next == minute)
            sim_push(m);
    }
}

static void the_second_of_a_host_is_mackerel_agents(void **state)
{
    assert_int_equal(schedule_jitter_s("2eQGEaLxibb"), 48);
    assert_int_equal(schedule_jitter_s("web-1"), 5);
}

static void a_healthy_server_gets_a_post_a_minute_at_the_hosts_second(void **state)
{
    struct sim *m = xmalloc(sizeof *m);
    sim_init(m, 25);
    sim_push(m);
    sim_run(m, SIM_START + 200000, true);
    assert_string_equal(buf_str(&m->log), "12:0 85:1 145:2 "); /* the first after half of it */
    sim_release(m);
    free(m);
}

static void a_backlog_drains_two_minutes_every_30_seconds(void **state)
{
    struct sim *m = xmalloc(sizeof *m);
    sim_init(m, 10);
    m->up = false;
    m->refusing = true;
    sim_run(m, SIM_START + 599000, true); /* ten minutes, nine batches */
    assert_int_equal(m->posts, 0);
    assert_int_equal(schedule_length(&m->s), 9);
    m->up = true;
    unsigned attempts = m->attempts;
    int64_t up_ms = m->now_ms;
    sim_run(m, up_ms + 6 * 60000, true);
    for (unsigned i = 0; i < m->minute - 1; i++)
        assert_true(m->done[i]);
    assert_true(schedule_length(&m->s) <= 1);
    /* 9 queued and one more a minute, four a minute leave: never more than two posts a minute */
    assert_in_range(m->attempts - attempts, 6, 12);
    sim_release(m);
    free(m);
}

static void an_outage_of_hours_loses_the_newest_and_counts_them(void **state)
{
    struct sim *m = xmalloc(sizeof *m);
    sim_init(m, 10);
    m->s.state = SCHEDULE_ERROR;
    for (unsigned i = 0; i < SCHEDULE_QUEUE_MAX + 40; i++)
        sim_push(m);
    assert_int_equal(m->lost_full, 40);
    sim_run(m, SIM_START + 4 * 3600000, false);
    for (unsigned i = 0; i < m->minute; i++)
        assert_int_equal(m->done[i], i < SCHEDULE_QUEUE_MAX);
    assert_int_equal(m->posts, SCHEDULE_QUEUE_MAX / 2);
    sim_release(m);
    free(m);
}

static void there_is_always_room_for_what_comes_back(void **state)
{
    struct sim *m = xmalloc(sizeof *m);
    size_t lost;
    int64_t at;
    sim_init(m, 0);
    sim_push(m);
    sim_push(m);
    assert_int_equal(schedule_next(&m->s, m->now_ms, m->now_ms, &at), SCHEDULE_POST);
    for (unsigned i = 0; i < SCHEDULE_QUEUE_MAX; i++)
        sim_push(m);
    assert_int_equal(m->lost_full, 2); /* two are in flight */
    assert_false(schedule_failed(&m->s, false, 0, &lost));
    assert_int_equal(schedule_length(&m->s), SCHEDULE_QUEUE_MAX);
    assert_int_equal(schedule_points(&m->s), SCHEDULE_QUEUE_MAX * 10);
    sim_release(m);
    free(m);
}

static void failed_batches_go_to_the_back_and_wait_a_minute(void **state)
{
    struct sim *m = xmalloc(sizeof *m);
    sim_init(m, 0);
    for (int i = 0; i < 4; i++)
        sim_push(m);
    m->up = false;
    m->refusing = true;
    sim_run(m, SIM_START + 1000, false);
    assert_int_equal(m->attempts, 1);
    m->up = true;
    sim_run(m, SIM_START + 300000, false);
    assert_string_equal(buf_str(&m->log), "60:2+3 90:0+1 ");
    sim_release(m);
    free(m);
}

static void a_network_error_is_retried_once_at_once(void **state)
{
    struct sim *m = xmalloc(sizeof *m);
    size_t lost;
    int64_t at;
    sim_init(m, 0);
    sim_push(m);
    assert_int_equal(schedule_next(&m->s, m->now_ms, m->now_ms, &at), SCHEDULE_POST);
    assert_true(schedule_failed(&m->s, true, 24999, &lost));
    assert_int_equal(m->s.ntaken, 1);
    assert_false(schedule_failed(&m->s, true, 1, &lost));
    m->now_ms += 60000;
    assert_int_equal(schedule_next(&m->s, m->now_ms, m->now_ms, &at), SCHEDULE_WAIT);
    m->now_ms = at;
    assert_int_equal(schedule_next(&m->s, m->now_ms, m->now_ms, &at), SCHEDULE_POST);
    assert_false(schedule_failed(&m->s, true, 25000, &lost)); /* too slow to be worth it */
    sim_release(m);
    free(m);
}

static void a_batch_is_given_up_after_60_failures(void **state)
{
    struct sim *m = xmalloc(sizeof *m);
    sim_init(m, 0);
    m->up = false;
    m->refusing = true;
    sim_push(m);
    sim_run(m, SIM_START + 59 * 60000 - 1, false);
    assert_int_equal(m->lost_failures, 0);
    assert_int_equal(m->attempts, 59);
    sim_run(m, SIM_START + 24 * 3600000, false);
    assert_int_equal(m->attempts, 60);
    assert_int_equal(m->lost_failures, 10);
    assert_int_equal(schedule_length(&m->s), 0);
    sim_release(m);
    free(m);
}

static void stopping_posts_everything_a_second_apart(void **state)
{
    struct sim *m = xmalloc(sizeof *m);
    sim_init(m, 59);
    for (int i = 0; i < 5; i++)
        sim_push(m);
    sim_run(m, SIM_START + 1000, false);
    assert_int_equal(m->posts, 0); /* still in the initial wait */
    schedule_stop(&m->s, m->now_ms);
    assert_true(sim_run(m, SIM_START + 3600000, false));
    assert_string_equal(buf_str(&m->log), "1:0+1 2:2+3 3:4 ");
    sim_release(m);
    sim_init(m, 0); /* what was already waiting for its second goes at once, too */
    sim_push(m);
    sim_run(m, SIM_START, false);
    sim_push(m);
    sim_push(m);
    sim_push(m);
    sim_run(m, SIM_START + 5000, false);
    buf_clear(&m->log);
    schedule_stop(&m->s, m->now_ms);
    assert_true(sim_run(m, SIM_START + 3600000, false));
    assert_string_equal(buf_str(&m->log), "5:3 ");
    sim_release(m);
    free(m);
}

/* Random outages: every batch is delivered once, or counted as lost, or still there. */
static void no_batch_is_lost_unseen(void **state)
{
    unsigned seed = (unsigned)time(NULL);
    print_message("# seed %u\n", seed);
    struct sim *m = xmalloc(sizeof *m);
    srand(seed);
    sim_init(m, 33);
    for (int i = 0; i < 300; i++) {
        m->up = rand() % 3;
        m->refusing = rand() % 2;
        sim_run(m, m->now_ms + rand() % 3600000, true);
    }
    size_t delivered = 0;
    for (unsigned i = 0; i < m->minute; i++)
        delivered += m->done[i];
    assert_true(m->minute > 1000);
    assert_int_equal(delivered + m->lost_full + m->lost_failures / 10 + schedule_length(&m->s), m->minute);
    m->up = true;
    schedule_stop(&m->s, m->now_ms);
    assert_true(sim_run(m, m->now_ms + 3600000, false));
    sim_release(m);
    free(m);
}

/* The whole agent against a server, on a clock the test turns. */
struct server {
    struct metrics *metrics;
    struct http_server *http;
    pthread_mutex_t mtx;
    unsigned status, posts;
    struct buf last;
    char key[64];
};

static void take_post(void *ctx, struct http_request *r)
{
    struct server *s = ctx;
    size_t n;
    const uint8_t *body = http_body(r, &n);
    pthread_mutex_lock(&s->mtx);
    s->posts++;
    buf_clear(&s->last);
    buf_append(&s->last, body, n);
    snprintf(s->key, sizeof s->key, "%s", http_header(r, "X-Api-Key"));
    unsigned status = s->status;
    pthread_mutex_unlock(&s->mtx);
    http_reply(r, status, NULL, NULL);
}

static void server_start(struct server *s)
{
    struct http_options o = {.listen = "127.0.0.1:0", .metrics = s->metrics = metrics_new()};
    struct err err = ERR_INIT;
    pthread_mutex_init(&s->mtx, NULL);
    s->status = 200;
    assert_int_equal(http_server_new(&o, &s->http, &err), OK);
    http_server_route(s->http, "POST", "/api/v0/tsdb", take_post, s);
    assert_int_equal(http_server_start(s->http, &err), OK);
}

static void server_free(struct server *s)
{
    http_server_free(s->http);
    metrics_free(s->metrics);
    buf_release(&s->last);
}

static void server_answers(struct server *s, unsigned status)
{
    pthread_mutex_lock(&s->mtx);
    s->status = status;
    pthread_mutex_unlock(&s->mtx);
}

static unsigned server_posts(struct server *s)
{
    pthread_mutex_lock(&s->mtx);
    unsigned n = s->posts;
    pthread_mutex_unlock(&s->mtx);
    return n;
}

static void write_proc(const char *dir, const char *stat)
{
    char net[64];
    snprintf(net, sizeof net, "%s/net", dir);
    mkdir(net, 0700);
    write_file(dir, "loadavg", loadavg);
    write_file(dir, "stat", stat);
    write_file(dir, "meminfo", meminfo);
    write_file(dir, "diskstats", diskstats);
    write_file(dir, "net/dev", net_dev);
    write_file(dir, "mounts", "");
}

static double point_of(json_t *points, const char *name, int64_t time_s)
{
    size_t i;
    json_t *p;
    json_array_foreach(points, i, p)
    {
        assert_string_equal(json_string_value(json_object_get(p, "hostId")), "web-1");
        if (!strcmp(json_string_value(json_object_get(p, "name")), name) &&
            json_integer_value(json_object_get(p, "time")) == time_s)
            return json_number_value(json_object_get(p, "value"));
    }
    fail_msg("no point %s at %lld", name, (long long)time_s);
    return 0;
}

static struct agent *agent_for(struct server *s, const char *proc_dir, struct clock *clock, struct metrics *m)
{
    char url[64];
    struct agent *a;
    struct err err = ERR_INIT;
    snprintf(url, sizeof url, "http://127.0.0.1:%u/", http_server_port(s->http));
    struct agent_options o = {.url = url,
                              .api_key = "secret",
                              .host_id = "web-1",
                              .direct = true,
                              .proc_dir = proc_dir,
                              .clock = clock,
                              .metrics = m};
    assert_int_equal(agent_new(&o, &a, &err), OK);
    return a;
}

static void turn_until_posts(struct agent *a, struct server *s, unsigned n)
{
    while (server_posts(s) < n)
        assert_true(agent_turn(a, 10));
}

static uint64_t count_of(struct metrics *m, const char *name, const char *labels)
{
    return counter_get(metrics_counter(m, name, labels, ""));
}

static void an_agent_posts_its_minutes(void **state)
{
    struct server s = {0};
    struct clock_fake clock;
    struct metrics *m = metrics_new();
    char dir[32];
    make_dir(dir);
    write_proc(dir, stat1);
    server_start(&s);
    clock_fake_init(&clock, 1763800030000);
    struct agent *a = agent_for(&s, dir, &clock.base, m);
    agent_turn(a, 0);
    assert_int_equal(server_posts(&s), 0); /* no minute has begun yet */
    write_proc(dir, stat2);
    clock.now_ms = 1763800080000;
    turn_until_posts(a, &s, 1);
    assert_string_equal(s.key, "secret");
    json_t *points = json_loadb((char *)s.last.data, s.last.len, 0, NULL);
    assert_true(point_of(points, "loadavg5", 1763800080) == 1.58);
    assert_true(point_of(points, "cpu.user.percentage", 1763800080) == 62.5);
    assert_true(point_of(points, "interface.eth0.rxBytes.delta", 1763800080) == 0);
    json_decref(points);

    server_answers(&s, 503); /* the next minute fails, waits, and leaves with the one after it */
    clock.now_ms += 119000;
    turn_until_posts(a, &s, 2);
    while (!count_of(m, "carat_agent_posts_total", "result=\"refused\""))
        agent_turn(a, 10);
    agent_turn(a, 0);
    server_answers(&s, 200);
    clock.now_ms += 60000;
    agent_turn(a, 0);
    clock.now_ms += 60000;
    turn_until_posts(a, &s, 3);
    agent_ask_stop(a, 10000);
    while (agent_turn(a, 10))
        clock.now_ms += 1000;
    assert_int_equal(count_of(m, "carat_agent_posts_total", "result=\"refused\""), 1);
    assert_int_equal(count_of(m, "carat_agent_points_lost_total", "reason=\"stopped\""), 0);
    assert_true(count_of(m, "carat_agent_points_total", NULL) > 40);
    agent_free(a);
    server_free(&s);
    metrics_free(m);
    remove_dir(dir);
}

static void an_agent_whose_server_is_away_stops_in_time_and_counts(void **state)
{
    struct server s = {0};
    struct clock_fake clock;
    struct metrics *m = metrics_new();
    server_start(&s);
    clock_fake_init(&clock, 1763800030000);
    struct agent *a = agent_for(&s, "/proc", &clock.base, m);
    http_server_stop(s.http, 0);
    clock.now_ms = 1763800080000;
    while (!count_of(m, "carat_agent_posts_total", "result=\"network_error\""))
        agent_turn(a, 10);
    agent_ask_stop(a, 5000);
    while (agent_turn(a, 1))
        clock.now_ms += 100;
    assert_true(count_of(m, "carat_agent_posts_total", "result=\"network_error\"") >= 2);
    assert_true(count_of(m, "carat_agent_points_lost_total", "reason=\"stopped\"") > 5);
    agent_free(a);
    server_free(&s);
    metrics_free(m);
}

static void the_thread_starts_and_stops(void **state)
{
    struct server s = {0};
    struct metrics *m = metrics_new();
    struct err err = ERR_INIT;
    server_start(&s);
    struct agent *a = agent_for(&s, "/proc", NULL, m);
    assert_int_equal(agent_start(a, &err), OK);
    agent_stop(a, 5000);
    agent_free(a);
    server_free(&s);
    metrics_free(m);
}

static void wrong_settings_are_named(void **state)
{
    struct metrics *m = metrics_new();
    struct agent *a;
    struct err err = ERR_INIT;
    struct agent_options o = {.url = "localhost:8012", .host_id = "a", .metrics = m};
    assert_int_equal(agent_new(&o, &a, &err), ERR_INVALID);
    assert_non_null(strstr(err.text, "agent.url"));
    o.url = "http://localhost:8012";
    o.host_id = "a.b";
    assert_int_equal(agent_new(&o, &a, &err), ERR_INVALID);
    assert_non_null(strstr(err.text, "agent.host_id"));
    o.host_id = "a";
    o.api_key = "two\r\nlines";
    assert_int_equal(agent_new(&o, &a, &err), ERR_INVALID);
    assert_non_null(strstr(err.text, "agent.api_key"));
    metrics_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(proc_files_are_read),
        cmocka_unit_test(old_kernels_and_broken_files_are_borne),
        cmocka_unit_test(two_readings_make_metrics),
        cmocka_unit_test(this_machine_can_be_read),
        cmocka_unit_test(host_ids_last),
        cmocka_unit_test(the_second_of_a_host_is_mackerel_agents),
        cmocka_unit_test(a_healthy_server_gets_a_post_a_minute_at_the_hosts_second),
        cmocka_unit_test(a_backlog_drains_two_minutes_every_30_seconds),
        cmocka_unit_test(an_outage_of_hours_loses_the_newest_and_counts_them),
        cmocka_unit_test(there_is_always_room_for_what_comes_back),
        cmocka_unit_test(failed_batches_go_to_the_back_and_wait_a_minute),
        cmocka_unit_test(a_network_error_is_retried_once_at_once),
        cmocka_unit_test(a_batch_is_given_up_after_60_failures),
        cmocka_unit_test(stopping_posts_everything_a_second_apart),
        cmocka_unit_test(no_batch_is_lost_unseen),
        cmocka_unit_test(an_agent_posts_its_minutes),
        cmocka_unit_test(an_agent_whose_server_is_away_stops_in_time_and_counts),
        cmocka_unit_test(the_thread_starts_and_stops),
        cmocka_unit_test(wrong_settings_are_named),
    };
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
