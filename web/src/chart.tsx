// A chart of series: uPlot draws, the legend below is ours. Dragging over it chooses a range.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import type { Series } from './api';
import { clockTime, format, type Unit } from './format';
import { palette, useDark } from './theme';

const LEGEND_MAX = 40;
const BINARY = Array.from({ length: 60 }, (_, i) => 2 ** i); // steps of bytes

/** Columns over common times. Answers of one step share their times, and those need no joining. */
export function columns(series: Series[]): uPlot.AlignedData {
    const tables = series.map(s => {
        const n = s.datapoints.length;
        const times = new Array<number>(n);
        const values = new Array<number | null>(n);
        s.datapoints.forEach(([v, t], i) => {
            times[i] = t;
            values[i] = v;
        });
        return [times, values] as [number[], (number | null)[]];
    });
    const first = tables[0];
    if (!first) return [[]];
    const last = first[0].length - 1;
    const same = tables.every(([t]) => t.length === last + 1 && t[0] === first[0][0] && t[last] === first[0][last]);
    return same ? [first[0], ...tables.map(([, v]) => v)] : uPlot.join(tables as uPlot.AlignedData[]);
}

interface Props {
    series: Series[];
    unit?: Unit;
    height?: number;
    names?: (target: string) => string;
    range?: [number, number]; // the times asked for, in seconds
    legend?: boolean;
    label: string;
    onZoom?: (from: number, until: number) => void;
}

