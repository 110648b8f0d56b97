// The way of a point, alive: rates on the arrows, figures in the parts; a part shows its history below.
import { parts as partsOf, format, type Unit } from './format';
import { Graph } from './graph';
import { parts, type Figure, type Part } from './parts';
import { RangeBar, rangeOf, zoomTo } from './range';
import { withArgs, type Place } from './router';
import { useStatus, type Numbers } from './status';

const part = (id: string) => parts.find(p => p.id === id)!;
const WAY = ['doors', 'stream', 'writer', 'hot', 'warm', 'cold'];

/** What flows from each part of the way to the next. */
const flows: ((n: Numbers) => [number | null, Unit])[] = [
    n => [n.rate('carat_points_appended_total'), '/s'],
    n => [n.rate('carat_points_applied_total'), '/s'],
    n => [n.rate('carat_points_applied_total'), '/s'],
    n => [n.rate('carat_points_flushed_total'), '/s'],
    n => [n.rate('carat_mover_moved_parts_total'), '/s'],
];

function Arrow({ flow, what, up }: { flow: [number | null, Unit] | null; what: string; up?: boolean }) {
    const moving = !!flow?.[0];
    return (
        <div class={'arrow' + (up ? ' up' : '') + (moving ? ' moving' : '')} title={what}>
            {flow && <span>{format(flow[0], flow[1])}</span>}
            <i aria-hidden="true" />
        </div>
    );
}

function Value({ f }: { f: Figure }) {
    const [number, unit] = partsOf(f.value, f.unit);
    return (
        <>
            {number}
            {unit && <small>{unit}</small>}
        </>
    );
}

function Box({ p, n, place, chosen }: { p: Part; n: Numbers | null; place: Place; chosen: string }) {
    const [main, ...more] = n ? p.figures(n) : [];
    const bad = n && p.bad?.(n);
    return (
        <a class={`part ${p.id}` + (bad ? ' bad' : '')} href={withArgs(place, { part: p.id })} aria-current={chosen === p.id ? 'true' : undefined}>
            <span class="name">
                {p.name}
                {p.backend && n && <em>{n.now.facts[p.backend]}</em>}
            </span>
            {main && <strong data-figure={p.id} title={main.label}><Value f={main} /></strong>}
            <dl>
                {more.map(f => (
                    <div key={f.label}>
                        <dt>{f.label}</dt>
                        <dd><Value f={f} /></dd>
                    </div>
                ))}
            </dl>
            {bad && <span class="why">{bad}</span>}
        </a>
    );
}

function Details({ p, n, place }: { p: Part; n: Numbers; place: Place }) {
    const range = rangeOf(place);
    const prefix = `carat.${n.now.facts.node}.`;
    return (
        <section class="details" aria-labelledby="details">
            <header class="bar">
                <div>
                    <h2 id="details">{p.name}</h2>
                    <p>{p.what}</p>
                </div>
                <RangeBar place={place} />
            </header>
            {n.now.facts.history === 'true' ? (
                <div class="graphs">
                    {p.history.map(h => (
                        <Graph key={p.id + h.title} title={h.title} unit={h.unit} range={range} onZoom={zoomTo(place)}
                            {...(h.nonzero && { nonzero: true })} targets={h.targets.map(t => prefix + t)}
                            names={t => (h.node != null ? (t.split('.')[h.node] ?? t) : t).replace(/_ms$/, '').replaceAll('_', ' ')} />
                    ))}
                </div>
            ) : (
                <p class="empty">This server keeps no history of itself: <code>watch.store</code> is off.</p>
            )}
        </section>
    );
}

function Headline({ n, error }: { n: Numbers | null; error: string }) {
    if (error) return <p class="state bad" role="alert">{error}</p>;
    if (!n) return <p class="state">…</p>;
    if (!n.now.ready) return <p class="state warn">catching up: {n.now.waiting_for.join('; ')}</p>;
    const troubles = parts.map(p => [p, p.bad?.(n)] as const).filter(([, why]) => why);
    if (troubles.length) return <p class="state bad">{troubles.map(([p, why]) => `${p.name}: ${why}`).join('; ')}</p>;
    return <p class="state good">working: every part does what it should</p>;
}

export function PipelinePage({ place }: { place: Place }) {
    const { numbers: n, error } = useStatus();
    const chosen = place.args.get('part') ?? 'doors';
    const shown = parts.find(p => p.id === chosen) ?? part('doors');
    const box = (id: string) => <Box p={part(id)} n={n} place={place} chosen={shown.id} />;
    return (
        <main class="pipeline">
            <header class="bar">
                <h1>Pipeline</h1>
                <Headline n={n} error={error} />
            </header>
            <nav class="flow" aria-label="Parts of the pipeline">
                {WAY.map((id, i) => (
                    <>
                        {box(id)}
                        {i < flows.length && <Arrow flow={n && flows[i]!(n)} what={`${id} to ${WAY[i + 1]}`} />}
                    </>
                ))}
                <div class="ups" aria-hidden="true">
                    <Arrow up flow={null} what="hot to reader" />
                    <Arrow up flow={null} what="warm to reader" />
                    <Arrow up flow={null} what="cold to reader" />
                </div>
                {box('probe')}
                {box('reader')}
            </nav>
            {n && <Details p={shown} n={n} place={place} />}
        </main>
    );
}
