/* The cold tier on a disk that loses power, fails and rots. */
#include "base/mem.h"
#include "cold/cold_files.h"
#include "fault/sim_fs.h"
#include "model/window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DIR_NAME SIM_ROOT "/cold"
#define MINUTE   60000u
#define SPAN     14400000ll
#define SERIES   6

static int try_open(struct sim_fs *sim, struct cold **c, struct err *err)
{
    struct cold_files_options o = {
        .cold = {.pack_bytes = 32 << 10}, .dir = DIR_NAME, .fs = sim_fs_base(sim), .create = true};
    return cold_files_open(&o, c, err);
}

static struct cold *open_cold(struct sim_fs *sim)
{
    struct cold *c = NULL;
    struct err err = ERR_INIT;
    if (try_open(sim, &c, &err) < 0)
        fail_msg("open: %s", err.text);
    return c;
}

/* --- what is done: additions, a merge, an expiry --- */

static int add_windows(struct cold *c, int64_t from, int64_t until, uint64_t hi, struct err *err)
{
    struct cold_add *a;
    char text[400];
    int rc = cold_add_begin(c, MINUTE, &a, err);
    if (rc < 0)
        return rc;
    for (uint32_t s = 1; s <= SERIES && rc == OK; s++)
        for (int64_t w = from; w < until && rc == OK; w++) {
            int n = snprintf(text, sizeof text, "`%u/%lld/%llu", s, (long long)w, (unsigned long long)hi);
            for (; n < 350; n++)
                text[n] = (char)(text[n - 3] * 7 + n * 31); /* long, and hard to pack */
            struct part p = {{s, MINUTE, w * SPAN, hi}, 1, (const uint8_t *)text, (size_t)n};
            rc = cold_add_part(a, &p, err);
        }
    if (rc < 0) {
        cold_add_abort(a);
        return rc;
    }
    return cold_add_commit(a, err);
}

#define DEEDS 7
static int deed(struct cold *c, int i, struct err *err)
{
    size_t merged;
    switch (i) {
    case 0:
        return add_windows(c, 0, 3, 5, err);
    case 1:
        return add_windows(c, 3, 5, 6, err);
    case 2:
        return add_windows(c, 2, 4, 9, err);
    case 3:
        return cold_compact(c, MINUTE, 2, NULL, NULL, &merged, err);
    case 4:
        return add_windows(c, 7, 8, 11, err);
    case 5:
        return cold_expire(c, MINUTE, 5 * SPAN, err);
    default:
        return add_windows(c, 7, 9, 12, err);
    }
}

static int print_part(void *ctx, const struct part *p)
{
    buf_printf(ctx, "%.*s ", p->size < 12 ? (int)p->size : 12, (const char *)p->data);
    assert_true(p->size > 12);
    return 0;
}

/* Everything there is, as text. */
static int contents(struct cold *c, struct buf *out, struct err *err)
{
    int rc = OK;
    for (uint32_t s = 0; s <= SERIES + 1; s++) {
        int one = cold_read(c, s, MINUTE, 0, INT64_MAX, print_part, out, err);
        rc = rc < 0 ? rc : one;
    }
    buf_str(out);
    return rc;
}

struct expected {
    struct buf after[DEEDS + 1]; /* [0]: before the first */
    uint64_t ops;                /* operations of the disk in all */
};

static void expect(struct expected *x)
{
    struct sim_fs *sim = sim_fs_new(1);
    struct cold *c = open_cold(sim);
    for (int i = 0; i <= DEEDS; i++) {
        struct err err = ERR_INIT;
        x->after[i] = (struct buf)BUF_INIT;
        assert_int_equal(contents(c, &x->after[i], &err), OK);
        if (i < DEEDS && deed(c, i, &err) < 0)
            fail_msg("deed %d: %s", i, err.text);
    }
    struct cold_stats s;
    cold_get_stats(c, &s);
    assert_int_equal(s.compactions, 1);
    assert_true(s.expired_packs > 0);
    x->ops = sim_fs_ops(sim);
    cold_free(c);
    sim_fs_free(sim);
}

