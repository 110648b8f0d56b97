// The machines that post metrics, and each one's charts, by the names that carat agent and mackerel-agent give.
import { useEffect, useState } from 'preact/hooks';
import { find, messageOf, render, request, type Series } from './api';
import { Bar } from './bar';
import { parts, type Unit } from './format';
import { Graph } from './graph';
import { RangeBar, rangeOf, zoomTo } from './range';
import { link, type Place } from './router';

const MOST = 500;
const EVERY_MS = 30000;

export function HostsPage({ place }: { place: Place }) {
    const id = place.path[1];
    return id ? <HostPage id={id} place={place} key={id} /> : <Hosts />;
}

interface Row {
    id: string;
    load: number | null;
    busy: number | null; // share of all processors
    memory: number | null; // share used
}

const TARGETS = ['host.*.loadavg1', 'host.*.memory.used', 'host.*.memory.total', 'sumSeriesWithWildcards(host.*.cpu.*.percentage,3)', 'host.*.cpu.idle.percentage'];

function last(s: Series | undefined): number | null {
    for (let i = (s?.datapoints.length ?? 0) - 1; i >= 0; i--) if (s!.datapoints[i]![0] != null) return s!.datapoints[i]![0];
    return null;
}

async function rows(): Promise<Row[]> {
    const [nodes, series] = await Promise.all([find('host.*'), render({ targets: TARGETS, from: '-10min', until: 'now' })]);
    const by = new Map(series.map(s => [s.target, s]));
    const value = (name: string) => last(by.get(name));
    const share = (a: number | null, b: number | null) => (a == null || !b ? null : a / b);
    return nodes.filter(n => !n.leaf).map(n => {
        const h = 'host.' + n.name;
        const all = value(`${h}.cpu.percentage`);
        const idle = value(`${h}.cpu.idle.percentage`);
        return {
            id: n.name,
            load: value(`${h}.loadavg1`),
            busy: share(all == null || idle == null ? null : all - idle, all),
            memory: share(value(`${h}.memory.used`), value(`${h}.memory.total`)),
        };
    });
}

function Share({ value }: { value: number | null }) {
    const [n, u] = parts(value, 'ratio');
    return (
        <td class="share">
            <Bar share={value} />
            <span>{n}{u}</span>
        </td>
    );
}

function Hosts() {
    const [list, set] = useState<Row[] | null>(null);
    const [error, setError] = useState('');
    const [text, setText] = useState('');
    useEffect(() => {
        const ask = () => rows().then(r => (set(r), setError('')), e => setError(messageOf(e)));
        void ask();
        const timer = setInterval(ask, EVERY_MS);
        return () => clearInterval(timer);
    }, []);
    const shown = list?.filter(r => r.id.includes(text.trim()));
    return (
        <main class="hosts">
            <header class="bar">
                <h1>Hosts</h1>
                <input type="search" placeholder="Search hosts" aria-label="Search hosts" value={text} onInput={e => setText(e.currentTarget.value)} />
            </header>
            {error && <pre class="error" role="alert">{error}</pre>}
            {list?.length === 0 && <p class="empty">No host has posted yet. <code>carat agent --url {location.origin}</code> on a machine makes it one.</p>}
            {shown && shown.length > 0 && (
                <table>
                    <thead>
                        <tr><th scope="col">Host</th><th scope="col">Load</th><th scope="col">Processors busy</th><th scope="col">Memory used</th></tr>
                    </thead>
                    <tbody>
                        {shown.slice(0, MOST).map(r => (
                            <tr key={r.id}>
                                <th scope="row"><a href={link(['hosts', r.id])}>{r.id}</a></th>
                                <td>{parts(r.load)[0]}</td>
                                <Share value={r.busy} />
                                <Share value={r.memory} />
                            </tr>
                        ))}
                    </tbody>
                </table>
            )}
            {shown && shown.length > MOST && <p class="empty">and {shown.length - MOST} more: search for them</p>}
        </main>
    );
}

interface Group {
    title: string;
    unit: Unit;
    match: RegExp; // names of a host's metrics; the first group names a series in the legend
    targets: (id: string) => string[];
    name: (target: string) => string;
}

const level = (i: number) => (t: string) => t.split('.')[i] ?? t;
const GROUPS: Group[] = [
    { title: 'Load', unit: '', match: /^loadavg/, targets: h => [`${h}.loadavg1`, `${h}.loadavg5`, `${h}.loadavg15`], name: t => t.replace(/.*loadavg/, '') + ' min' },
    { title: 'Processors', unit: '%', match: /^cpu\./, targets: h => [`exclude(${h}.cpu.*.percentage,"idle")`], name: level(3) },
    { title: 'Memory', unit: 'B', match: /^memory\./, targets: h => [`${h}.memory.{used,available,total,swap_used}`], name: level(3) },
    { title: 'Network', unit: 'B/s', match: /^interface\./, targets: h => [`${h}.interface.*.*.delta`], name: t => `${level(3)(t)} ${level(4)(t).replace('Bytes', '')}` },
    { title: 'Disk operations', unit: '/s', match: /^disk\./, targets: h => [`${h}.disk.*.*.delta`], name: t => `${level(3)(t)} ${level(4)(t)}` },
    { title: 'File systems used', unit: 'B', match: /^filesystem\./, targets: h => [`${h}.filesystem.*.used`], name: level(3) },
];

function HostPage({ id, place }: { id: string; place: Place }) {
    const [names, set] = useState<string[] | null>(null);
    const [error, setError] = useState('');
    useEffect(() => {
        request<{ names: string[] }>(`/api/v0/hosts/${encodeURIComponent(id)}/metric-names`).then(a => set(a.names), e => setError(messageOf(e)));
    }, [id]);
    const range = rangeOf(place);
    const host = 'host.' + id;
    const others = names?.filter(n => !GROUPS.some(g => g.match.test(n))) ?? [];
    return (
        <main class="host">
            <header class="bar">
                <h1><a href={link(['hosts'])}>Hosts</a> / {id}</h1>
                <RangeBar place={place} />
            </header>
            {error && <pre class="error" role="alert">{error}</pre>}
            {names && (
                <div class="graphs">
                    {GROUPS.filter(g => names.some(n => g.match.test(n))).map(g => (
                        <Graph key={g.title} title={g.title} unit={g.unit} range={range} targets={g.targets(host)} names={g.name} onZoom={zoomTo(place)} />
                    ))}
                </div>
            )}
            {others.length > 0 && (
                <section class="others" aria-labelledby="others">
                    <h2 id="others">Other metrics</h2>
                    <ul>
                        {others.slice(0, MOST).map(n => <li key={n}><a href={link(['explore'], { target: `${host}.${n}` })}>{n}</a></li>)}
                    </ul>
                </section>
            )}
        </main>
    );
}
