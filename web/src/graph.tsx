// A chart with its own data: asks /render, again every interval while the range ends now.
import { useEffect, useState } from 'preact/hooks';
import { isAbort, messageOf, render, type Series } from './api';
import { Chart } from './chart';
import type { Unit } from './format';
import { limits, type Range } from './range';

export interface GraphProps {
    title?: string;
    targets: string[];
    range: Range;
    unit?: Unit;
    height?: number;
    names?: (target: string) => string;
    onZoom?: (from: number, until: number) => void;
    everyMs?: number;
    nonzero?: boolean; // leave out what is 0 all the time
    points?: number; // most of a series; else a point for two pixels
}

interface Answer {
    series: Series[];
    range?: [number, number];
}

const slotsOf = (range: [number, number] | undefined) => (range ? (range[1] - range[0]) / 60 : 0);

export function Graph(p: GraphProps) {
    const [answer, set] = useState<Answer | null>(null);
    const [error, setError] = useState('');
    const key = JSON.stringify([p.targets, p.range, p.points]);
    useEffect(() => {
        const stop = new AbortController();
        let timer = 0;
        const ask = async () => {
            const range = limits(p.range);
            const wanted = p.points ?? Math.max(200, Math.round(innerWidth / 2));
            try {
                const series = await render(
                    { targets: p.targets, ...p.range, ...(slotsOf(range) > wanted || !range ? { maxDataPoints: wanted } : {}) },
                    stop.signal,
                );
                set({ series: series.filter(s => s.datapoints.some(d => (p.nonzero ? d[0] : d[0] != null))), ...(range && { range }) });
                setError('');
            } catch (e) {
                if (isAbort(e)) return;
                setError(messageOf(e));
            }
            if (p.range.until === 'now' && !stop.signal.aborted) timer = setTimeout(ask, p.everyMs ?? 20000);
        };
        if (p.targets.length) void ask();
        else set({ series: [] });
        return () => {
            stop.abort();
            clearTimeout(timer);
        };
    }, [key]);
    const label = p.title ?? p.targets.join(', ');
    return (
        <div class="graph">
            {p.title && <h2>{p.title}</h2>}
            {error && <pre class="error" role="alert">{error}</pre>}
            {answer ? (
                <Chart series={answer.series} label={'chart of ' + label} {...pick(p)} {...(answer.range && { range: answer.range })} />
            ) : (
                !error && <p class="empty">…</p>
            )}
        </div>
    );
}

function pick({ unit, height, names, onZoom }: GraphProps) {
    return { ...(unit && { unit }), ...(height && { height }), ...(names && { names }), ...(onZoom && { onZoom }) };
}