static void expected_release(struct expected *x)
{
    for (int i = 0; i <= DEEDS; i++)
        buf_release(&x->after[i]);
}

static bool equal(const struct buf *a, const struct buf *b)
{
    return a->len == b->len && !memcmp(a->data, b->data, a->len);
}

static int count_name(void *ctx, const char *name)
{
    (void)name;
    ++*(size_t *)ctx;
    return 0;
}

/* That everything is as after one of two deeds, and nothing else lies about. */
static int check_either(struct sim_fs *sim, struct cold *c, const struct expected *x, int before, int after)
{
    struct buf got = BUF_INIT;
    struct err err = ERR_INIT;
    if (contents(c, &got, &err) != OK)
        fail_msg("deed %d: read: %s", before, err.text);
    int found = equal(&got, &x->after[after]) ? after : before;
    if (!equal(&got, &x->after[found]))
        fail_msg("deed %d: read \"%s\"", before, buf_str(&got));
    buf_release(&got);
    struct cold_verify_ctx v = {0};
    assert_int_equal(cold_verify(c, &v, &err), OK);
    size_t files = 0;
    struct cold_stats s;
    assert_int_equal(fs_list(sim_fs_base(sim), DIR_NAME, count_name, &files, NULL), OK);
    cold_get_stats(c, &s);
    assert_int_equal(files, s.packs + (s.generation ? 1 : 0));
    return found;
}

/* The power goes at the n-th operation of the disk, for every n. */
static void cut_at_every_operation(const struct expected *x, bool kill)
{
    for (uint64_t n = 1; n <= x->ops; n++) {
        struct sim_fs *sim = sim_fs_new(n * 77);
        struct cold *c = NULL;
        (kill ? sim_fs_kill_after : sim_fs_cut_after)(sim, n);
        int i = 0;
        if (try_open(sim, &c, NULL) == OK)
            while (i < DEEDS && deed(c, i, NULL) == OK)
                i++;
        cold_free(c);
        sim_fs_cut(sim);
        sim_fs_power_on(sim);
        c = open_cold(sim);
        i = check_either(sim, c, x, i, i < DEEDS ? i + 1 : i);
        /* and goes on from there */
        for (; i < DEEDS; i++)
            assert_int_equal(deed(c, i, NULL), OK);
        cold_free(c);
        c = open_cold(sim);
        check_either(sim, c, x, DEEDS, DEEDS);
        cold_free(c);
        sim_fs_free(sim);
    }
}

static void power_cuts_leave_the_old_or_the_new(void **state)
{
    cut_at_every_operation(*state, false);
}

static void kills_leave_the_old_or_the_new(void **state)
{
    cut_at_every_operation(*state, true);
}

