/* The hot tier on a real Redis Cluster: the conformance suite, and what only this backend can meet. Started
 * by tests/system/with_server.py. */
#include "hot/hot_redis.h"

#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "hot/hot_redis_format.h"
#include "redis/redis_cluster.h"
#include "tier/hot_conformance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static unsigned spaces;

static const char *name_of(void *ctx, uint32_t series, size_t *len)
{
    static _Thread_local char name[64];
    *len = (size_t)snprintf(name, sizeof name, "host.h%u.custom.metric.%u", series / 3, series);
    return name;
}

static uint32_t series_of(void *ctx, const char *name, size_t len)
{
    const char *dot = memrchr(name, '.', len);
    return dot ? (uint32_t)strtoul(dot + 1, NULL, 10) : 0;
}

static const char *nodes(void)
{
    static char text[1024];
    const char *all = getenv("CARAT_TEST_REDIS");
    size_t n = 0;
    if (!all) {
        fprintf(stderr, "run me by tests/system/with_server.py redis\n");
        exit(2);
    }
    for (const char *p = all; *p && n + 64 < sizeof text;) {
        const char *colon = strchr(strchr(p, ':') + 1, ':');
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%.*s", n ? "," : "", (int)(colon - p), p);
        p += strcspn(p, ",");
        p += *p == ',';
    }
    return text;
}

static struct hot *open_hot(unsigned partitions, const char *prefix)
{
    const struct hot_redis_options o = {.nodes = nodes(),
                                        .prefix = prefix,
                                        .host_levels = 2,
                                        .partitions = partitions,
                                        .name_of = name_of,
                                        .series_of = series_of,
                                        .clock = clock_system()};
    struct hot *h = NULL;
    struct err err = ERR_INIT;
    if (hot_redis_open(&o, &h, &err) != OK)
        fail_msg("%s", err.text);
    return h;
}

static struct hot *open_fresh(unsigned partitions)
{
    char prefix[32];
    snprintf(prefix, sizeof prefix, "t%u:", ++spaces);
    return open_hot(partitions, prefix);
}

/* --- a stream and its writer, in short -------------------------------------------------------------------
 */

#define STEP 60000u
#define SPAN (240 * (int64_t)STEP)
#define T0   (SPAN * 1000)

#define SERIES  40
#define WINDOWS 2
#define RECORDS 4000

struct record {
    struct hot_point points[8];
    size_t n;
};

struct world {
    struct hot *h;
    struct redis_cluster *raw; /* plays the failures */
    char prefix[32];
    struct record *records; /* position p is records[p - 1] */
    uint64_t n, applied;
    unsigned times_back;
    struct {
        bool present[SERIES][WINDOWS][240];
        double value[SERIES][WINDOWS][240];
    } * model;
};

static int make_world(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    struct err err = ERR_INIT;
    const struct redis_cluster_options o = {.nodes = nodes(), .clock = clock_system()};
    snprintf(w->prefix, sizeof w->prefix, "t%u:", ++spaces);
    w->h = open_hot(1, w->prefix);
    w->records = xcalloc(RECORDS, sizeof *w->records);
    w->model = xcalloc(1, sizeof *w->model);
    assert_int_equal(redis_cluster_new(&o, &w->raw, &err), OK);
    *state = w;
    return 0;
}

static int end_world(void **state)
{
    struct world *w = *state;
    hot_free(w->h);
    redis_cluster_free(w->raw);
    free(w->records);
    free(w->model);
    free(w);
    return 0;
}

/* A record into the stream. */
static void append(struct world *w, const struct hot_point *points, size_t n)
{
    assert_true(w->n < RECORDS && n <= 8);
    struct record *r = &w->records[w->n++];
    r->n = n;
    memcpy(r->points, points, n * sizeof *points);
    for (size_t i = 0; i < n; i++) {
        int64_t window = (points[i].ts_ms - T0) / SPAN, slot = (points[i].ts_ms - T0) % SPAN / STEP;
        w->model->present[points[i].series - 1][window][slot] = true;
        w->model->value[points[i].series - 1][window][slot] = points[i].value;
    }
}

