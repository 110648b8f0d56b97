#include "codec/codec.h"
#include "warm/warm_fault.h"
#include "warm/warm_mem.h"
#include "writer/merge.h"
#include "writer/positions.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define WINDOW 14400000ll

/* A part of window 14400000 with the given slots all set to `v`. */
static struct part part_of(struct buf *bytes, uint64_t lo, uint64_t hi, double v, const int *slots, size_t n)
{
    struct slots s;
    slots_init(&s, 240);
    for (size_t i = 0; i < n; i++) {
        slot_set(s.present, (size_t)slots[i]);
        s.value[slots[i]] = v;
    }
    buf_clear(bytes);
    codec_encode(&(struct codec_in){s.n, s.present, s.value}, bytes);
    return (struct part){.key = {7, 60000, WINDOW, hi}, .lo = lo, .data = bytes->data, .size = bytes->len};
}

static void store(struct warm *w, const struct part *p)
{
    struct err err = ERR_INIT;
    assert_int_equal(warm_put(w, p, 1, NULL, 0, &err), OK);
}

static void decode(const struct part *p, struct slots *s)
{
    struct err err = ERR_INIT;
    slots_init(s, 240);
    assert_int_equal(codec_decode(p->data, p->size, 240, s->present, s->value, &err), OK);
}

struct fixture {
    struct warm *warm;
    struct buf a, b, c, blocks;
    struct merge_keys remove;
    struct part out;
    bool in_blocks;
};

static struct fixture fixture(void)
{
    return (struct fixture){.warm = warm_mem_new(NULL)};
}

static void merge(struct fixture *f, const struct part *p)
{
    struct err err = ERR_INIT;
    buf_clear(&f->blocks);
    f->remove.n = 0;
    assert_int_equal(merge_with_stored(f->warm, p, &f->out, &f->in_blocks, &f->blocks, &f->remove, &err), OK);
    if (f->in_blocks)
        f->out.data = f->blocks.data + (uintptr_t)f->out.data;
}

static void release(struct fixture *f)
{
    warm_free(f->warm);
    buf_release(&f->a);
    buf_release(&f->b);
    buf_release(&f->c);
    buf_release(&f->blocks);
    merge_keys_release(&f->remove);
}

static void a_first_part_is_stored_as_it_is(void **state)
{
    struct fixture f = fixture();
    struct part p = part_of(&f.a, 5, 9, 1, (int[]){0, 3}, 2);
    merge(&f, &p);
    assert_false(f.in_blocks);
    assert_ptr_equal(f.out.data, p.data);
    assert_int_equal(f.remove.n, 0);
    release(&f);
}

static void late_points_shadow_and_replace_the_stored_part(void **state)
{
    struct fixture f = fixture();
    struct part old = part_of(&f.a, 1, 100, 1, (int[]){0, 1, 2}, 3);
    store(f.warm, &old);
    struct part late = part_of(&f.b, 150, 150, 2, (int[]){1, 9}, 2);
    merge(&f, &late);
    assert_true(f.in_blocks);
    assert_true(f.out.lo == 1 && f.out.key.hi == 150);
    assert_int_equal(f.remove.n, 1);
    assert_true(f.remove.v[0].hi == 100);
    struct slots s;
    decode(&f.out, &s);
    assert_true(s.value[0] == 1 && s.value[1] == 2 && s.value[2] == 1 && s.value[9] == 2);
    assert_int_equal(slots_count(s.present, 240), 4);
    release(&f);
}

static void a_replay_of_the_past_does_not_shadow_what_came_later(void **state)
{
    struct fixture f = fixture();
    struct part newer = part_of(&f.a, 1, 100, 1, (int[]){0, 1}, 2),
                newest = part_of(&f.b, 150, 160, 3, (int[]){5}, 1);
    store(f.warm, &newer);
    store(f.warm, &newest);
    struct part replay = part_of(&f.c, 10, 50, 2, (int[]){1, 2, 5}, 3);
    merge(&f, &replay);
    struct slots s;
    decode(&f.out, &s);
    assert_true(f.out.lo == 1 && f.out.key.hi == 160);
    assert_true(s.value[0] == 1 && s.value[1] == 1 && s.value[2] == 2 && s.value[5] == 3);
    assert_int_equal(f.remove.n,
                     1); /* hi 160 is overwritten by the put, so it must not be removed after it */
    assert_true(f.remove.v[0].hi == 100);
    release(&f);
}