/* One failing operation: the deed fails and nothing has changed, or the tier gives up and a start decides. */
static void one_fault(const struct expected *x, enum sim_fault kind, unsigned n, bool *hit)
{
    struct sim_fs *sim = sim_fs_new(n);
    struct cold *c = open_cold(sim);
    sim_fs_fail(sim, kind, n);
    int i = 0, rc = OK;
    while (i < DEEDS && (rc = deed(c, i, NULL)) == OK)
        i++;
    *hit = rc < 0;
    if (rc == ERR_FAILED) {
        assert_int_equal(deed(c, 0, NULL), ERR_FAILED);
        struct buf got = BUF_INIT;
        struct err err = ERR_INIT;
        assert_int_equal(contents(c, &got, &err), OK); /* reads go on */
        assert_true(equal(&got, &x->after[i]));
        buf_release(&got);
        cold_free(c);
        sim_fs_cut(sim);
        sim_fs_power_on(sim);
        c = open_cold(sim);
        i = check_either(sim, c, x, i, i + 1);
    } else if (rc < 0) {
        struct buf got = BUF_INIT;
        assert_int_equal(contents(c, &got, NULL), OK);
        assert_true(equal(&got, &x->after[i]));
        buf_release(&got);
    }
    for (; i < DEEDS; i++) {
        rc = deed(c, i, NULL);
        if (rc == ERR_CORRUPT ||
            rc == ERR_IO) { /* a merge whose source could not be read once leaves it alone */
            assert_int_equal(i, 3);
            assert_int_equal(deed(c, i, NULL), OK);
        } else {
            assert_int_equal(rc, OK);
        }
    }
    sim_fs_fail(sim, kind, 0);
    cold_free(c);
    c = open_cold(sim);
    /* Without the merge the expiry takes less or more; what is there has to be whole all the same. */
    struct cold_verify_ctx v = {0};
    assert_int_equal(cold_verify(c, &v, NULL), OK);
    cold_free(c);
    sim_fs_free(sim);
}

static void a_fault_changes_nothing_or_everything(void **state)
{
    for (int kind = 0; kind < SIM_FAULTS; kind++) {
        unsigned failed = 0;
        for (unsigned n = 1; n <= 60; n++) {
            bool hit;
            one_fault(*state, (enum sim_fault)kind, n, &hit);
            failed += hit;
        }
        assert_true(failed > 3);
    }
}

static void a_full_disk_is_told_and_survived(void **state)
{
    const struct expected *x = *state;
    for (uint64_t room = 0; room < 60000; room += 1500) {
        struct sim_fs *sim = sim_fs_new(room);
        struct cold *c = open_cold(sim);
        sim_fs_capacity(sim, room);
        int i = 0, rc = OK;
        struct err err = ERR_INIT;
        while (i < DEEDS && (rc = deed(c, i, &err)) == OK)
            i++;
        if (rc < 0)
            assert_int_equal(rc, ERR_NO_SPACE);
        sim_fs_capacity(sim, UINT64_MAX);
        for (; i < DEEDS; i++)
            assert_int_equal(deed(c, i, NULL), OK);
        cold_free(c);
        c = open_cold(sim);
        check_either(sim, c, x, DEEDS, DEEDS);
        cold_free(c);
        sim_fs_free(sim);
    }
}

/* --- a directory that cannot be synced --- */

/* The simulated disk, but the n-th rename or sync of the directory fails: done, or not, and not told. */
struct flaky {
    struct fs base;
    struct fs *inner;
    unsigned fail_in;
    bool done;
};

static struct flaky *flaky_of(struct fs *f)
{
    return container_of(f, struct flaky, base);
}
static bool flaky_hit(struct flaky *f)
{
    return f->fail_in && --f->fail_in == 0;
}
static int flaky_open(struct fs *f, const char *path, unsigned flags, struct fs_file **out, struct err *e)
{
    return fs_open(flaky_of(f)->inner, path, flags, out, e);
}
static int flaky_rename(struct fs *f, const char *from, const char *to, struct err *e)
{
    bool hit = flaky_hit(flaky_of(f));
    int rc = hit && !flaky_of(f)->done ? OK : fs_rename(flaky_of(f)->inner, from, to, e);
    return hit && rc == OK ? err_set(e, ERR_IO, "rename: simulated fault") : rc;
}
static int flaky_unlink(struct fs *f, const char *path, struct err *e)
{
    return fs_unlink(flaky_of(f)->inner, path, e);
}
static int flaky_mkdir(struct fs *f, const char *path, struct err *e)
{
    return fs_mkdir(flaky_of(f)->inner, path, e);
}
static int flaky_list(struct fs *f, const char *dir, fs_list_fn fn, void *ctx, struct err *e)
{
    return fs_list(flaky_of(f)->inner, dir, fn, ctx, e);
}
static int flaky_sync_dir(struct fs *f, const char *dir, struct err *e)
{
    bool hit = flaky_hit(flaky_of(f));
    int rc = hit && !flaky_of(f)->done ? OK : fs_sync_dir(flaky_of(f)->inner, dir, e);
    return hit && rc == OK ? err_set(e, ERR_IO, "sync: simulated fault") : rc;
}
static int flaky_free_bytes(struct fs *f, const char *path, uint64_t *out, struct err *e)
{
    return fs_free_bytes(flaky_of(f)->inner, path, out, e);
}