static void append_one(struct world *w, uint32_t series, uint32_t slot, double value)
{
    append(w, &(struct hot_point){series, STEP, T0 + (int64_t)slot * STEP, value}, 1);
}

static void go_back(struct world *w)
{
    struct err err = ERR_INIT;
    uint64_t from;
    assert_int_equal(hot_again(w->h, 0, 0, &from, &err), OK);
    if (from < w->applied) {
        w->applied = from;
        w->times_back++;
    }
}

/* What a lane of the writer does. */
static void apply_all(struct world *w)
{
    int64_t until = clock_mono_ms(clock_system()) + 30000;
    while (w->applied < w->n || hot_lost(w->h, 0)) {
        struct err err = ERR_INIT;
        if (hot_lost(w->h, 0))
            go_back(w);
        if (w->applied == w->n)
            continue;
        const struct record *r = &w->records[w->applied];
        int rc = hot_apply(w->h, 0, w->applied + 1, r->points, r->n, &err);
        if (rc == OK)
            w->applied++;
        else if (rc == 1)
            go_back(w);
        else if (clock_mono_ms(clock_system()) > until)
            fail_msg("%s", err.text);
    }
}

static int count_window(void *ctx, const struct hot_window *win)
{
    struct {
        struct world *w;
        uint32_t series;
        size_t points;
    } *c = ctx;
    size_t window = (size_t)((win->window_ms - T0) / SPAN);
    for (uint32_t i = 0; i < 240; i++) {
        if (!slot_get(win->slots.present, i))
            continue;
        c->points++;
        if (!c->w->model->present[c->series - 1][window][i])
            fail_msg("series %u window %zu slot %u was never written", c->series, window, i);
        if (c->w->model->value[c->series - 1][window][i] != win->slots.value[i])
            fail_msg("series %u window %zu slot %u: %g, not %g", c->series, window, i, win->slots.value[i],
                     c->w->model->value[c->series - 1][window][i]);
    }
    return 0;
}

/* Everything that was appended is read, and nothing else. */
static void check(struct world *w)
{
    for (uint32_t s = 1; s <= SERIES; s++) {
        struct {
            struct world *w;
            uint32_t series;
            size_t points;
        } c = {w, s, 0};
        struct err err = ERR_INIT;
        size_t wanted = 0;
        if (hot_read(w->h, s, STEP, 0, INT64_MAX, count_window, &c, &err) != OK)
            fail_msg("series %u: %s", s, err.text);
        for (size_t i = 0; i < WINDOWS * 240; i++)
            wanted += ((bool *)w->model->present[s - 1])[i];
        if (c.points != wanted)
            fail_msg("series %u: %zu points read, %zu expected", s, c.points, wanted);
    }
}

/* --- playing the failures --------------------------------------------------------------------------------
 */

static void window_key(struct world *w, uint32_t series, int window, char key[128])
{
    struct buf text = BUF_INIT, out = BUF_INIT;
    const struct hot_redis_naming naming = {w->prefix, 2};
    size_t len;
    const char *name = name_of(NULL, series, &len);
    hot_redis_put_series(&naming, STEP, name, len, &text);
    hot_redis_put_window_key(&naming, (const char *)text.data, text.len, T0 + window * SPAN, 0, &out);
    snprintf(key, 128, "%s", buf_str(&out));
    buf_release(&text);
    buf_release(&out);
}

struct answer {
    bool nil;
    long long integer;
    struct buf text;
};

static void keep_answer(void *ctx, size_t i, const redisReply *reply)
{
    struct answer *a = ctx;
    if (reply->type == REDIS_REPLY_ERROR)
        fail_msg("%s", reply->str);
    a->nil = reply->type == REDIS_REPLY_NIL;
    a->integer = reply->integer;
    if (reply->type == REDIS_REPLY_STRING)
        buf_append(&a->text, reply->str, reply->len);
}

