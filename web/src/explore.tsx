// Any expression over any range; the address has all of it.
import { useState } from 'preact/hooks';
import { Expression } from './expression';
import type { Unit } from './format';
import { Graph } from './graph';
import { RangeBar, rangeOf, zoomTo } from './range';
import { go, withArgs, type Place } from './router';
import { Tree } from './tree';

export const UNITS: [Unit, string][] = [['', 'number'], ['B', 'bytes'], ['s', 'seconds'], ['ms', 'milliseconds'], ['%', 'per cent'], ['/s', 'a second'], ['/min', 'a minute']];
const POINTS = 2000;

export function UnitChoice({ value, onChange }: { value: string; onChange: (u: Unit) => void }) {
    return (
        <select aria-label="Unit" value={value} onChange={e => onChange(e.currentTarget.value as Unit)}>
            {UNITS.map(([u, name]) => <option key={u} value={u}>{name}</option>)}
        </select>
    );
}

function CopyLink() {
    const [done, set] = useState(false);
    const copy = async () => {
        await navigator.clipboard?.writeText(location.href);
        set(true);
        setTimeout(() => set(false), 1500);
    };
    return <button type="button" onClick={copy}>{done ? 'Copied' : 'Copy link'}</button>;
}

export function ExplorePage({ place }: { place: Place }) {
    const targets = place.args.getAll('target').filter(Boolean);
    const range = rangeOf(place);
    const unit = (place.args.get('unit') ?? '') as Unit;
    const set = (next: string[]) => go(withArgs(place, { target: next.map(t => t.trim()).filter(Boolean) }));
    const fields = targets.length ? targets : [''];
    const [more, setMore] = useState(false);
    const choose = (path: string) => set(targets.includes(path) ? targets.filter(t => t !== path) : [...targets, path]);
    const query = new URLSearchParams({ ...range });
    for (const t of targets) query.append('target', t);
    const picture = (format: string) => `/render?${query}&format=${format}&width=1000&height=400`;
    return (
        <main class="explore">
            <header class="bar">
                <h1>Explore</h1>
                <RangeBar place={place} />
            </header>
            <details class="names" open={innerWidth > 900}>
                <summary>Names</summary>
                <Tree chosen={new Set(targets)} onChoose={choose} />
            </details>
            <section class="work" aria-label="Expressions and chart">
                <div class="expressions">
                    {[...fields, ...(more ? [''] : [])].map((t, i) => (
                        <div class="line" key={i}>
                            <Expression value={t} label={`Expression ${i + 1}`}
                                onDraw={text => { setMore(false); set([...fields.slice(0, i), text, ...fields.slice(i + 1)]); }} />
                            {(t || i > 0) && (
                                <button type="button" aria-label={`Remove expression ${i + 1}`} title="Remove"
                                    onClick={() => (i < targets.length ? set(targets.filter((_, k) => k !== i)) : setMore(false))}>×</button>
                            )}
                        </div>
                    ))}
                    <div class="bar">
                        <button type="button" onClick={() => setMore(true)} disabled={more || !targets.length}>Add an expression</button>
                        <span class="actions">
                            <UnitChoice value={unit} onChange={u => go(withArgs(place, { unit: u }), true)} />
                            <CopyLink />
                            {targets.length > 0 && <a class="button" href={picture('png')}>PNG</a>}
                            {targets.length > 0 && <a class="button" href={picture('csv')}>CSV</a>}
                        </span>
                    </div>
                </div>
                {targets.length ? (
                    <Graph targets={targets} range={range} unit={unit} height={380} points={POINTS} onZoom={zoomTo(place)} />
                ) : (
                    <p class="empty">Choose a name on the left, or write an expression such as <code>sumSeries(carat.*.points_received.*.per_min)</code>.</p>
                )}
            </section>
        </main>
    );
}
