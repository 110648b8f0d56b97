#ifndef CARAT_READER_READER_IMPL_H
#define CARAT_READER_READER_IMPL_H

#include "reader/reader.h"

struct reader {
    struct reader_options o;
    /* NULL without a registry */
    struct histogram *fetch_seconds;
    struct counter *series, *points, *incomplete;
};

/* Notes that a tier or a block could not be read. */
void report_add(struct read_report *report, const struct err *why);
/* Marks the report if hot is still being filled after a start. */
void reader_note_catching_up(struct reader *r, struct read_report *report);
/* Counts an answer if this read made it incomplete. */
void reader_count_incomplete(struct reader *r, bool before, const struct read_report *report);

#endif
