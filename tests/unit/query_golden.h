/* Loads the points of the recorded answers ("name value seconds" lines, gzip or plain) into a source in
 * memory. */
#ifndef QUERY_GOLDEN_H
#define QUERY_GOLDEN_H

#include "query_mem.h"

#include <stdio.h>

/* gzip is run as a program: the tests need no library for it. */
static inline FILE *golden_open(const char *path)
{
    char command[8192];
    FILE *f = fopen(path, "r");
    if (!f)
        return NULL;
    fclose(f);
    snprintf(command, sizeof command, "gzip -dc '%s'", path);
    return popen(command, "r");
}

static inline bool golden_load(struct mem_source *m, const char *path)
{
    FILE *f = golden_open(path);
    char name[512];
    double v;
    long long at;
    size_t i = 0;
    if (!f)
        return false;
    mem_init(m);
    while (fscanf(f, "%511s %lf %lld", name, &v, &at) == 3) {
        if (!m->n || strcmp(m->v[i].name, name)) {
            i = 0;
            while (i < m->n && strcmp(m->v[i].name, name))
                i++;
            if (i == m->n)
                i = mem_add(m, name, strncmp(name, "slow.", 5) ? 60 : 300, at - at % 300);
        }
        mem_set_point(m, i, at, v);
    }
    pclose(f);
    return m->n;
}

#endif
