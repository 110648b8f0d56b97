/* The source that is the database: names from the catalog, values from the reader. */
#include "query/source.h"

#include "base/mem.h"
#include "catalog/catalog.h"

#include <stdlib.h>

struct db_source {
    struct query_source base;
    struct catalog *catalog;
    struct reader *reader;
};

static struct db_source *db(struct query_source *s)
{
    return container_of(s, struct db_source, base);
}

struct find_state {
    query_node_fn fn;
    void *ctx;
};

static int on_node(void *ctx, const struct catalog_node *node)
{
    struct find_state *f = ctx;
    struct query_node out = {node->path, node->path_len, node->id, node->branch};
    return f->fn(f->ctx, &out);
}

static int db_find(struct query_source *s, const char *pattern, size_t len, size_t limit, query_node_fn fn,
                   void *ctx, struct err *err)
{
    struct find_state f = {fn, ctx};
    return catalog_find(db(s)->catalog, pattern, len, limit, on_node, &f, err);
}

struct each_state {
    query_name_fn fn;
    void *ctx;
};

static int on_series(void *ctx, uint32_t id, uint32_t step_ms, const char *name, size_t len)
{
    struct each_state *e = ctx;
    return e->fn(e->ctx, id, name, len);
}

static int db_each(struct query_source *s, bool tagged, query_name_fn fn, void *ctx)
{
    struct each_state e = {fn, ctx};
    if (tagged)
        return catalog_each_tagged(db(s)->catalog, on_series, &e);
    return catalog_each(db(s)->catalog, on_series, &e);
}

static uint32_t db_lookup(struct query_source *s, const char *name, size_t len)
{
    return catalog_lookup(db(s)->catalog, name, len).id;
}

static int64_t db_step_ms(struct query_source *s, uint32_t id, const struct read_range *range)
{
    return reader_planned_step_ms(db(s)->reader, id, range);
}

static int db_fetch(struct query_source *s, uint32_t id, const struct read_range *range,
                    struct column *column, struct read_spans *spans, struct read_sums *sums,
                    struct read_report *report, struct err *err)
{
    return reader_fetch_planned(db(s)->reader, id, range, column, spans, sums, report, err);
}

static const struct query_source_ops db_ops = {db_find, db_each, db_lookup, db_step_ms, db_fetch};

struct query_source *query_source_new(struct catalog *c, struct reader *r)
{
    struct db_source *s = xcalloc(1, sizeof *s);
    s->base.ops = &db_ops;
    s->catalog = c;
    s->reader = r;
    return &s->base;
}

void query_source_free(struct query_source *s)
{
    if (s)
        free(db(s));
}