/* Whichever manifest a power cut then leaves, its packs are there. */
static void one_flaky_switch(const struct expected *x, unsigned n, bool done, bool cut, unsigned *gave_up)
{
    static const struct fs_ops ops = {flaky_open, flaky_rename,   flaky_unlink,    flaky_mkdir,
                                      flaky_list, flaky_sync_dir, flaky_free_bytes};
    struct sim_fs *sim = sim_fs_new(n * 13);
    struct flaky f = {{&ops}, sim_fs_base(sim), 0, done};
    struct cold_files_options o = {
        .cold = {.pack_bytes = 32 << 10}, .dir = DIR_NAME, .fs = &f.base, .create = true};
    struct cold *c;
    assert_int_equal(cold_files_open(&o, &c, NULL), OK);
    f.fail_in = n;
    int i = 0, rc = OK;
    while (i < DEEDS && (rc = deed(c, i, NULL)) == OK)
        i++;
    if (rc == ERR_FAILED) {
        ++*gave_up;
        assert_int_equal(deed(c, 0, NULL), ERR_FAILED); /* nothing is changed any more, and reads go on */
        struct buf got = BUF_INIT;
        assert_int_equal(contents(c, &got, NULL), OK);
        assert_true(equal(&got, &x->after[i]));
        buf_release(&got);
    } else if (rc < 0) {
        assert_int_equal(rc, ERR_IO);
    }
    cold_free(c);
    if (cut) {
        sim_fs_cut(sim);
        sim_fs_power_on(sim);
    }
    c = open_cold(sim);
    check_either(sim, c, x, i, i < DEEDS ? i + 1 : i);
    cold_free(c);
    sim_fs_free(sim);
}

static void a_switch_that_failed_half_way_ends_the_changes(void **state)
{
    unsigned gave_up = 0;
    for (unsigned n = 1; n <= 20; n++)
        for (int how = 0; how < 4; how++)
            one_flaky_switch(*state, n, how & 1, how & 2, &gave_up);
    assert_true(gave_up > 20);
}

/* --- rot --- */

struct told {
    size_t n;
    bool names_series;
};

static void note_damage(void *ctx, const struct cold_damage *d)
{
    struct told *t = ctx;
    t->n++;
    t->names_series |= d->in_page;
    assert_true(d->why.code != OK && d->why.text[0]);
}

static int first_pack(void *ctx, const struct pack_info *p)
{
    *(struct pack_info *)ctx = *p;
    return 1;
}

