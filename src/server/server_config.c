/* The keys of carat.conf. Their order is that of --print-config. */
#include "server/server.h"

#include "base/mem.h"

#define STRING(name, text, doc)                                                                              \
    {                                                                                                        \
        name, CONFIG_STRING, text, doc, false, 0, 0                                                          \
    }
#define PATH(name, text, doc)                                                                                \
    {                                                                                                        \
        name, CONFIG_PATH, text, doc, false, 0, 0                                                            \
    }
#define BOOL(name, text, doc)                                                                                \
    {                                                                                                        \
        name, CONFIG_BOOL, text, doc, false, 0, 0                                                            \
    }
#define SIZE(name, text, doc)                                                                                \
    {                                                                                                        \
        name, CONFIG_SIZE, text, doc, false, 0, 0                                                            \
    }
#define DURATION(name, text, doc)                                                                            \
    {                                                                                                        \
        name, CONFIG_DURATION, text, doc, false, 0, 0                                                        \
    }
#define INT(name, text, min, max, doc)                                                                       \
    {                                                                                                        \
        name, CONFIG_INT, text, doc, false, min, max                                                         \
    }
#define SECRET(name, doc)                                                                                    \
    {                                                                                                        \
        name, CONFIG_STRING, "", doc, true, 0, 0                                                             \
    }

