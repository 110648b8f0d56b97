/* Recorded series out of Graphite text (name value time), for the codec's test and bench. */
#ifndef CARAT_TESTS_TEST_CODEC_DATA_H
#define CARAT_TESTS_TEST_CODEC_DATA_H

#include "base/hash.h"
#include "base/mem.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RECORDING_SERIES_MAX 1024

struct series_values {
    double *value;
    size_t n, cap;
};

/* Values in the order of the file, series by series; points of further series are left out. */
struct recording {
    struct series_values series[RECORDING_SERIES_MAX];
    uint64_t name[RECORDING_SERIES_MAX];
    size_t n;
};

static inline void series_values_add(struct series_values *s, double v)
{
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 4096;
        s->value = xrealloc(s->value, s->cap * sizeof *s->value);
    }
    s->value[s->n++] = v;
}

static inline struct series_values *recording_series(struct recording *r, uint64_t name)
{
    for (size_t i = r->n; i-- > 0;)
        if (r->name[i] == name)
            return &r->series[i];
    if (r->n == RECORDING_SERIES_MAX)
        return NULL;
    r->name[r->n] = name;
    return &r->series[r->n++];
}

static inline void recording_free(struct recording *r)
{
    for (size_t i = 0; r && i < r->n; i++)
        free(r->series[i].value);
    free(r);
}

/* A file of $CARAT_TEST_DATA, or of shared/data beside the source tree; plain or .gz; NULL if there is none.
 */
static inline struct recording *recording_load(const char *file)
{
    char path[4096], command[4200], line[1024], name[512];
    const char *dir = getenv("CARAT_TEST_DATA"), *root = getenv("CARAT_SOURCE_ROOT");
    double value;
    if (dir)
        snprintf(path, sizeof path, "%s/%s", dir, file);
    else
        snprintf(path, sizeof path, "%s/../shared/data/%s", root ? root : ".", file);
    if (access(path, R_OK) < 0)
        return NULL;
    snprintf(command, sizeof command, "%s '%s'", strstr(file, ".gz") ? "gzip -dc" : "cat", path);
    FILE *f = popen(command, "r");
    if (!f)
        return NULL;
    struct recording *r = xcalloc(1, sizeof *r);
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "%511s %lf", name, &value) == 2) {
            struct series_values *s = recording_series(r, hash_bytes(name, strlen(name)));
            if (s)
                series_values_add(s, value);
        }
    pclose(f);
    return r;
}

#endif