/* One command for a key. */
static void command(struct world *w, struct answer *a, const char *verb, const char *key, const void *value,
                    size_t n)
{
    struct redis_batch b = REDIS_BATCH_INIT;
    struct err err = ERR_INIT;
    *a = (struct answer){.text = BUF_INIT};
    redis_batch_begin(&b, redis_slot(key, strlen(key)), value ? 3 : 2);
    redis_batch_str(&b, verb);
    redis_batch_str(&b, key);
    if (value)
        redis_batch_arg(&b, value, n);
    if (redis_cluster_exec(w->raw, &b, REDIS_FOLLOW, keep_answer, a, &err) != OK)
        fail_msg("%s", err.text);
    redis_batch_release(&b);
}

static void ignore(void *ctx, size_t i, const redisReply *reply) {}

static void on_every_master(struct world *w, const char *a, const char *b, const char *c)
{
    unsigned masters[16];
    struct redis_batch batch = REDIS_BATCH_INIT;
    struct err err = ERR_INIT;
    assert_int_equal(redis_cluster_refresh(w->raw, &err), OK);
    size_t n = redis_cluster_masters(w->raw, masters, 16);
    assert_true(n >= 3);
    redis_batch_begin(&batch, 0, c ? 3 : 2);
    redis_batch_str(&batch, a);
    redis_batch_str(&batch, b);
    if (c)
        redis_batch_str(&batch, c);
    for (size_t i = 0; i < n; i++)
        (void)!redis_cluster_exec_on(w->raw, masters[i], &batch, ignore, NULL, &err);
    redis_batch_release(&batch);
}

/* Every connection breaks, as when masters fail over. */
static void break_connections(struct world *w)
{
    struct redis_batch b = REDIS_BATCH_INIT;
    unsigned masters[16];
    struct err err = ERR_INIT;
    assert_int_equal(redis_cluster_refresh(w->raw, &err), OK);
    size_t n = redis_cluster_masters(w->raw, masters, 16);
    redis_batch_begin(&b, 0, 4);
    redis_batch_str(&b, "CLIENT");
    redis_batch_str(&b, "KILL");
    redis_batch_str(&b, "TYPE");
    redis_batch_str(&b, "normal");
    for (size_t i = 0; i < n; i++)
        (void)!redis_cluster_exec_on(w->raw, masters[i], &b, ignore, NULL, &err);
    redis_batch_release(&b);
}

/* A copy of a window as it is now, and later that copy instead of it: a replica that missed the rest. */
struct past {
    char key[128];
    struct answer was;
};

static struct past remember(struct world *w, uint32_t series, int window)
{
    struct past p;
    window_key(w, series, window, p.key);
    command(w, &p.was, "GET", p.key, NULL, 0);
    return p;
}

static void bring_back(struct world *w, struct past *p)
{
    struct answer a;
    if (p->was.nil)
        command(w, &a, "DEL", p->key, NULL, 0);
    else
        command(w, &a, "SET", p->key, p->was.text.data, p->was.text.len);
    buf_release(&a.text);
    buf_release(&p->was.text);
}

static int ignore_window(void *ctx, const struct hot_window *win)
{
    return 0;
}

/* --- cases -----------------------------------------------------------------------------------------------
 */