static void the_same_run_again_changes_nothing(void **state)
{
    struct fixture f = fixture();
    struct part p = part_of(&f.a, 1, 100, 1, (int[]){0, 1}, 2);
    store(f.warm, &p);
    struct part again = part_of(&f.b, 40, 100, 1, (int[]){1}, 1);
    merge(&f, &again);
    struct slots s;
    decode(&f.out, &s);
    assert_true(f.out.lo == 1 && f.out.key.hi == 100);
    assert_int_equal(slots_count(s.present, 240), 2);
    assert_int_equal(f.remove.n, 0);
    release(&f);
}

static void damage_in_warm_does_not_stop_new_points(void **state)
{
    struct fixture f = fixture();
    struct part old = part_of(&f.a, 1, 100, 1, (int[]){0}, 1);
    store(f.warm, &old);
    assert_int_equal(warm_mem_damage(f.warm, &old.key), 0);
    struct part p = part_of(&f.b, 150, 150, 2, (int[]){1}, 1);
    merge(&f, &p);
    assert_false(f.in_blocks);
    assert_int_equal(f.remove.n, 0);
    release(&f);
}

static void a_tier_that_fails_is_told(void **state)
{
    struct fixture f = fixture();
    f.warm = warm_fault_new(f.warm);
    warm_fault_add(f.warm,
                   &(struct warm_fault_rule){.op = WARM_FAULT_READ, .first = 1, .count = 1, .code = ERR_IO});
    struct part p = part_of(&f.a, 1, 1, 1, (int[]){0}, 1);
    struct err err = ERR_INIT;
    assert_int_equal(merge_with_stored(f.warm, &p, &f.out, &f.in_blocks, &f.blocks, &f.remove, &err), ERR_IO);
    release(&f);
}

static void positions_survive_or_are_noticed(void **state)
{
    char path[] = "/tmp/carat-positions-XXXXXX";
    int fd = mkstemp(path);
    uint64_t pos[3] = {1, 1ull << 60, 7}, got[4];
    struct err err = ERR_INIT;
    assert_int_equal(positions_write(fs_posix(), path, pos, 3, &err), OK);
    assert_int_equal(positions_read(fs_posix(), path, got, 4, &err), OK);
    assert_true(got[0] == 1 && got[1] == 1ull << 60 && got[2] == 7 && got[3] == 0);
    assert_int_equal(positions_read(fs_posix(), path, got, 2, &err), OK);
    close(fd);
    FILE *f = fopen(path, "r+");
    for (long i = 0; i < 44; i++) {
        fseek(f, i, SEEK_SET);
        int c = fgetc(f);
        fseek(f, i, SEEK_SET);
        fputc(c ^ 0x10, f);
        fflush(f);
        assert_int_equal(positions_read(fs_posix(), path, got, 3, &err), ERR_CORRUPT);
        assert_true(got[0] == 0 && got[1] == 0 && got[2] == 0);
        fseek(f, i, SEEK_SET);
        fputc(c, f);
        fflush(f);
    }
    assert_int_equal(ftruncate(fileno(f), 43), 0);
    assert_int_equal(positions_read(fs_posix(), path, got, 3, &err), ERR_CORRUPT);
    fclose(f);
    unlink(path);
    assert_int_equal(positions_read(fs_posix(), path, got, 3, &err), ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_first_part_is_stored_as_it_is),
        cmocka_unit_test(late_points_shadow_and_replace_the_stored_part),
        cmocka_unit_test(a_replay_of_the_past_does_not_shadow_what_came_later),
        cmocka_unit_test(the_same_run_again_changes_nothing),
        cmocka_unit_test(damage_in_warm_does_not_stop_new_points),
        cmocka_unit_test(a_tier_that_fails_is_told),
        cmocka_unit_test(positions_survive_or_are_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