/* No damaged byte goes unnoticed, and no read is short without saying so. */
static void every_byte_of_a_pack_is_guarded(void **state)
{
    (void)state;
    struct sim_fs *sim = sim_fs_new(3);
    struct cold *c = open_cold(sim);
    struct pack_info info;
    struct buf whole = BUF_INIT;
    char path[100];
    assert_int_equal(add_windows(c, 3, 4, 5, NULL), OK);
    assert_int_equal(cold_list(c, first_pack, &info), 1);
    assert_int_equal(contents(c, &whole, NULL), OK);
    cold_free(c);
    snprintf(path, sizeof path, DIR_NAME "/%016llx.pack", (unsigned long long)info.id);
    for (uint64_t off = 0; off < info.bytes; off++) {
        struct buf got = BUF_INIT;
        struct told told = {0};
        struct cold_verify_ctx v = {.ctx = &told, .damage = note_damage};
        assert_true(sim_fs_flip(sim, path, off, (uint8_t)(1u << off % 8)));
        c = open_cold(sim);
        struct err err = ERR_INIT;
        int rc = contents(c, &got, &err);
        if (rc == OK && !equal(&got, &whole))
            fail_msg("byte %llu: read short and did not say so", (unsigned long long)off);
        assert_true(got.len <= whole.len);
        assert_true(rc == OK || rc == ERR_CORRUPT || rc == ERR_UNSUPPORTED);
        assert_int_equal(cold_verify(c, &v, NULL), ERR_CORRUPT);
        assert_true(told.n > 0);
        cold_free(c);
        buf_release(&got);
        assert_true(sim_fs_flip(sim, path, off, (uint8_t)(1u << off % 8)));
    }
    buf_release(&whole);
    sim_fs_free(sim);
}

#define WINDOWS 4 /* of each series in the pack that is healed */

struct healed {
    bool there[SERIES + 1][WINDOWS], told[SERIES + 1][WINDOWS];
    size_t asked;
    bool answer;
};

static int note_part(void *ctx, const struct part *p)
{
    struct healed *h = ctx;
    h->there[p->key.series][p->key.window_ms / SPAN] = true;
    return 0;
}

static bool note_asked(void *ctx, const struct cold_damage *d)
{
    struct healed *h = ctx;
    h->asked++;
    for (uint32_t s = d->series; s <= d->last_series; s++)
        for (int64_t w = d->from_ms / SPAN; w < d->until_ms / SPAN; w++)
            h->told[s][w] = true;
    return h->answer;
}

static void read_all(struct cold *c, struct healed *h)
{
    memset(h->there, 0, sizeof h->there);
    for (uint32_t s = 1; s <= SERIES; s++)
        (void)!cold_read(c, s, MINUTE, 0, INT64_MAX, note_part, h, NULL);
}

/* Whatever is hit: who is asked is told of all that is missing; the pack without it has all the rest. */
static void a_damaged_pack_is_healed_if_all_is_covered(void **state)
{
    (void)state;
    struct sim_fs *sim = sim_fs_new(3);
    struct cold *c = open_cold(sim);
    struct pack_info info;
    char path[100];
    assert_int_equal(add_windows(c, 0, WINDOWS, 5, NULL), OK);
    assert_int_equal(cold_list(c, first_pack, &info), 1);
    for (uint64_t off = 0; off < info.bytes; off += 7) {
        struct healed h = {0}, after = {0};
        struct cold_verify_ctx v = {0};
        bool healed = true;
        assert_int_equal(cold_list(c, first_pack, &info), 1);
        cold_free(c);
        snprintf(path, sizeof path, DIR_NAME "/%016llx.pack", (unsigned long long)info.id);
        assert_true(sim_fs_flip(sim, path, off, 0x10));
        c = open_cold(sim);
        read_all(c, &h);
        assert_int_equal(cold_heal(c, info.id, note_asked, &h, &healed, NULL), OK);
        assert_true(!healed && h.asked);
        assert_int_equal(cold_verify(c, &v, NULL), ERR_CORRUPT);
        h.answer = true;
        assert_int_equal(cold_heal(c, info.id, note_asked, &h, &healed, NULL), OK);
        assert_true(healed);
        assert_int_equal(cold_verify(c, &v, NULL), OK);
        read_all(c, &after);
        assert_memory_equal(after.there, h.there, sizeof h.there);
        for (uint32_t s = 1; s <= SERIES; s++)
            for (int w = 0; w < WINDOWS; w++)
                assert_true(h.there[s][w] || h.told[s][w]);
        assert_int_equal(cold_expire(c, MINUTE, 100 * SPAN, NULL), OK); /* and anew */
        assert_int_equal(add_windows(c, 0, WINDOWS, 5, NULL), OK);
    }
    cold_free(c);
    sim_fs_free(sim);
}