const struct config_key server_config_keys[] = {
    PATH("data.dir", "./data", "Everything the server keeps is under this directory."),
    STRING("server.roles", "all",
           "What this process does: all, or some of ingest, writer, mover, reader with commas."),
    BOOL("server.local_tiers", "false",
         "Start with some roles even if a tier is on this disk, where other processes cannot see it: to try "
         "out."),
    STRING("log.level", "info", "Least level that is logged: debug, info, warn or error."),

    STRING("http.listen", "127.0.0.1:8012", "Address and port of the HTTP APIs."),
    INT("http.threads", "2", 1, 64, "Threads that serve HTTP."),
    SIZE("http.max_body", "16M", "A larger request body is answered 413."),
    INT("http.max_connections", "10000", 1, 1000000, "HTTP connections open at once."),

    STRING("graphite.listen", "127.0.0.1:2003", "Address and port of the Graphite text door; empty: off."),
    BOOL("graphite.udp", "true", "Take Graphite lines over UDP on the same port too."),
    INT("graphite.threads", "2", 1, 64, "Threads that read Graphite connections."),
    INT("graphite.max_connections", "20000", 1, 1000000, "Graphite connections open at once."),
    SIZE("graphite.max_line", "16K", "A longer line is skipped and counted as rejected."),
    DURATION("graphite.idle_timeout", "0s", "Close a connection that was silent for so long; 0s: never."),

    DURATION("ingest.max_future", "1d", "Points further ahead of the clock than this are rejected."),

    STRING("stream.backend", "log",
           "Where points wait for the writer: log (in data.dir) or jetstream (NATS servers)."),
    INT("stream.partitions", "1", 1, 64, "Ordered lanes of the stream, each with one writer."),
    SIZE("stream.segment_size", "64M", "Size of a segment file."),
    SIZE("stream.buffer", "32M", "Accepted and not yet on disk, per partition; senders wait beyond it."),
    SIZE("stream.tail", "64M", "Newest durable records kept in memory for the writer, per partition."),
    DURATION("stream.keep", "24h", "Records at least this young are kept for replay."),

    DURATION("writer.lease", "15s",
             "With several writers: the partitions of one that is silent for so long go to others."),
    DURATION("stream.checkpoint_interval", "60s",
             "How often what warm holds is noted, so that the stream can be trimmed."),

    STRING("jetstream.servers", "nats://127.0.0.1:4222", "NATS servers: nats://host:port,nats://host:port."),
    STRING("jetstream.stream", "carat", "Name of the JetStream stream; it is made if it is not there."),
    INT("jetstream.replicas", "0", 0, 5,
        "Copies of the stream when it is made; 0: 3, or 1 if there is no cluster."),
    STRING("jetstream.user", "", "User to log in as."),
    SECRET("jetstream.password", "Password of that user."),
    SECRET("jetstream.token", "Token to log in with, instead of a user."),
    PATH("jetstream.credentials", "", "Credentials file to log in with, instead of a user."),
    BOOL("jetstream.tls", "false", "Talk TLS."),
    PATH("jetstream.ca", "", "Certificate the servers' are signed with; implies TLS."),
    DURATION(
        "jetstream.ack_timeout", "10s",
        "Points that NATS does not acknowledge for so long are answered with an error; it may have them."),

    STRING("hot.backend", "memory", "Where open windows are: memory (of this process) or redis (a cluster)."),
    SIZE("hot.max_size", "8G",
         "Memory of open windows; beyond it all are moved to warm, at twice it the writer waits."),
    DURATION("hot.flush_delay", "2min", "A window rests this long after its end before it is moved to warm."),
    INT("hot.jitter", "100", 0, 1000, "Spread the moves over this share of a window's span, in thousandths."),
    DURATION("hot.flush_round", "10s", "Least time between two looks at the same series."),
    DURATION("hot.max_unflushed", "6h", "Windows with older data only in hot are moved though still open."),

    STRING("redis.nodes", "127.0.0.1:6379",
           "Some nodes of the Redis Cluster, host:port,host:port; the others are asked for."),
    STRING("redis.user", "", "User to log in as; empty: only the password, if there is one."),
    SECRET("redis.password", "Password to log in with; empty: none."),
    STRING("redis.prefix", "carat:", "Begins every key, so that several Carats can share a cluster."),
    INT("redis.host_levels", "2", 0, 16,
        "Series whose names agree in so many levels are on one node; 0: each series by itself."),
    DURATION("redis.timeout", "2s", "A node that is silent for so long is given up."),
    INT("redis.readers", "4", 1, 256, "Series read from Redis at once."),
    BOOL("redis.read_replicas", "false", "Reads ask replicas first, and the master where those are behind."),
    DURATION("redis.clean_interval", "1h", "Time between two looks for windows no writer knows; 0: never."),

    STRING("warm.backend", "rocksdb",
           "Where full windows are: rocksdb (on this disk) or dynamodb (a table of that API)."),
    SIZE("warm.cache", "64M", "Block cache of the warm tier."),
    SIZE("warm.read_cache", "64M", "Memory for what was read of warm and cold, for the next read; 0: none."),

    SIZE("replay.memory", "256M", "Memory of a replay; more is faster, by fewer looks at the same windows."),
    DURATION("scrub.interval", "7d",
             "Everything stored is read and checked once in so long, and mended where possible; 0: never."),
    SIZE("scrub.rate", "1M", "Bytes a second the scrub reads at most; 0: no bound."),

    STRING("cold.backend", "files",
           "Where old windows are: files (on this disk) or s3 (objects in a bucket)."),
    DURATION("cold.after", "30d", "Windows this old are moved from warm into packs."),
    DURATION("cold.interval", "10min",
             "Time between two looks for windows to move, packs to merge and data to expire."),
    SIZE("cold.rate", "32M", "Bytes a second the mover reads and writes at most; 0: no bound."),
    SIZE("cold.pack_size", "64M", "A pack is closed when it is this large."),

    STRING("aws.region", "us-east-1", "Region of the services, for signatures and their usual addresses."),
    PATH("aws.credentials", "",
         "File with keys, in AWS's form; empty: the environment, then the usual file."),
    STRING("aws.profile", "", "Section of that file."),
    PATH("aws.ca_file", "", "Certificates that services may be signed with; empty: the system's."),
    DURATION("aws.timeout", "30s", "A request with all its repetitions takes no longer."),

    STRING("dynamodb.endpoint", "", "Address of the service; empty: AWS's own in aws.region."),
    STRING("dynamodb.table", "carat", "Table of the warm tier."),
    BOOL("dynamodb.create_table", "true", "Make the table if it is missing, with capacity on demand."),
    BOOL(
        "dynamodb.ttl", "false",
        "Items tell the service when they may go. Rules that keep more, later, do not bring back what went."),

    STRING("s3.endpoint", "", "Address of the service; empty: AWS's own in aws.region."),
    STRING("s3.bucket", "", "Bucket of the cold tier."),
    STRING("s3.prefix", "carat/", "Begins every object's name."),
    STRING("s3.style", "auto",
           "Where the bucket's name is: host, path, or auto (host on AWS, path elsewhere)."),
    BOOL("s3.create_bucket", "false", "Make the bucket if it is missing."),
    SIZE("s3.part_size", "8M", "Larger packs go up in parts of this size."),
    SIZE("s3.cache", "256M", "Footers of packs on the local disk."),

    STRING("catalog.backend", "sqlite",
           "Where names are kept: sqlite (in data.dir) or postgres (shared by many processes)."),
    STRING("catalog.postgres", "dbname=carat",
           "How to reach PostgreSQL, as libpq takes it; without a password."),
    PATH("catalog.postgres_password_file", "",
         "A file with the password; empty: libpq's own places (PGPASSFILE, PGPASSWORD)."),
    PATH("backup.dir", "", "Where the server's own backups go, outside data.dir; empty: it makes none."),
    DURATION("backup.interval", "1d", "Time between two backups; 0s: only when asked."),
    INT("backup.keep", "7", 1, 10000, "Generations of backups that are kept."),

    INT("catalog.max_series", "100000000", 1, 4000000000, "New series beyond this many are rejected."),

    SIZE("disk.min_free", "1G", "With less free space in data.dir no points are taken; 0: never stop."),
    PATH("limits.quotas", "",
         "Series allowed under a prefix: lines \"prefix max_series\"; empty: no quotas."),

    PATH("retention.schemas", "", "Graphite's storage-schemas.conf; empty: 60s:460d, 5m:2y, 1h:5y, 1d:30y."),
    PATH("retention.aggregation", "",
         "Graphite\'s storage-aggregation.conf; empty: averages, xFilesFactor 0.5."),

    INT("query.max_series", "100000", 1, 2147483647, "Series one query may look up."),
    INT("query.max_points", "50000000", 1, 2147483647, "Points one query may fetch."),
    INT("query.coarse_from", "10000", 0, 2147483647,
        "With maxDataPoints, series with more points in the range are read from a coarse archive; 0: never."),
    DURATION("query.timeout", "60s", "Time one query may take."),
    SIZE("query.max_memory", "1G", "Memory one query and its answer may take."),

    BOOL("agent.enabled", "true", "Measure the machine the server runs on."),
    STRING("agent.host_id", "", "Host id of those measurements; empty: one is made and kept in data.dir."),

    BOOL("watch.store", "true", "Keep the server's own metrics as series carat.<node>.*, and probe it."),
    STRING("watch.node", "", "This server's name in them; empty: the host's name."),
    DURATION("watch.interval", "10s", "Time between two looks at the own metrics."),
    DURATION("watch.probe_interval", "10s",
             "Time between two probes: a point posted and read back through the public doors; 0s: none."),
    DURATION("watch.probe_timeout", "30s", "A probed point that cannot be read after so long is a failure."),
};
const size_t server_config_keys_n = ARRAY_LEN(server_config_keys);