function css(name: string): string {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function options(p: Props, width: number, colors: string[], shown: boolean[], hover: (i: number | null) => void): uPlot.Options {
    const unit = p.unit ?? '';
    const axis = { stroke: css('--quiet'), font: '11px system-ui, sans-serif', grid: { stroke: css('--grid'), width: 1 }, ticks: { show: false } };
    return {
        width,
        height: p.height ?? 180,
        padding: [10, 18, 0, 0],
        legend: { show: false },
        cursor: { points: { size: 6 }, drag: { x: !!p.onZoom, y: false, setScale: false }, focus: { prox: 24 } },
        focus: { alpha: p.series.length > 1 ? 0.3 : 1 },
        scales: {
            x: { time: true, ...(p.range && { range: () => p.range as uPlot.Range.MinMax }) },
            y: { range: (_u, min, max) => uPlot.rangeNum(Math.min(0, min ?? 0), Math.max(max ?? 1, min === 0 && max === 0 ? 1 : 1e-12), 0.08, true) },
        },
        axes: [
            { ...axis, size: 26, space: 70, values: timeTicks },
            { ...axis, size: (_u, ticks) => 16 + 6.5 * Math.max(4, ...(ticks ?? []).map(t => t.length)), space: 34, ...(unit.startsWith('B') && { incrs: BINARY }), values: (_u, ticks) => ticks.map(t => format(t, unit)) },
        ],
        series: [
            {},
            ...p.series.map((s, i) => ({
                label: s.target,
                stroke: colors[i % colors.length]!,
                width: p.series.length > 12 ? 1 : 1.5,
                show: shown[i] ?? true,
                spanGaps: false,
                points: { show: lonely, size: 4 },
            })),
        ],
        hooks: {
            setCursor: [u => hover(u.cursor.idx ?? null)],
            setSelect: [
                u => {
                    if (!p.onZoom || u.select.width < 4) return;
                    const from = u.posToVal(u.select.left, 'x');
                    const until = u.posToVal(u.select.left + u.select.width, 'x');
                    u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
                    p.onZoom(Math.floor(from), Math.ceil(until));
                },
            ],
        },
    };
}

/** Dots only where there are few points, so that one alone is seen. */
function lonely(u: uPlot, i: number): boolean {
    const values = u.data[i]!;
    let n = 0;
    for (let k = 0; k < values.length && n < 3; k++) if (values[k] != null) n++;
    return n > 0 && n < 3;
}

const two = (n: number) => String(n).padStart(2, '0');
function timeTicks(_u: uPlot, ticks: number[]): string[] {
    const step = (ticks[1] ?? 0) - (ticks[0] ?? 0);
    return ticks.map(t => {
        const d = new Date(t * 1000);
        const midnight = d.getHours() === 0 && d.getMinutes() === 0 && d.getSeconds() === 0;
        if (step >= 86400 * 28) return `${d.getFullYear()}-${two(d.getMonth() + 1)}`;
        if (step >= 86400 || midnight) return `${two(d.getMonth() + 1)}-${two(d.getDate())}`;
        return `${two(d.getHours())}:${two(d.getMinutes())}` + (step < 60 && step > 0 ? `:${two(d.getSeconds())}` : '');
    });
}

export function Chart(p: Props) {
    const box = useRef<HTMLDivElement>(null);
    const plot = useRef<uPlot | null>(null);
    const dark = useDark();
    const [at, setAt] = useState<number | null>(null);
    const [hidden, setHidden] = useState<ReadonlySet<string>>(new Set());
    const colors = palette(dark);
    const data = useMemo(() => columns(p.series), [p.series]);
    const zoom = useRef(p.onZoom);
    zoom.current = p.onZoom;
    const key = JSON.stringify([p.unit, p.height, p.range, !!p.onZoom]);

    useLayoutEffect(() => {
        const shown = p.series.map(s => !hidden.has(s.target));
        const mine: Props = { ...p, ...(p.onZoom && { onZoom: (a: number, b: number) => zoom.current?.(a, b) }) };
        const u = new uPlot(options(mine, box.current!.clientWidth, colors, shown, setAt), data, box.current!);
        plot.current = u;
        const canvas = u.root.querySelector('canvas');
        canvas?.setAttribute('role', 'img');
        canvas?.setAttribute('aria-label', p.label);
        return () => u.destroy();
    }, [data, dark, key]);

    useEffect(() => {
        const sized = new ResizeObserver(() => {
            const width = box.current?.clientWidth;
            if (width && plot.current && plot.current.width !== width) plot.current.setSize({ width, height: p.height ?? 180 });
        });
        sized.observe(box.current!);
        return () => sized.disconnect();
    }, []);

    const toggle = (target: string, i: number) => {
        const next = new Set(hidden);
        if (!next.delete(target)) next.add(target);
        setHidden(next);
        plot.current?.setSeries(i + 1, { show: !next.has(target) });
    };
    const time = at == null ? undefined : data[0]?.[at];
    return (
        <figure class="chart">
            <div class="plot" ref={box} />
            {p.series.length === 0 && <p class="empty">no points in this range</p>}
            {p.legend !== false && p.series.length > 0 && (
                <div class="legend">
                    {p.series.slice(0, LEGEND_MAX).map((s, i) => {
                        const name = p.names ? p.names(s.target) : s.target;
                        return (
                            <button type="button" key={i + s.target} class={hidden.has(s.target) ? 'off' : ''} title={s.target}
                                aria-pressed={!hidden.has(s.target)} onClick={() => toggle(s.target, i)}>
                                <Swatch color={colors[i % colors.length]!} />
                                <span>{name}</span>
                                <b>{format(at == null ? lastValue(data[i + 1]) : data[i + 1]?.[at], p.unit)}</b>
                            </button>
                        );
                    })}
                    {p.series.length > LEGEND_MAX && <span class="more">and {p.series.length - LEGEND_MAX} more</span>}
                    <time>{time == null ? '' : clockTime(time)}</time>
                </div>
            )}
        </figure>
    );
}

const Swatch = ({ color }: { color: string }) => (
    <svg class="swatch" viewBox="0 0 10 10" aria-hidden="true">
        <rect width="10" height="10" rx="2" fill={color} />
    </svg>
);

function lastValue(values: ArrayLike<number | null | undefined> | undefined): number | null {
    for (let i = (values?.length ?? 0) - 1; i >= 0; i--) if (values![i] != null) return values![i]!;
    return null;
}
