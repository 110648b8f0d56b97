#include "catalog/name_table.h"

#include "catalog/big.h"

#include <assert.h>
#include <string.h>

#define SLOTS_FIRST 1024u
/* Twice as many slots must be looked at by the time the new table is 3/4 full; 8 finishes early. */
#define MOVES_PER_INSERT 8u

static struct name_slots slots_new(uint64_t n)
{
    return (struct name_slots){big_alloc(n * sizeof(struct name_slot)), n - 1};
}

static void slots_free(struct name_slots *s)
{
    big_free(s->v, (s->mask + 1) * sizeof *s->v);
    s->v = NULL;
}

void name_table_init(struct name_table *t)
{
    memset(t, 0, sizeof *t);
    t->now = slots_new(SLOTS_FIRST);
}

void name_table_release(struct name_table *t)
{
    slots_free(&t->now);
    slots_free(&t->old);
}

uint64_t name_table_bytes(const struct name_table *t)
{
    return (t->now.mask + 1 + (t->old.v ? t->old.mask + 1 : 0)) * sizeof(struct name_slot);
}

static bool same_name(const char *kept, const char *name, size_t len)
{
    /* strncmp would stop at a NUL; memcmp could run past the end of a shorter kept name. */
    return strnlen(kept, len) == len && kept[len] == '\0' && memcmp(kept, name, len) == 0;
}

static const struct name_slot *find_in(const struct name_slots *s, const struct name_arena *names,
                                       const char *name, size_t len, uint64_t hash)
{
    for (uint64_t i = hash & s->mask; s->v[i].id; i = (i + 1) & s->mask)
        if (s->v[i].hash == hash && s->v[i].id != NAME_SLOT_DEAD &&
            same_name(name_at(names, s->v[i].name), name, len))
            return &s->v[i];
    return NULL;
}

const struct name_slot *name_table_find(const struct name_table *t, const struct name_arena *names,
                                        const char *name, size_t len, uint64_t hash)
{
    const struct name_slot *s = find_in(&t->now, names, name, len, hash);
    return s || !t->old.v ? s : find_in(&t->old, names, name, len, hash);
}

static void put(struct name_slots *s, struct name_slot slot)
{
    uint64_t i = slot.hash & s->mask;
    while (s->v[i].id)
        i = (i + 1) & s->mask;
    s->v[i] = slot;
}

static void move_some(struct name_table *t)
{
    for (unsigned k = 0; k < MOVES_PER_INSERT && t->moved <= t->old.mask; k++) {
        struct name_slot s = t->old.v[t->moved++];
        if (s.id && s.id != NAME_SLOT_DEAD)
            put(&t->now, s);
    }
    if (t->moved > t->old.mask)
        slots_free(&t->old);
}

void name_table_insert(struct name_table *t, uint64_t hash, uint32_t id, uint32_t name)
{
    if ((t->used + 1) * 4 > (t->now.mask + 1) * 3) {
        assert(!t->old.v);
        uint64_t n = t->now.mask + 1;
        t->used -= t->dead;
        t->dead = 0;
        t->old = t->now;
        t->now = slots_new(t->used * 2 > n ? n * 2 : n); /* at most 5/8 full once all are moved */
        t->moved = 0;
    }
    if (t->old.v)
        move_some(t);
    put(&t->now, (struct name_slot){hash, id, name});
    t->used++;
}

static bool kill_in(struct name_slots *s, const struct name_arena *names, const char *name, size_t len,
                    uint64_t hash)
{
    /* Ours to change: the caller holds the table. */
    struct name_slot *at = s->v ? (struct name_slot *)find_in(s, names, name, len, hash) : NULL;
    if (at) {
        at->id = NAME_SLOT_DEAD;
        at->hash = 0; /* a new entry of the same name must be the first that is guessed */
    }
    return at != NULL;
}

void name_table_remove(struct name_table *t, const struct name_arena *names, const char *name, size_t len,
                       uint64_t hash)
{
    bool now = kill_in(&t->now, names, name, len, hash), old = kill_in(&t->old, names, name, len, hash);
    t->dead += now;
    t->used -= old && !now; /* it will not be moved */
}