static void points_lost_in_a_failover_are_asked_for_again(void **state)
{
    struct world *w = *state;
    for (uint32_t i = 0; i < 10; i++)
        append_one(w, 1 + i % 2, i, i);
    apply_all(w);
    struct past old = remember(w, 1, 0), none = remember(w, 3, 0);
    for (uint32_t i = 10; i < 20; i++)
        append_one(w, 1 + i % 3, i, i);
    apply_all(w);
    bring_back(w, &old);
    bring_back(w, &none);
    break_connections(w);
    struct err err = ERR_INIT;
    struct hot_point next = {2, STEP, T0 + 100 * STEP, 7};
    uint64_t lo, from;
    assert_int_equal(hot_apply(w->h, 0, 21, &next, 1, &err), 1);
    assert_true(hot_lost(w->h, 0));
    assert_int_equal(hot_apply(w->h, 0, 21, &next, 1, &err), 1);
    assert_int_equal(hot_read(w->h, 2, STEP, 0, INT64_MAX, ignore_window, NULL, &err), ERR_BUSY);
    assert_int_equal(hot_again(w->h, 0, 0, &from, &err), OK);
    assert_true(from == 8); /* series 1 was last written at 9, and its record may be there in part */
    assert_int_equal(hot_oldest(w->h, 0, &lo, &err), OK);
    assert_true(lo == 1);
    w->applied = from;
    append(w, &next, 1);
    apply_all(w);
    check(w);
}

static void the_checkpoint_stays_before_what_is_lost(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    uint64_t lo;
    struct past none = remember(w, 1, 0);
    append_one(w, 2, 0, 1);
    for (uint32_t i = 0; i < 4; i++)
        append_one(w, 1 + i / 2, i, i);
    apply_all(w);
    struct hot_taken t = HOT_TAKEN_INIT, none_left = HOT_TAKEN_INIT;
    uint32_t cursor = 0;
    const struct hot_due all = {.all = true};
    assert_int_equal(hot_take(w->h, 0, &all, &cursor, 1000, &t, &err), OK);
    assert_int_equal(t.n, 2);
    t.n--;
    assert_int_equal(hot_release(w->h, 0, &t, NULL, &err), OK); /* series 1 leaves, series 2 stays */
    none.was.nil = true;
    window_key(w, 2, 0, none.key);
    bring_back(w, &none);
    assert_int_equal(hot_take(w->h, 0, &all, &cursor, 1000, &none_left, &err), OK);
    assert_int_equal(none_left.n, 0);
    assert_true(hot_lost(w->h, 0));
    assert_int_equal(hot_release(w->h, 0, &t, NULL, &err), ERR_BUSY);
    assert_int_equal(hot_oldest(w->h, 0, &lo, &err), OK);
    assert_true(lo <= 1);
    go_back(w);
    assert_int_equal(w->applied, 0);
    assert_int_equal(hot_oldest(w->h, 0, &lo, &err), OK);
    assert_true(lo <= 1);
    apply_all(w);
    check(w);
    hot_taken_release(&t);
    hot_taken_release(&none_left);
}

static void a_loss_without_any_other_sign_is_noticed_when_writing(void **state)
{
    struct world *w = *state;
    append_one(w, 1, 0, 1);
    apply_all(w);
    struct past old = remember(w, 1, 0);
    append_one(w, 1, 0, 2);
    append_one(w, 1, 1, 3);
    apply_all(w);
    bring_back(w, &old);
    append_one(w, 1, 2, 4);
    apply_all(w);
    assert_true(w->times_back > 0);
    check(w);
}

static void a_read_never_says_less_than_was_acknowledged(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    append_one(w, 1, 0, 1);
    apply_all(w);
    struct past old = remember(w, 1, 0);
    append_one(w, 1, 1, 2);
    apply_all(w);
    bring_back(w, &old);
    assert_int_equal(hot_read(w->h, 1, STEP, 0, INT64_MAX, ignore_window, NULL, &err), ERR_BUSY);
    assert_true(hot_lost(w->h, 0));
    apply_all(w);
    check(w);
    /* And one that is gone altogether. */
    struct past none = {.was = {.nil = true}};
    window_key(w, 1, 0, none.key);
    bring_back(w, &none);
    assert_int_equal(hot_read(w->h, 1, STEP, 0, INT64_MAX, ignore_window, NULL, &err), ERR_BUSY);
    apply_all(w);
    check(w);
}

