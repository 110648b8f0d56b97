// One dashboard: its panels over one range, changed in place.
import { useEffect, useState } from 'preact/hooks';
import { messageOf } from './api';
import { deleteDashboard, loadDashboard, saveDashboard, type Dashboard, type Panel } from './dashboard';
import { UnitChoice } from './explore';
import { Expression } from './expression';
import type { Unit } from './format';
import { Graph } from './graph';
import { RangeBar, rangeOf, zoomTo, type Range } from './range';
import { go, link, withArgs, type Place } from './router';

interface Loaded {
    dashboard: Dashboard;
    tag: string;
}

export function DashboardPage({ id, place }: { id: string; place: Place }) {
    const [loaded, setLoaded] = useState<Loaded | null>(null);
    const [draft, setDraft] = useState<Dashboard | null>(null);
    const [error, setError] = useState('');
    const editing = place.args.get('edit') === '1';
    useEffect(() => {
        loadDashboard(id).then(
            l => {
                setLoaded(l);
                setDraft(l.dashboard);
            },
            e => setError(messageOf(e)),
        );
    }, [id]);

    const edit = (on: boolean) => go(withArgs(place, { edit: on ? '1' : '' }), true);
    const save = async () => {
        try {
            setLoaded({ dashboard: draft!, tag: await saveDashboard(id, draft!, loaded!.tag) });
            setError('');
            edit(false);
        } catch (e) {
            setError(messageOf(e));
        }
    };
    const cancel = () => {
        setDraft(loaded!.dashboard);
        setError('');
        edit(false);
    };
    const remove = async () => {
        if (!confirm(`Delete “${loaded!.dashboard.title}”?`)) return;
        try {
            await deleteDashboard(id);
            go(link(['dashboards']));
        } catch (e) {
            setError(messageOf(e));
        }
    };
    const shown = editing ? draft : loaded?.dashboard;
    const range = rangeOf(place, shown?.range);
    return (
        <main class="dashboard">
            <header class="bar">
                {editing && draft ? (
                    <>
                        <h1 class="unseen">{loaded?.dashboard.title}</h1>
                        <input class="title" aria-label="Title of the dashboard" maxLength={200} value={draft.title} onInput={e => setDraft({ ...draft, title: e.currentTarget.value })} />
                    </>
                ) : (
                    <h1>{shown?.title ?? (error ? 'Not found' : '…')}</h1>
                )}
                {shown && (
                    <span class="actions">
                        {editing ? (
                            <>
                                <button type="button" class="main" onClick={save}>Save</button>
                                <button type="button" onClick={cancel}>Cancel</button>
                                <button type="button" onClick={remove}>Delete</button>
                            </>
                        ) : (
                            <>
                                <button type="button" onClick={() => edit(true)}>Edit</button>
                                <button type="button" onClick={() => download(id, loaded!.dashboard)}>Export</button>
                            </>
                        )}
                        <RangeBar place={place} usual={shown.range ?? '-6h'} />
                    </span>
                )}
            </header>
            {error && <pre class="error" role="alert">{error}</pre>}
            {shown && (
                <div class="panels">
                    {shown.panels.map((p, i) => (
                        <section key={i} class={`panel w${p.width ?? 1}`} aria-label={p.title || `Panel ${i + 1}`}>
                            {editing && draft ? <PanelEditor dashboard={draft} at={i} onChange={setDraft} /> : <h2>{p.title}</h2>}
                            <PanelGraph panel={p} range={range} place={place} />
                        </section>
                    ))}
                    {shown.panels.length === 0 && !editing && <p class="empty">No panels yet: Edit adds them.</p>}
                </div>
            )}
            {editing && draft && (
                <p>
                    <button type="button" onClick={() => setDraft({ ...draft, panels: [...draft.panels, { title: '', targets: [''] }] })}>Add a panel</button>
                </p>
            )}
        </main>
    );
}

function PanelGraph({ panel, range, place }: { panel: Panel; range: Range; place: Place }) {
    const targets = panel.targets.filter(t => t.trim());
    return targets.length ? (
        <Graph targets={targets} range={range} unit={(panel.unit ?? '') as Unit} height={200} onZoom={zoomTo(place)} />
    ) : (
        <p class="empty">no expression yet</p>
    );
}

interface EditorProps {
    dashboard: Dashboard;
    at: number;
    onChange: (d: Dashboard) => void;
}

function PanelEditor({ dashboard, at, onChange }: EditorProps) {
    const panel = dashboard.panels[at]!;
    const put = (panels: Panel[]) => onChange({ ...dashboard, panels });
    const set = (change: Partial<Panel>) => put(dashboard.panels.map((p, i) => (i === at ? { ...p, ...change } : p)));
    const move = (by: number) => {
        const panels = [...dashboard.panels];
        [panels[at], panels[at + by]] = [panels[at + by]!, panels[at]!];
        put(panels);
    };
    const n = at + 1;
    return (
        <div class="editor">
            <input aria-label={`Title of panel ${n}`} placeholder="Title" maxLength={200} value={panel.title} onInput={e => set({ title: e.currentTarget.value })} />
            {panel.targets.map((t, i) => (
                <div class="line" key={i}>
                    <Expression value={t} label={`Panel ${n}, expression ${i + 1}`} onDraw={text => set({ targets: panel.targets.map((old, k) => (k === i ? text : old)) })} />
                    {panel.targets.length > 1 && (
                        <button type="button" aria-label={`Remove expression ${i + 1} of panel ${n}`} onClick={() => set({ targets: panel.targets.filter((_, k) => k !== i) })}>×</button>
                    )}
                </div>
            ))}
            <div class="actions">
                <button type="button" onClick={() => set({ targets: [...panel.targets, ''] })}>Add an expression</button>
                <UnitChoice value={panel.unit ?? ''} onChange={unit => set({ unit })} />
                <select aria-label={`Width of panel ${n}`} value={String(panel.width ?? 1)} onChange={e => set({ width: Number(e.currentTarget.value) })}>
                    {['1', '2', '3'].map(w => <option key={w} value={w}>{`${w}⁄3 wide`}</option>)}
                </select>
                <button type="button" aria-label={`Move panel ${n} back`} disabled={at === 0} onClick={() => move(-1)}>←</button>
                <button type="button" aria-label={`Move panel ${n} on`} disabled={n === dashboard.panels.length} onClick={() => move(1)}>→</button>
                <button type="button" aria-label={`Remove panel ${n}`} onClick={() => put(dashboard.panels.filter((_, i) => i !== at))}>Remove</button>
            </div>
        </div>
    );
}

function download(id: string, dashboard: Dashboard) {
    const a = document.createElement('a');
    a.href = URL.createObjectURL(new Blob([JSON.stringify(dashboard, null, 2) + '\n'], { type: 'application/json' }));
    a.download = `${id}.json`;
    a.click();
    setTimeout(() => URL.revokeObjectURL(a.href), 1000);
}
