// The parts of the pipeline: what each shows now, and what its history is made of.
import type { Unit } from './format';
import type { Numbers } from './status';

export interface Figure {
    label: string;
    value: number | null;
    unit: Unit;
}

export interface History {
    title: string;
    unit: Unit;
    targets: string[]; // below carat.<node>.
    nonzero?: boolean;
    node?: number; // the level that names a series in the legend
}

export interface Part {
    id: string;
    name: string;
    what: string;
    backend?: string; // the fact that names it
    figures: (n: Numbers) => Figure[]; // the first is the main one
    bad?: (n: Numbers) => string | false;
    history: History[];
}

const fig = (label: string, value: number | null, unit: Unit = ''): Figure => ({ label, value, unit });

export const parts: Part[] = [
    {
        id: 'doors',
        name: 'Doors',
        what: 'Graphite lines and Mackerel posts come in; each is answered when its points are on stable storage.',
        figures: n => [
            fig('points', n.rate('carat_points_received_total'), '/s'),
            fig('rejected', n.rate('carat_points_rejected_total'), '/s'),
            fig('connections', sum(n.value('carat_graphite_connections'), n.value('carat_http_connections'))),
        ],
        bad: n => n.value('carat_ingest_stopped') === 1 && 'the disk is nearly full: no points are taken',
        history: [
            { title: 'Points received, by door', unit: '/min', targets: ['points_received.*.per_min'], node: 3 },
            { title: 'Points rejected, by reason', unit: '/min', targets: ['points_rejected.*.per_min'], nonzero: true, node: 3 },
            { title: 'Time to acknowledge', unit: 'ms', targets: ['ingest_ack.p50_ms', 'ingest_ack.p99_ms'], node: 3 },
        ],
    },
    {
        id: 'stream',
        name: 'Stream',
        what: 'The durable log. A point is acknowledged after the sync of its group.',
        backend: 'stream.backend',
        figures: n => [
            fig('synced', n.rate('carat_points_synced_total'), '/s'),
            fig('sync', n.mean('carat_stream_sync_seconds'), 's'),
            fig('not synced yet', n.value('carat_stream_buffered_bytes'), 'B'),
        ],
        bad: n => !!n.value('carat_stream_failed') && 'a write or sync failed: nothing is acknowledged any more',
        history: [
            { title: 'Points made durable', unit: '/min', targets: ['points_synced.per_min'], node: 2 },
            { title: 'Time of a sync', unit: 'ms', targets: ['stream_sync.*.p50_ms', 'stream_sync.*.p99_ms'], node: 4 },
            { title: 'Bytes appended', unit: 'B/min', targets: ['stream_appended_bytes.*.per_min'], node: 2 },
        ],
    },
    {
        id: 'writer',
        name: 'Writer',
        what: 'Applies the stream to hot in order, and moves full windows to warm.',
        figures: n => [
            fig('applied', n.rate('carat_points_applied_total'), '/s'),
            fig('lag', n.max('carat_writer_lag_seconds'), 's'),
            fig('late points', n.rate('carat_points_late_total'), '/s'),
        ],
        bad: n => (n.max('carat_writer_lag_seconds') ?? 0) > 30 && 'the writer is far behind the stream',
        history: [
            { title: 'Points applied', unit: '/min', targets: ['points_applied.per_min', 'points_late.per_min'], node: 2 },
            { title: 'Records behind, by partition', unit: '', targets: ['writer_lag_records.*'], node: 3 },
            { title: 'From receipt to readable', unit: 'ms', targets: ['readable.p50_ms', 'readable.p99_ms'], node: 3 },
            { title: 'Share of time busy', unit: 'ratio', targets: ['writer_apply.busy_ratio', 'writer_flush.busy_ratio'], node: 2 },
        ],
    },
    {
        id: 'hot',
        name: 'Hot',
        what: 'Open windows, in memory; the stream has everything that is here only.',
        backend: 'hot.backend',
        figures: n => [
            fig('size', n.value('carat_hot_bytes'), 'B'),
            fig('windows', n.value('carat_hot_windows')),
            fig('series', n.value('carat_catalog_series')),
        ],
        history: [
            { title: 'Memory', unit: 'B', targets: ['hot_bytes'], node: 2 },
            { title: 'Windows and series', unit: '', targets: ['hot_windows', 'catalog_series'], node: 2 },
        ],
    },
    {
        id: 'warm',
        name: 'Warm',
        what: 'Full windows and their roll-ups, compressed, for the first weeks.',
        backend: 'warm.backend',
        figures: n => [
            fig('size', n.value('carat_warm_stored_bytes'), 'B'),
            fig('flushed', n.rate('carat_points_flushed_total'), '/s'),
            fig('put', n.mean('carat_warm_put_seconds'), 's'),
        ],
        bad: n => !!n.value('carat_warm_corrupt_parts_total') && 'damaged parts were met',
        history: [
            { title: 'Stored', unit: 'B', targets: ['warm_stored_bytes'], node: 2 },
            { title: 'Points flushed to warm', unit: '/min', targets: ['points_flushed.per_min'], node: 2 },
            { title: 'Time of a read', unit: 'ms', targets: ['warm_read.p50_ms', 'warm_read.p99_ms'], node: 3 },
        ],
    },
    {
        id: 'cold',
        name: 'Cold',
        what: 'Old windows in immutable packs.',
        backend: 'cold.backend',
        figures: n => [
            fig('size', n.value('carat_cold_stored_bytes'), 'B'),
            fig('packs', n.value('carat_cold_packs')),
            fig('points', n.value('carat_cold_points')),
        ],
        bad: n => !!n.value('carat_cold_corrupt_parts_total') && 'damaged packs were met',
        history: [
            { title: 'Stored', unit: 'B', targets: ['cold_stored_bytes'], node: 2 },
            { title: 'Moved from warm', unit: 'B/min', targets: ['mover_moved_bytes.per_min'], node: 2 },
            { title: 'Time of a read', unit: 'ms', targets: ['cold_read.p50_ms', 'cold_read.p99_ms'], node: 3 },
        ],
    },
    {
        id: 'reader',
        name: 'Reader',
        what: 'Makes one column out of all tiers, for Graphite, Mackerel and the command line.',
        figures: n => [
            fig('series', n.rate('carat_reader_series_total'), '/s'),
            fig('query', n.mean('carat_query_duration_seconds'), 's'),
            fig('cache hits', share(n.rate('carat_read_cache_hits_total'), n.rate('carat_read_cache_misses_total')), 'ratio'),
        ],
        history: [
            { title: 'Series read', unit: '/min', targets: ['reader_series.per_min'], node: 2 },
            { title: 'Time of a query', unit: 'ms', targets: ['query_duration.p50_ms', 'query_duration.p99_ms'], node: 3 },
            { title: 'Read cache', unit: '/min', targets: ['read_cache_hits.per_min', 'read_cache_misses.per_min'], node: 2 },
        ],
    },
    {
        id: 'probe',
        name: 'Probe',
        what: 'Posts a point through the public door and reads it back; looks at known old points, too.',
        figures: n => [
            fig('post to read', n.value('carat_probe_last_seconds'), 's'),
            fig('probes', n.value('carat_probe_seconds')),
            fig('failures', n.value('carat_probe_failures_total')),
        ],
        bad: n =>
            (n.value('carat_probe_ok') === 0 && n.value('carat_probe_failures_total') ? 'the last probe failed' : false) ||
            (n.value('carat_probe_far_failures_total') && n.value('carat_probe_far_ok') === 0 ? 'a known old point is not there' : false),
        history: [
            { title: 'From post to read', unit: 's', targets: ['probe_last.s'], node: 2 },
            { title: 'Failures', unit: '/min', targets: ['probe_failures.*.per_min', 'probe_far_failures.*.per_min'], node: 3 },
        ],
    },
];

function sum(a: number | null, b: number | null): number | null {
    return a == null && b == null ? null : (a ?? 0) + (b ?? 0);
}

function share(hits: number | null, misses: number | null): number | null {
    return hits == null || misses == null || hits + misses === 0 ? null : hits / (hits + misses);
}
