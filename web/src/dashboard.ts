// Dashboards as the server keeps them.
import { ApiError, request } from './api';

export interface Panel {
    title: string;
    targets: string[];
    unit?: string;
    width?: number; // of three columns
}

export interface Dashboard {
    title: string;
    range?: string;
    panels: Panel[];
}

export interface Listed {
    id: string;
    title: string;
    panels: number;
}

const address = (id: string) => '/api/v1/dashboards/' + encodeURIComponent(id);

export const listDashboards = async () => (await request<{ dashboards: Listed[] }>('/api/v1/dashboards')).dashboards;

/** With the tag that tells a later save whether someone else changed it meanwhile. */
export async function loadDashboard(id: string): Promise<{ dashboard: Dashboard; tag: string }> {
    let tag = '';
    const dashboard = await request<Dashboard>(address(id), undefined, answer => (tag = answer.headers.get('ETag') ?? ''));
    return { dashboard, tag };
}

/** tag: what was loaded; '' makes a new one. Returns the new tag. */
export async function saveDashboard(id: string, dashboard: Dashboard, tag: string): Promise<string> {
    let next = '';
    const headers: Record<string, string> = { 'Content-Type': 'application/json', ...(tag ? { 'If-Match': tag } : { 'If-None-Match': '*' }) };
    await request(address(id), { method: 'PUT', headers, body: JSON.stringify(dashboard) }, answer => (next = answer.headers.get('ETag') ?? ''));
    return next;
}

export const deleteDashboard = (id: string) => request<void>(address(id), { method: 'DELETE' });

const slug = (title: string) => title.toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-+|-+$/g, '').slice(0, 50) || 'dashboard';

/** Under an id made of its title, with a number behind it if that is taken. */
export async function createDashboard(dashboard: Dashboard): Promise<string> {
    for (let i = 1; ; i++) {
        const id = slug(dashboard.title) + (i > 1 ? `-${i}` : '');
        try {
            await saveDashboard(id, dashboard, '');
            return id;
        } catch (e) {
            if (!(e instanceof ApiError) || e.status !== 412 || i > 100) throw e;
        }
    }
}
