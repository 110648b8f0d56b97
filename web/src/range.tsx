// The range of time of a page, kept in its address as Graphite's from and until.
import { go, withArgs, type Place } from './router';
import { clockTime } from './format';

export interface Range {
    from: string;
    until: string;
}

const CHOICES = ['1h', '6h', '24h', '7d', '30d', '1y'];

export function rangeOf(place: Place, usual = '-6h'): Range {
    return { from: place.args.get('from') || usual, until: place.args.get('until') || 'now' };
}

const UNITS: Record<string, number> = { min: 60, h: 3600, d: 86400, w: 604800, y: 31536000 };

/** Seconds since 1970 of "now", "-6h", "1763818200"; NaN for what only the server understands. */
export function seconds(text: string, now = Date.now() / 1000): number {
    if (text === 'now') return now;
    if (/^\d{6,}$/.test(text)) return Number(text);
    const m = /^-(\d+)(min|h|d|w|y)$/.exec(text);
    return m ? now - Number(m[1]) * UNITS[m[2]!]! : NaN;
}

export function limits(r: Range): [number, number] | undefined {
    const now = Date.now() / 1000;
    const a = seconds(r.from, now);
    const b = seconds(r.until, now);
    return a < b ? [a, b] : undefined;
}

export const zoomTo = (place: Place) => (from: number, until: number) =>
    go(withArgs(place, { from: String(from), until: String(Math.max(until, from + 60)) }));

const words = (text: string) => (/^\d{6,}$/.test(text) ? clockTime(Number(text)).slice(0, 16) : text);

export function RangeBar({ place, usual = '-6h' }: { place: Place; usual?: string }) {
    const { from, until } = rangeOf(place, usual);
    const own = until !== 'now' || !CHOICES.includes(from.slice(1));
    const span = limits({ from, until });
    const wider = () => {
        if (!span) return;
        const half = (span[1] - span[0]) / 2;
        const end = Math.min(span[1] + half, Date.now() / 1000);
        go(withArgs(place, { from: String(Math.floor(span[0] - half)), until: String(Math.ceil(end)) }));
    };
    return (
        <div class="ranges" role="group" aria-label="Range of time">
            {CHOICES.map(c => (
                <a key={c} href={withArgs(place, { from: '-' + c, until: '' })} aria-current={!own && from === '-' + c ? 'true' : undefined}>
                    {c}
                </a>
            ))}
            {own && <span class="own">{words(from)} – {words(until)}</span>}
            <button type="button" onClick={wider} disabled={!span} aria-label="2× the range" title="Twice the range">2×</button>
        </div>
    );
}
