#include "fault/sim_fs.h"

#include "base/mem.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR 512

struct image {
    uint8_t *data;
    uint64_t size, cap;
};

struct inode {
    struct image seen, platter;
    bool *dirty; /* a sector of `seen` that differs from the platter, maybe */
    size_t dirty_n;
    unsigned refs;
};

/* Names of both kinds: a directory has no inode. */
struct name {
    struct name *next;
    struct inode *inode;
    char path[];
};

/* A change of names that is not durable yet. */
struct change {
    struct change *next;
    char *from, *to; /* create: to; unlink: from; rename: both */
    struct inode *inode;
};

struct sim_fs {
    struct fs base;
    pthread_mutex_t mu;
    uint64_t rng, capacity, ops, cut_at;
    unsigned fail_in[SIM_FAULTS];
    bool off, killed, cut_kills;
    uint64_t boots;
    struct name *seen, *platter;
    struct change *changes, **changes_end;
};

struct sim_file {
    struct fs_file base;
    struct sim_fs *fs;
    struct inode *inode;
    uint64_t boot;
    bool readonly;
    char *path;
};

static uint64_t rnd(struct sim_fs *s)
{
    uint64_t z = (s->rng += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

/* --- bytes ---------------------------------------------------------------------------------------------- */

static void image_resize(struct image *m, uint64_t size)
{
    if (size > m->cap) {
        m->cap = size + size / 4;
        m->data = xrealloc(m->data, m->cap);
    }
    if (size > m->size)
        memset(m->data + m->size, 0, size - m->size);
    m->size = size;
}

static void image_copy(struct image *to, const struct image *from, uint64_t off, uint64_t n)
{
    if (off >= from->size || off >= to->size)
        return;
    n = off + n > from->size ? from->size - off : n;
    n = off + n > to->size ? to->size - off : n;
    memcpy(to->data + off, from->data + off, n);
}

static void mark(struct inode *i, uint64_t off, uint64_t n)
{
    size_t last = (size_t)((off + n + SECTOR - 1) / SECTOR);
    if (last > i->dirty_n) {
        i->dirty = xrealloc(i->dirty, last * sizeof *i->dirty);
        memset(i->dirty + i->dirty_n, 0, (last - i->dirty_n) * sizeof *i->dirty);
        i->dirty_n = last;
    }
    for (size_t k = (size_t)(off / SECTOR); k < last; k++)
        i->dirty[k] = true;
}

static void inode_unref(struct inode *i)
{
    if (--i->refs)
        return;
    free(i->seen.data);
    free(i->platter.data);
    free(i->dirty);
    free(i);
}

static void inode_sync(struct inode *i)
{
    image_resize(&i->platter, i->seen.size);
    for (size_t k = 0; k < i->dirty_n; k++)
        if (i->dirty[k])
            image_copy(&i->platter, &i->seen, k * SECTOR, SECTOR);
    i->dirty_n = 0;
}

/* What a failed sync leaves: the kernel has dropped the pages. */
static void inode_forget(struct inode *i)
{
    for (size_t k = 0; k < i->dirty_n; k++)
        if (i->dirty[k])
            image_copy(&i->seen, &i->platter, k * SECTOR, SECTOR);
    i->dirty_n = 0;
}

/* kept, lost, or torn: a part of the new bytes, or noise. No byte of the sector is safe. */
static void sector_fate(struct sim_fs *s, struct inode *i, uint64_t off)
{
    switch (rnd(s) % 8) {
    case 0:
    case 1:
    case 2:
        return;
    case 3:
    case 4:
    case 5:
        image_copy(&i->platter, &i->seen, off, SECTOR);
        return;
    case 6:
        image_copy(&i->platter, &i->seen, off, rnd(s) % SECTOR);
        return;
    default:
        for (uint64_t k = off; k < off + SECTOR && k < i->platter.size; k++)
            i->platter.data[k] = (uint8_t)rnd(s);
    }
}

static void inode_cut(struct sim_fs *s, struct inode *i)
{
    if (i->seen.size != i->platter.size && rnd(s) % 2)
        image_resize(&i->platter, i->seen.size);
    for (size_t k = 0; k < i->dirty_n; k++)
        if (i->dirty[k])
            sector_fate(s, i, k * SECTOR);
    i->dirty_n = 0;
    image_resize(&i->seen, i->platter.size);
    image_copy(&i->seen, &i->platter, 0, i->platter.size);
}

/* --- names ---------------------------------------------------------------------------------------------- */

static struct name **name_at(struct name **list, const char *path)
{
    while (*list && strcmp((*list)->path, path) != 0)
        list = &(*list)->next;
    return list;
}

static void name_remove(struct name **list, const char *path)
{
    struct name **at = name_at(list, path), *n = *at;
    if (!n)
        return;
    *at = n->next;
    if (n->inode)
        inode_unref(n->inode);
    free(n);
}

static void name_put(struct name **list, const char *path, struct inode *i)
{
    if (i)
        i->refs++;
    name_remove(list, path);
    size_t len = strlen(path) + 1;
    struct name *n = xmalloc(sizeof *n + len);
    n->next = *list;
    n->inode = i;
    memcpy(n->path, path, len);
    *list = n;
}

static void apply(struct name **list, const struct change *c)
{
    if (c->from)
        name_remove(list, c->from);
    if (c->to)
        name_put(list, c->to, c->inode);
}

/* `inode` is borrowed. */
static void change_names(struct sim_fs *s, const char *from, const char *to, struct inode *inode)
{
    struct change *c = xmalloc(sizeof *c);
    *c = (struct change){.from = from ? xstrdup(from) : NULL, .to = to ? xstrdup(to) : NULL, .inode = inode};
    if (inode)
        inode->refs++;
    *s->changes_end = c;
    s->changes_end = &c->next;
    apply(&s->seen, c);
}

static void change_free(struct change *c)
{
    if (c->inode)
        inode_unref(c->inode);
    free(c->from);
    free(c->to);
    free(c);
}

static bool is_in(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    return path && strncmp(path, dir, n) == 0 && path[n] == '/' && !strchr(path + n + 1, '/');
}

/* Applies the changes in `dir` (NULL: all, each by the toss of a coin) to the platter. */
static void settle_names(struct sim_fs *s, const char *dir)
{
    struct change **at = &s->changes;
    while (*at) {
        struct change *c = *at;
        if (dir && !is_in(c->from, dir) && !is_in(c->to, dir)) {
            at = &c->next;
            continue;
        }
        if (dir || rnd(s) % 2)
            apply(&s->platter, c);
        *at = c->next;
        change_free(c);
    }
    s->changes_end = at;
}

/* A name lives only as long as the directories above it. */
static bool has_parent(struct sim_fs *s, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path)
        return strcmp(path, SIM_ROOT) == 0;
    char *dir = xstrndup(path, (size_t)(slash - path));
    bool is = *name_at(&s->platter, dir) != NULL && has_parent(s, dir);
    free(dir);
    return is;
}

static void drop_orphans(struct sim_fs *s)
{
    for (struct name *n = s->platter, *next; n; n = next) {
        next = n->next;
        if (!has_parent(s, n->path)) {
            name_remove(&s->platter, n->path);
            next = s->platter; /* from the beginning: others may hang on it */
        }
    }
}

/* --- power ---------------------------------------------------------------------------------------------- */

static void cut(struct sim_fs *s)
{
    if (s->off)
        return;
    s->off = true;
    s->cut_at = 0;
    s->killed = s->cut_kills;
    s->cut_kills = false;
    if (s->killed)
        return;
    /* Bytes first; a file reached by several names has nothing unsynced the second time. */
    for (struct name *n = s->seen; n; n = n->next)
        if (n->inode)
            inode_cut(s, n->inode);
    for (struct name *n = s->platter; n; n = n->next)
        if (n->inode)
            inode_cut(s, n->inode);
    for (struct change *c = s->changes; c; c = c->next)
        if (c->inode)
            inode_cut(s, c->inode);
    settle_names(s, NULL);
    drop_orphans(s);
    while (s->seen)
        name_remove(&s->seen, s->seen->path);
    for (struct name *n = s->platter; n; n = n->next)
        name_put(&s->seen, n->path, n->inode);
}

/* Counts a changing operation; true if the power goes in the middle of this one. */
static bool cut_now(struct sim_fs *s)
{
    return ++s->ops == s->cut_at;
}

static int dead(struct err *e)
{
    return err_set(e, ERR_IO, "the power is off");
}

static bool hit(struct sim_fs *s, enum sim_fault kind)
{
    return s->fail_in[kind] && --s->fail_in[kind] == 0;
}

/* --- struct fs_file ------------------------------------------------------------------------------------- */

static struct sim_file *file_of(struct fs_file *f)
{
    return container_of(f, struct sim_file, base);
}

static bool usable(const struct sim_file *f)
{
    return !f->fs->off && f->boot == f->fs->boots;
}

static uint64_t used_bytes(struct sim_fs *s)
{
    uint64_t n = 0;
    for (struct name *at = s->seen; at; at = at->next)
        n += at->inode ? at->inode->seen.size : 0;
    return n;
}

static int grow(struct sim_file *f, uint64_t size, struct err *e)
{
    uint64_t now = f->inode->seen.size;
    if (size <= now)
        return OK;
    if (f->fs->capacity != UINT64_MAX && used_bytes(f->fs) + (size - now) > f->fs->capacity)
        return err_set(e, ERR_NO_SPACE, "%s: the simulated disk is full", f->path);
    mark(f->inode, now, size - now);
    image_resize(&f->inode->seen, size);
    return OK;
}

static int sim_pread(struct fs_file *base, void *p, size_t n, uint64_t off, size_t *got, struct err *e)
{
    struct sim_file *f = file_of(base);
    int rc = OK;
    pthread_mutex_lock(&f->fs->mu);
    if (!usable(f)) {
        rc = dead(e);
    } else if (hit(f->fs, SIM_READ_FAILS)) {
        rc = err_set(e, ERR_IO, "read %s: simulated fault", f->path);
    } else {
        uint64_t size = f->inode->seen.size;
        *got = off >= size ? 0 : size - off < n ? (size_t)(size - off) : n;
        if (*got)
            memcpy(p, f->inode->seen.data + off, *got);
    }
    pthread_mutex_unlock(&f->fs->mu);
    return rc;
}

static int sim_pwrite(struct fs_file *base, const void *p, size_t n, uint64_t off, struct err *e)
{
    struct sim_file *f = file_of(base);
    struct sim_fs *s = f->fs;
    pthread_mutex_lock(&s->mu);
    assert(!f->readonly);
    bool off_now = false, fails = false;
    int rc = usable(f) ? OK : dead(e);
    if (rc == OK) {
        off_now = cut_now(s);
        fails = hit(s, SIM_WRITE_FAILS);
        if (off_now || fails)
            n = n ? (size_t)(rnd(s) % n) : 0;
        rc = grow(f, off + n, e);
    }
    if (rc == OK && n) {
        memcpy(f->inode->seen.data + off, p, n);
        mark(f->inode, off, n);
    }
    if (off_now)
        cut(s);
    if (rc == OK && off_now)
        rc = dead(e);
    if (rc == OK && fails)
        rc = err_set(e, ERR_IO, "write %s: simulated fault", f->path);
    pthread_mutex_unlock(&s->mu);
    return rc;
}

static int sim_datasync(struct fs_file *base, struct err *e)
{
    struct sim_file *f = file_of(base);
    struct sim_fs *s = f->fs;
    int rc = OK;
    pthread_mutex_lock(&s->mu);
    if (!usable(f)) {
        rc = dead(e);
    } else if (cut_now(s)) {
        cut(s);
        rc = dead(e);
    } else if (hit(s, SIM_SYNC_FAILS)) {
        inode_forget(f->inode);
        rc = err_set(e, ERR_IO, "sync %s: simulated fault", f->path);
    } else {
        inode_sync(f->inode);
    }
    pthread_mutex_unlock(&s->mu);
    return rc;
}

static int resize(struct fs_file *base, uint64_t size, bool shrink, struct err *e)
{
    struct sim_file *f = file_of(base);
    struct sim_fs *s = f->fs;
    pthread_mutex_lock(&s->mu);
    int rc = usable(f) ? OK : dead(e);
    bool off_now = rc == OK && cut_now(s);
    if (rc == OK)
        rc = grow(f, size, e);
    if (rc == OK && shrink && size < f->inode->seen.size)
        image_resize(&f->inode->seen, size);
    if (off_now) {
        cut(s);
        rc = dead(e);
    }
    pthread_mutex_unlock(&s->mu);
    return rc;
}

static int sim_allocate(struct fs_file *base, uint64_t size, struct err *e)
{
    return resize(base, size, false, e);
}

static int sim_truncate(struct fs_file *base, uint64_t size, struct err *e)
{
    return resize(base, size, true, e);
}

static int sim_size(struct fs_file *base, uint64_t *out, struct err *e)
{
    struct sim_file *f = file_of(base);
    pthread_mutex_lock(&f->fs->mu);
    int rc = usable(f) ? OK : dead(e);
    if (rc == OK)
        *out = f->inode->seen.size;
    pthread_mutex_unlock(&f->fs->mu);
    return rc;
}

static void sim_close(struct fs_file *base)
{
    struct sim_file *f = file_of(base);
    struct sim_fs *s = f->fs;
    pthread_mutex_lock(&s->mu);
    inode_unref(f->inode);
    pthread_mutex_unlock(&s->mu);
    free(f->path);
    free(f);
}

/* --- struct fs ------------------------------------------------------------------------------------------ */

static struct sim_fs *fs_of(struct fs *f)
{
    return container_of(f, struct sim_fs, base);
}

static int open_locked(struct sim_fs *s, const char *path, unsigned flags, struct inode **out, struct err *e)
{
    struct name *n = *name_at(&s->seen, path);
    if (n && !n->inode)
        return err_set(e, ERR_IO, "open %s: is a directory", path);
    if (n && (flags & FS_CREATE) && (flags & FS_EXCLUSIVE))
        return err_set(e, ERR_IO, "open %s: exists", path);
    if (!n && !(flags & FS_CREATE))
        return err_set(e, ERR_NOT_FOUND, "open %s: no such file", path);
    if (!n) {
        bool off_now = cut_now(s);
        struct inode *i = xcalloc(1, sizeof *i);
        change_names(s, NULL, path, i);
        if (off_now) {
            cut(s);
            return dead(e);
        }
        n = *name_at(&s->seen, path);
    } else if (flags & FS_TRUNCATE) {
        image_resize(&n->inode->seen, 0);
    }
    *out = n->inode;
    return OK;
}

static const struct fs_file_ops file_ops = {.pread = sim_pread,
                                            .pwrite = sim_pwrite,
                                            .datasync = sim_datasync,
                                            .allocate = sim_allocate,
                                            .truncate = sim_truncate,
                                            .size = sim_size,
                                            .close = sim_close};

static int sim_open(struct fs *base, const char *path, unsigned flags, struct fs_file **out, struct err *e)
{
    struct sim_fs *s = fs_of(base);
    struct inode *i = NULL;
    pthread_mutex_lock(&s->mu);
    int rc = s->off ? dead(e) : open_locked(s, path, flags, &i, e);
    if (rc == OK) {
        struct sim_file *f = xmalloc(sizeof *f);
        *f = (struct sim_file){.base = {&file_ops},
                               .fs = s,
                               .inode = i,
                               .boot = s->boots,
                               .readonly = flags & FS_READ,
                               .path = xstrdup(path)};
        i->refs++;
        *out = &f->base;
    }
    pthread_mutex_unlock(&s->mu);
    return rc;
}

/* One change of names; `from` must be there. */
static int move(struct fs *base, const char *from, const char *to, struct err *e)
{
    struct sim_fs *s = fs_of(base);
    pthread_mutex_lock(&s->mu);
    int rc = s->off ? dead(e) : OK;
    struct name *n = rc == OK ? *name_at(&s->seen, from) : NULL;
    if (rc == OK && !n)
        rc = err_set(e, ERR_NOT_FOUND, "%s: no such file", from);
    if (rc == OK) {
        bool off_now = cut_now(s);
        change_names(s, from, to, to ? n->inode : NULL);
        if (off_now) {
            cut(s);
            rc = dead(e);
        }
    }
    pthread_mutex_unlock(&s->mu);
    return rc;
}

static int sim_rename(struct fs *base, const char *from, const char *to, struct err *e)
{
    return move(base, from, to, e);
}

static int sim_unlink(struct fs *base, const char *path, struct err *e)
{
    return move(base, path, NULL, e);
}

static int sim_mkdir(struct fs *base, const char *path, struct err *e)
{
    struct sim_fs *s = fs_of(base);
    pthread_mutex_lock(&s->mu);
    int rc = s->off ? dead(e) : OK;
    if (rc == OK && !*name_at(&s->seen, path)) {
        bool off_now = cut_now(s);
        change_names(s, NULL, path, NULL);
        if (off_now) {
            cut(s);
            rc = dead(e);
        }
    }
    pthread_mutex_unlock(&s->mu);
    return rc;
}

static int sim_list(struct fs *base, const char *dir, fs_list_fn fn, void *ctx, struct err *e)
{
    struct sim_fs *s = fs_of(base);
    char **names = NULL;
    size_t n = 0;
    pthread_mutex_lock(&s->mu);
    int rc = s->off ? dead(e) : OK;
    if (rc == OK && !*name_at(&s->seen, dir))
        rc = err_set(e, ERR_NOT_FOUND, "list %s: no such directory", dir);
    for (struct name *at = s->seen; rc == OK && at; at = at->next)
        if (is_in(at->path, dir)) {
            names = xrealloc(names, (n + 1) * sizeof *names);
            names[n++] = xstrdup(at->path + strlen(dir) + 1);
        }
    pthread_mutex_unlock(&s->mu);
    for (size_t i = 0; i < n; i++) {
        if (rc == OK)
            rc = fn(ctx, names[i]);
        free(names[i]);
    }
    free(names);
    return rc < 0 ? rc : OK;
}

static int sim_sync_dir(struct fs *base, const char *dir, struct err *e)
{
    struct sim_fs *s = fs_of(base);
    pthread_mutex_lock(&s->mu);
    int rc = s->off ? dead(e) : OK;
    if (rc == OK && cut_now(s)) {
        cut(s);
        rc = dead(e);
    } else if (rc == OK) {
        settle_names(s, dir);
    }
    pthread_mutex_unlock(&s->mu);
    return rc;
}

static int sim_free_bytes(struct fs *base, const char *path, uint64_t *out, struct err *e)
{
    struct sim_fs *s = fs_of(base);
    pthread_mutex_lock(&s->mu);
    uint64_t used = used_bytes(s);
    *out = s->capacity > used ? s->capacity - used : 0;
    pthread_mutex_unlock(&s->mu);
    return OK;
}

/* --- for the tests -------------------------------------------------------------------------------------- */

struct sim_fs *sim_fs_new(uint64_t seed)
{
    static const struct fs_ops ops = {.open = sim_open,
                                      .rename = sim_rename,
                                      .unlink = sim_unlink,
                                      .mkdir = sim_mkdir,
                                      .list = sim_list,
                                      .sync_dir = sim_sync_dir,
                                      .free_bytes = sim_free_bytes};
    struct sim_fs *s = xcalloc(1, sizeof *s);
    s->base.ops = &ops;
    s->rng = seed;
    s->capacity = UINT64_MAX;
    s->changes_end = &s->changes;
    name_put(&s->seen, SIM_ROOT, NULL);
    name_put(&s->platter, SIM_ROOT, NULL);
    pthread_mutex_init(&s->mu, NULL);
    return s;
}

void sim_fs_free(struct sim_fs *s)
{
    while (s->seen)
        name_remove(&s->seen, s->seen->path);
    while (s->platter)
        name_remove(&s->platter, s->platter->path);
    for (struct change *c = s->changes, *next; c; c = next) {
        next = c->next;
        change_free(c);
    }
    pthread_mutex_destroy(&s->mu);
    free(s);
}

struct fs *sim_fs_base(struct sim_fs *s)
{
    return &s->base;
}

void sim_fs_capacity(struct sim_fs *s, uint64_t bytes)
{
    pthread_mutex_lock(&s->mu);
    s->capacity = bytes;
    pthread_mutex_unlock(&s->mu);
}

uint64_t sim_fs_used(struct sim_fs *s)
{
    pthread_mutex_lock(&s->mu);
    uint64_t n = used_bytes(s);
    pthread_mutex_unlock(&s->mu);
    return n;
}

void sim_fs_fail(struct sim_fs *s, enum sim_fault kind, unsigned n)
{
    pthread_mutex_lock(&s->mu);
    s->fail_in[kind] = n;
    pthread_mutex_unlock(&s->mu);
}

void sim_fs_cut_after(struct sim_fs *s, uint64_t n)
{
    pthread_mutex_lock(&s->mu);
    s->cut_at = n ? s->ops + n : 0;
    s->cut_kills = false;
    pthread_mutex_unlock(&s->mu);
}

void sim_fs_kill_after(struct sim_fs *s, uint64_t n)
{
    sim_fs_cut_after(s, n);
    pthread_mutex_lock(&s->mu);
    s->cut_kills = true;
    pthread_mutex_unlock(&s->mu);
}

void sim_fs_cut(struct sim_fs *s)
{
    pthread_mutex_lock(&s->mu);
    s->cut_kills = false;
    cut(s);
    pthread_mutex_unlock(&s->mu);
}

bool sim_fs_is_off(struct sim_fs *s)
{
    pthread_mutex_lock(&s->mu);
    bool off = s->off;
    pthread_mutex_unlock(&s->mu);
    return off;
}

void sim_fs_power_on(struct sim_fs *s)
{
    pthread_mutex_lock(&s->mu);
    if (!s->off) {
        s->cut_kills = false;
        cut(s);
    }
    s->off = s->killed = false;
    s->cut_at = 0;
    s->cut_kills = false;
    s->boots++;
    memset(s->fail_in, 0, sizeof s->fail_in);
    pthread_mutex_unlock(&s->mu);
}

bool sim_fs_flip(struct sim_fs *s, const char *path, uint64_t off, uint8_t bits)
{
    pthread_mutex_lock(&s->mu);
    struct name *n = *name_at(&s->seen, path);
    bool there = n && n->inode && off < n->inode->seen.size;
    if (there) {
        n->inode->seen.data[off] ^= bits;
        if (off < n->inode->platter.size)
            n->inode->platter.data[off] ^= bits;
    }
    pthread_mutex_unlock(&s->mu);
    return there;
}

uint64_t sim_fs_ops(struct sim_fs *s)
{
    pthread_mutex_lock(&s->mu);
    uint64_t n = s->ops;
    pthread_mutex_unlock(&s->mu);
    return n;
}