static void a_damaged_or_short_manifest_is_refused(void **state)
{
    (void)state;
    struct sim_fs *sim = sim_fs_new(3);
    struct cold *c = open_cold(sim);
    assert_int_equal(add_windows(c, 3, 4, 5, NULL), OK);
    cold_free(c);
    struct fs_file *f;
    uint64_t size;
    assert_int_equal(fs_open(sim_fs_base(sim), DIR_NAME "/manifest", 0, &f, NULL), OK);
    assert_int_equal(fs_size(f, &size, NULL), OK);
    for (uint64_t off = 0; off < size; off++) {
        struct err err = ERR_INIT;
        assert_true(sim_fs_flip(sim, DIR_NAME "/manifest", off, 0x20));
        assert_int_equal(try_open(sim, &c, &err), ERR_CORRUPT);
        assert_non_null(strstr(err.text, DIR_NAME));
        assert_true(sim_fs_flip(sim, DIR_NAME "/manifest", off, 0x20));
    }
    c = open_cold(sim); /* and no pack was taken for an orphan meanwhile */
    struct cold_verify_ctx v = {0};
    assert_int_equal(cold_verify(c, &v, NULL), OK);
    cold_free(c);
    assert_int_equal(fs_truncate(f, size - 1, NULL), OK);
    assert_int_equal(try_open(sim, &c, NULL), ERR_CORRUPT);
    assert_int_equal(fs_truncate(f, 0, NULL), OK);
    assert_int_equal(try_open(sim, &c, NULL), ERR_CORRUPT);
    fs_close(f);
    sim_fs_free(sim);
}

/* Damage is not merged away: what can still be saved stays. */
static void a_damaged_pack_is_not_merged(void **state)
{
    (void)state;
    struct sim_fs *sim = sim_fs_new(3);
    struct cold *c = open_cold(sim);
    struct pack_info info;
    char path[100];
    size_t merged = 9;
    assert_int_equal(deed(c, 0, NULL), OK);
    assert_int_equal(cold_list(c, first_pack, &info), 1);
    snprintf(path, sizeof path, DIR_NAME "/%016llx.pack", (unsigned long long)info.id);
    assert_true(sim_fs_flip(sim, path, info.bytes / 2, 1));
    for (int i = 0; i < 3; i++)
        assert_int_equal(add_windows(c, 3 + i, 4 + i, 5, NULL), OK);
    struct err err = ERR_INIT;
    assert_int_equal(cold_compact(c, MINUTE, 2, NULL, NULL, &merged, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.text, "pack 0000000000000000"));
    assert_int_equal(merged, 0);
    assert_int_equal(cold_compact(c, MINUTE, 2, NULL, NULL, &merged, &err), OK);
    assert_true(merged >= 3);
    assert_int_equal(cold_list(c, first_pack, &info), 1);
    assert_int_equal(info.id, 0);
    cold_free(c);
    sim_fs_free(sim);
}

static int group_setup(void **state)
{
    struct expected *x = xcalloc(1, sizeof *x);
    expect(x);
    *state = x;
    return 0;
}

static int group_teardown(void **state)
{
    expected_release(*state);
    free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(power_cuts_leave_the_old_or_the_new),
        cmocka_unit_test(kills_leave_the_old_or_the_new),
        cmocka_unit_test(a_fault_changes_nothing_or_everything),
        cmocka_unit_test(a_full_disk_is_told_and_survived),
        cmocka_unit_test(a_switch_that_failed_half_way_ends_the_changes),
        cmocka_unit_test(every_byte_of_a_pack_is_guarded),
        cmocka_unit_test(a_damaged_pack_is_healed_if_all_is_covered),
        cmocka_unit_test(a_damaged_or_short_manifest_is_refused),
        cmocka_unit_test(a_damaged_pack_is_not_merged),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
