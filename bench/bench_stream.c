/* Appends payloads of one size from one thread to one partition of the embedded stream while a reader
 * follows.
 *
 *   bench_stream DIR [payload_bytes [seconds]] */
#include "base/fs.h"
#include "base/mem.h"
#include "stream/stream_log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static void *follow(void *ctx)
{
    struct stream *s = ctx;
    struct stream_reader *r;
    struct stream_record rec;
    struct err err = ERR_INIT;
    uint64_t *bytes = xcalloc(1, sizeof *bytes);
    if (stream_reader_open(s, 0, (struct stream_start){.from = STREAM_LATEST}, &r, &err) < 0)
        return bytes;
    int rc;
    while ((rc = stream_reader_next(r, &rec, 1000, &err)) == OK || rc == 1)
        if (rc == OK)
            *bytes += rec.size;
    stream_reader_close(r);
    return bytes;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench_stream DIR [payload_bytes [seconds]]\n");
        return 2;
    }
    size_t size = argc > 2 ? strtoull(argv[2], NULL, 10) : 256u << 10;
    int64_t seconds = argc > 3 ? strtoll(argv[3], NULL, 10) : 5;
    const struct stream_log_options o = {
        .dir = argv[1], .partitions = 1, .fs = fs_posix(), .clock = clock_system()};
    struct stream *s;
    struct err err = ERR_INIT;
    if (stream_log_open(&o, &s, &err) < 0) {
        fprintf(stderr, "bench_stream: %s\n", err.text);
        return 1;
    }
    uint8_t *payload = xmalloc(size);
    for (size_t i = 0; i < size; i++)
        payload[i] = (uint8_t)(i * 2654435761u >> 13);
    pthread_t t;
    pthread_create(&t, NULL, follow, s);
    int64_t began = clock_mono_us(clock_system()), end = began + seconds * 1000000;
    int rc = OK;
    while (clock_mono_us(clock_system()) < end && (rc == OK || rc == ERR_BUSY)) {
        rc = stream_append(s, 0, payload, size, (uint32_t)(size / 16), NULL, NULL, &err);
        if (rc == ERR_BUSY)
            stream_wait_space(s, 0, size, 1000);
    }
    stream_close(s);
    double took = (double)(clock_mono_us(clock_system()) - began) / 1e6;
    uint64_t *followed;
    pthread_join(t, (void **)&followed);
    struct stream_stats st;
    stream_get_stats(s, &st);
    printf("payload_bytes=%zu mb_per_s=%.1f records_per_s=%.0f points_per_s=%.0f syncs_per_s=%.0f "
           "followed_mb=%.1f "
           "failed=%d\n",
           size, (double)st.appended_bytes / 1e6 / took, (double)st.synced_records / took,
           (double)st.synced_points / took, (double)st.syncs / took, (double)*followed / 1e6, st.failed);
    stream_free(s);
    free(followed);
    free(payload);
    return rc == OK || rc == ERR_BUSY ? 0 : 1;
}
