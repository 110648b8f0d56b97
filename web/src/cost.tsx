// What the same data would cost a month on cloud services, and what the length of a window has to do with it.
import { useEffect, useState } from 'preact/hooks';
import { messageOf, request } from './api';
import { Bar } from './bar';
import { format, parts } from './format';
import { go, withArgs, type Place } from './router';

interface Window {
    hours: number;
    points: number;
    hot: number;
    warm: number;
    total: number;
}

interface Cost {
    prices: { date: string; currency: string };
    series: number;
    measured: boolean;
    step_s: number;
    keep_days: number;
    warm_days: number;
    reads_per_s: number;
    warm_bytes_point: number;
    cold_bytes_point: number;
    window_points: number;
    month: Record<'stream' | 'hot' | 'warm_writes' | 'warm_storage' | 'warm_reads' | 'cold_storage' | 'cold_requests' | 'total' | 'embedded_disk', number>;
    bytes: Record<'stream' | 'hot' | 'warm' | 'cold', number>;
    windows: Window[];
}

const FIELDS: [string, string, (c: Cost) => string][] = [
    ['series', 'Series', c => String(c.series)],
    ['step', 'A point every', c => `${c.step_s}s`],
    ['keep', 'Kept', c => `${c.keep_days}d`],
    ['warm', 'of that in warm', c => `${c.warm_days}d`],
    ['reads', 'Series read a second', c => String(c.reads_per_s)],
    ['window', 'Window', c => duration((c.window_points * c.step_s) / 3600)],
];

const duration = (hours: number) => (hours >= 1 ? `${+hours.toFixed(2)}h` : `${Math.round(hours * 60)}min`);

function money(v: number, currency: string): string {
    return new Intl.NumberFormat('en', { style: 'currency', currency, maximumFractionDigits: v < 100 ? 2 : 0 }).format(v);
}

function Tiers({ c }: { c: Cost }) {
    const m = c.month;
    const tiers: [string, number, string][] = [
        ['Stream (Kinesis)', m.stream, `${format(c.bytes.stream, 'B')} kept`],
        ['Hot (Redis)', m.hot, `${format(c.bytes.hot, 'B')} in memory`],
        ['Warm (DynamoDB)', m.warm_writes + m.warm_storage + m.warm_reads,
            `writes ${money(m.warm_writes, c.prices.currency)}, storage ${money(m.warm_storage, c.prices.currency)} (${format(c.bytes.warm, 'B')}), reads ${money(m.warm_reads, c.prices.currency)}`],
        ['Cold (S3)', m.cold_storage + m.cold_requests, `${format(c.bytes.cold, 'B')}`],
    ];
    const most = Math.max(...tiers.map(t => t[1]), 1e-9);
    return (
        <table>
            <thead><tr><th scope="col">Tier</th><th scope="col">A month</th><th scope="col" class="wide">Share</th><th scope="col" class="note">What for</th></tr></thead>
            <tbody>
                {tiers.map(([name, v, note]) => (
                    <tr key={name}>
                        <th scope="row">{name}</th>
                        <td>{money(v, c.prices.currency)}</td>
                        <td class="wide"><Bar share={v / most} /></td>
                        <td class="note">{note}</td>
                    </tr>
                ))}
                <tr class="sum">
                    <th scope="row">All</th>
                    <td data-total>{money(m.total, c.prices.currency)}</td>
                    <td class="wide" />
                    <td class="note">on one machine instead: {money(m.embedded_disk, c.prices.currency)} for its disk</td>
                </tr>
            </tbody>
        </table>
    );
}

function Windows({ c }: { c: Cost }) {
    const most = Math.max(...c.windows.map(w => w.total), 1e-9);
    const best = Math.min(...c.windows.map(w => w.total));
    return (
        <table>
            <thead><tr><th scope="col">Window</th><th scope="col">Points an item</th><th scope="col">Hot</th><th scope="col">Warm</th><th scope="col">All</th><th scope="col" class="wide">Share</th></tr></thead>
            <tbody>
                {c.windows.map(w => (
                    <tr key={w.hours} class={w.total === best ? 'best' : ''}>
                        <th scope="row">{duration(w.hours)}{w.total === best && <small> cheapest</small>}</th>
                        <td>{parts(w.points).join('')}</td>
                        <td>{money(w.hot, c.prices.currency)}</td>
                        <td>{money(w.warm, c.prices.currency)}</td>
                        <td>{money(w.total, c.prices.currency)}</td>
                        <td class="wide"><Bar share={w.total / most} /></td>
                    </tr>
                ))}
            </tbody>
        </table>
    );
}

export function CostPage({ place }: { place: Place }) {
    const [cost, set] = useState<Cost | null>(null);
    const [error, setError] = useState('');
    const asked = place.args.toString();
    useEffect(() => {
        let current = true;
        request<Cost>('/api/v1/cost?' + asked).then(
            c => current && (set(c), setError('')),
            e => current && setError(messageOf(e)),
        );
        return () => {
            current = false;
        };
    }, [asked]);
    return (
        <main class="cost">
            <header class="bar">
                <div>
                    <h1>Cost</h1>
                    <p>What this data would cost a month as a distributed deployment. Machines, traffic and discounts are not in it.</p>
                </div>
            </header>
            {cost && (
                <div class="fields">
                    {FIELDS.map(([name, label, value]) => (
                        <label key={name}>
                            {label}
                            <input value={place.args.get(name) ?? value(cost)} onChange={e => go(withArgs(place, { [name]: e.currentTarget.value.trim() }), true)} />
                        </label>
                    ))}
                    {asked && <button type="button" onClick={() => go('#/cost', true)}>As measured</button>}
                </div>
            )}
            {error && <pre class="error" role="alert">{error}</pre>}
            {cost && (
                <>
                    <section class="panel" aria-label="Cost by tier"><Tiers c={cost} /></section>
                    <section class="panel" aria-labelledby="windows">
                        <h2 id="windows">Length of a window</h2>
                        <p class="quiet">Points wait in hot until a window is full: longer windows make fewer, larger items in warm and need more memory.</p>
                        <Windows c={cost} />
                    </section>
                    <p class="quiet">
                        Prices of {cost.prices.date}: check them (<code>carat cost --print-prices</code>). {format(cost.warm_bytes_point, 'B')} a point in warm,{' '}
                        {format(cost.cold_bytes_point, 'B')} in cold ({cost.measured ? 'measured here' : 'assumed: too little is stored here yet'}).
                    </p>
                </>
            )}
        </main>
    );
}
