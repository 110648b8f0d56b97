import { render } from 'preact';
import { useEffect } from 'preact/hooks';
import 'uplot/dist/uPlot.min.css';
import './style.css';
import { CostPage } from './cost';
import { DashboardsPage } from './dashboards';
import { ExplorePage } from './explore';
import { HostsPage } from './hosts';
import { PipelinePage } from './pipeline';
import { usePlace, type Place } from './router';
import { applyTheme, toggleTheme, useDark } from './theme';

const PAGES: { id: string; name: string; page: (p: { place: Place }) => preact.JSX.Element }[] = [
    { id: 'pipeline', name: 'Pipeline', page: PipelinePage },
    { id: 'explore', name: 'Explore', page: ExplorePage },
    { id: 'dashboards', name: 'Dashboards', page: DashboardsPage },
    { id: 'hosts', name: 'Hosts', page: HostsPage },
    { id: 'cost', name: 'Cost', page: CostPage },
];

// The address after '#' is taken (router.ts), so this link moves the focus by itself.
function skip(e: Event) {
    e.preventDefault();
    document.getElementById('content')?.focus();
}

function App() {
    const place = usePlace();
    const dark = useDark();
    const current = PAGES.find(p => p.id === place.path[0]) ?? PAGES[0]!;
    useEffect(() => {
        document.title = `${current.name} · Carat`;
    }, [current]);
    return (
        <>
            <header class="top">
                <a class="skip" href="#content" onClick={skip}>Skip to the page</a>
                <a class="brand" href="#/"><img src="/icon.svg" alt="" width="20" height="20" />Carat</a>
                <nav aria-label="Pages">
                    {PAGES.map(p => (
                        <a key={p.id} href={'#/' + p.id} aria-current={p === current ? 'page' : undefined}>{p.name}</a>
                    ))}
                </nav>
                <button type="button" class="theme" onClick={toggleTheme}>{dark ? 'Light' : 'Dark'}</button>
            </header>
            <div id="content" tabIndex={-1}><current.page place={place} key={current.id} /></div>
        </>
    );
}

applyTheme();
render(<App />, document.getElementById('app')!);
