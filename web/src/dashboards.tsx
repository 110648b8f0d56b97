// The list of dashboards, new ones, and those that come as a file.
import { useEffect, useState } from 'preact/hooks';
import { messageOf } from './api';
import { DashboardPage } from './dashboard_page';
import { createDashboard, listDashboards, type Dashboard, type Listed } from './dashboard';
import { go, link, type Place } from './router';

export function DashboardsPage({ place }: { place: Place }) {
    const id = place.path[1];
    return id ? <DashboardPage key={id} id={id} place={place} /> : <List />;
}

function List() {
    const [list, setList] = useState<Listed[] | null>(null);
    const [error, setError] = useState('');
    const [title, setTitle] = useState('');
    useEffect(() => {
        listDashboards().then(setList, e => setError(messageOf(e)));
    }, []);
    const create = async (dashboard: Dashboard, edit: boolean) => {
        try {
            go(link(['dashboards', await createDashboard(dashboard)], edit ? { edit: '1' } : {}));
        } catch (e) {
            setError(messageOf(e));
        }
    };
    const take = async (file: File | undefined) => {
        if (!file) return;
        let read: Dashboard;
        try {
            read = JSON.parse(await file.text());
        } catch {
            setError(`${file.name} is not JSON`);
            return;
        }
        await create(read, false);
    };
    return (
        <main class="list">
            <header class="bar">
                <h1>Dashboards</h1>
                <form class="actions" onSubmit={e => { e.preventDefault(); if (title.trim()) void create({ title: title.trim(), panels: [] }, true); }}>
                    <input aria-label="Title of a new dashboard" placeholder="Title" maxLength={200} value={title} onInput={e => setTitle(e.currentTarget.value)} />
                    <button type="submit" class="main" disabled={!title.trim()}>New</button>
                    <label class="button file">
                        Import
                        <input type="file" accept="application/json,.json" onChange={e => { void take(e.currentTarget.files?.[0]); e.currentTarget.value = ''; }} />
                    </label>
                </form>
            </header>
            {error && <pre class="error" role="alert">{error}</pre>}
            {list && list.length === 0 && <p class="empty">None yet. Give one a title above.</p>}
            {list && list.length > 0 && (
                <ul class="cards">
                    {list.map(d => (
                        <li key={d.id}>
                            <a href={link(['dashboards', d.id])}>
                                <strong>{d.title}</strong>
                                <small>{d.panels === 1 ? '1 panel' : `${d.panels} panels`}</small>
                            </a>
                        </li>
                    ))}
                </ul>
            )}
        </main>
    );
}