static void broken_connections_alone_cost_nothing(void **state)
{
    struct world *w = *state;
    for (uint32_t i = 0; i < 200; i++) {
        append_one(w, 1 + i % SERIES, i, i);
        if (i % 20 == 0)
            break_connections(w);
        apply_all(w);
    }
    assert_int_equal(w->times_back, 0);
    check(w);
}

static void restart(struct world *w, uint64_t checkpoint)
{
    struct err err = ERR_INIT;
    hot_free(w->h);
    w->h = open_hot(1, w->prefix);
    assert_int_equal(hot_begin(w->h, 0, checkpoint, &err), OK);
    w->applied = checkpoint;
}

static double value_of(struct hot *h, uint32_t series, uint32_t slot);

static void a_restarted_writer_goes_on_with_what_is_there(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    append_one(w, 1, 5, 1);
    append_one(w, 1, 5, 2);
    append_one(w, 1, 6, 3);
    apply_all(w);
    restart(w, 0);
    /* The stream from the checkpoint on: what the window has already does not come back. */
    assert_int_equal(hot_apply(w->h, 0, 1, w->records[0].points, 1, &err), OK);
    assert_true(value_of(w->h, 1, 5) == 2);
    w->applied = 1;
    append_one(w, 1, 7, 4);
    apply_all(w);
    check(w);
}

static int pick_value(void *ctx, const struct hot_window *win)
{
    struct {
        uint32_t slot;
        double value;
    } *p = ctx;
    if (slot_get(win->slots.present, p->slot))
        p->value = win->slots.value[p->slot];
    return 0;
}

static double value_of(struct hot *h, uint32_t series, uint32_t slot)
{
    struct {
        uint32_t slot;
        double value;
    } p = {slot, -1};
    struct err err = ERR_INIT;
    assert_int_equal(hot_read(h, series, STEP, 0, INT64_MAX, pick_value, &p, &err), OK);
    return p.value;
}

static struct hot_taken take_everything(struct world *w)
{
    struct hot_taken t = HOT_TAKEN_INIT;
    struct err err = ERR_INIT;
    uint32_t cursor = 0;
    if (hot_take(w->h, 0, &(struct hot_due){.all = true}, &cursor, 1000, &t, &err) != OK)
        fail_msg("%s", err.text);
    return t;
}

static void what_a_dead_writer_left_is_found_and_flushed(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    uint64_t found;
    size_t released;
    append_one(w, 1, 0, 1);
    append_one(w, 2, 0, 2);
    append_one(w, 3, 0, 3);
    apply_all(w);
    restart(w, 2); /* what was applied up to 2 is in warm */
    assert_int_equal(hot_redis_clean(w->h, &found, &err), OK);
    assert_int_equal(found, 2); /* series 3 is still to be applied */
    struct hot_taken t = take_everything(w);
    assert_int_equal(t.n, 2);
    assert_true(t.parts[0].key.hi <= 2 && t.tokens[0].points == 1);
    assert_int_equal(hot_release(w->h, 0, &t, &released, &err), OK);
    assert_int_equal(released, 2);
    hot_taken_release(&t);
    assert_int_equal(hot_redis_clean(w->h, &found, &err), OK);
    assert_int_equal(found, 0);
    apply_all(w);
    assert_true(value_of(w->h, 3, 0) == 3);
}

static void a_late_point_does_not_build_on_what_left_before(void **state)
{
    struct world *w = *state;
    append_one(w, 1, 0, 1);
    append_one(w, 1, 1, 2);
    apply_all(w);
    restart(w, 2); /* as if its deletion had been undone by a failover */
    append_one(w, 1, 2, 3);
    apply_all(w);
    struct hot_taken t = take_everything(w);
    assert_int_equal(t.n, 1);
    assert_true(t.parts[0].lo == 3 && t.parts[0].key.hi == 3 && t.tokens[0].points == 1);
    hot_taken_release(&t);
}

static void a_window_that_changed_elsewhere_is_not_deleted(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    struct answer a;
    size_t released;
    char key[128];
    append_one(w, 1, 0, 1);
    append_one(w, 2, 0, 1);
    apply_all(w);
    on_every_master(w, "SCRIPT", "FLUSH", NULL); /* the script is sent again */
    struct hot_taken t = take_everything(w);
    assert_int_equal(t.n, 2);
    uint8_t hi[8];
    put_u64be(hi, 9);
    window_key(w, 2, 0, key);
    struct past was = remember(w, 2, 0);
    memcpy(was.was.text.data + 16, hi, 8);
    bring_back(w, &was);
    assert_int_equal(hot_release(w->h, 0, &t, &released, &err), OK);
    assert_int_equal(released, 1);
    hot_taken_release(&t);
    command(w, &a, "EXISTS", key, NULL, 0);
    assert_int_equal(a.integer, 1);
}

/* Deletions, writes, failovers that lose a part, restarts of the writer, broken connections, in any order. */
static void random_failures_lose_and_double_nothing(void **state)
{
    struct world *w = *state;
    unsigned seed = (unsigned)clock_mono_us(clock_system());
    print_message("# seed %u\n", seed);
    srand(seed);
    int steps = getenv("CARAT_LONG") ? 20000 : 600;
    struct past past[8] = {0};
    size_t npast = 0;
    for (int step = 0; step < steps && w->n < RECORDS; step++) {
        struct hot_point p[8];
        size_t n = 1 + (size_t)rand() % 8;
        for (size_t i = 0; i < n; i++)
            p[i] = (struct hot_point){1 + (uint32_t)rand() % SERIES, STEP,
                                      T0 + rand() % WINDOWS * SPAN + rand() % 240 * (int64_t)STEP,
                                      rand() % 1000};
        append(w, p, n);
        apply_all(w);
        switch (rand() % 30) {
        case 0 ... 7:
            if (npast < 8)
                past[npast++] = remember(w, 1 + (uint32_t)rand() % SERIES, rand() % WINDOWS);
            break;
        case 8: /* a failover: all that was remembered comes back, noticed or not */
            while (npast)
                bring_back(w, &past[--npast]);
            if (rand() % 2)
                break_connections(w);
            break;
        case 9:
            break_connections(w);
            break;
        case 10:
            while (npast)
                buf_release(&past[--npast].was.text);
            restart(w, 0);
            apply_all(w);
            check(w);
            break;
        default:
            break;
        }
    }
    while (npast)
        bring_back(w, &past[--npast]);
    break_connections(w);
    append_one(w, 1, 0, 5);
    apply_all(w);
    check(w);
    print_message("# %llu records, went back %u times\n", (unsigned long long)w->n, w->times_back);
}

/* One list of cases a run. */
int main(int argc, char **argv)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, make_world, end_world)
    const struct CMUnitTest cases[] = {
        CASE(points_lost_in_a_failover_are_asked_for_again),
        CASE(the_checkpoint_stays_before_what_is_lost),
        CASE(a_loss_without_any_other_sign_is_noticed_when_writing),
        CASE(a_read_never_says_less_than_was_acknowledged),
        CASE(broken_connections_alone_cost_nothing),
        CASE(a_restarted_writer_goes_on_with_what_is_there),
        CASE(what_a_dead_writer_left_is_found_and_flushed),
        CASE(a_late_point_does_not_build_on_what_left_before),
        CASE(a_window_that_changed_elsewhere_is_not_deleted),
        CASE(random_failures_lose_and_double_nothing),
    };
    log_set_level(LOG_ERROR);
    if (argc > 1 && !strcmp(argv[1], "faults"))
        return cmocka_run_group_tests_name("hot_redis_faults", cases, NULL, NULL);
    return hot_conformance("hot_redis", open_fresh);
}
