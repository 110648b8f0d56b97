// What the pages ask the server. Every failure is an ApiError whose message can be shown.
export class ApiError extends Error {
    constructor(readonly status: number, message: string) {
        super(message);
    }
}

async function failure(answer: Response): Promise<ApiError> {
    const text = await answer.text();
    try {
        const message: unknown = JSON.parse(text)?.error?.message;
        if (typeof message === 'string') return new ApiError(answer.status, message);
    } catch {
        // not JSON: the text itself
    }
    return new ApiError(answer.status, text.slice(0, 500) || `the server answered ${answer.status}`);
}

export async function request<T>(path: string, init?: RequestInit, seen?: (answer: Response) => void): Promise<T> {
    let answer: Response;
    try {
        answer = await fetch(path, init);
    } catch (e) {
        if (e instanceof DOMException && e.name === 'AbortError') throw e;
        throw new ApiError(0, 'the server cannot be reached');
    }
    if (!answer.ok) throw await failure(answer);
    seen?.(answer);
    return (answer.status === 204 ? undefined : await answer.json()) as T;
}

export interface Histogram {
    count: number;
    sum: number; // seconds
}

export interface Status {
    version: string;
    time_ms: number;
    ready: boolean;
    waiting_for: string[];
    facts: Record<string, string>;
    metrics: Record<string, number | Histogram>;
}

export const getStatus = () => request<Status>('/api/v1/status');

export interface Series {
    target: string;
    datapoints: [number | null, number][];
}

export interface RenderQuery {
    targets: string[];
    from: string;
    until: string;
    maxDataPoints?: number;
}

export function render(q: RenderQuery, signal?: AbortSignal): Promise<Series[]> {
    const form = new URLSearchParams({ format: 'json', from: q.from, until: q.until });
    for (const t of q.targets) form.append('target', t);
    if (q.maxDataPoints) form.set('maxDataPoints', String(q.maxDataPoints));
    return request<Series[]>('/render', { method: 'POST', body: form, ...(signal && { signal }) });
}

export interface Node {
    path: string;
    name: string;
    leaf: boolean;
}

/** The nodes that a pattern ending in "*" finds, such as "servers.*", branches first. */
export async function find(query: string): Promise<Node[]> {
    const { metrics } = await request<{ metrics: { path: string; name: string; is_leaf: string }[] }>(
        '/metrics/find?format=completer&query=' + encodeURIComponent(query),
    );
    return metrics
        .map(n => ({ path: n.path.replace(/\.$/, ''), name: n.name, leaf: n.is_leaf === '1' }))
        .sort((a, b) => Number(a.leaf) - Number(b.leaf) || a.path.localeCompare(b.path, 'en', { numeric: true }));
}

export const isAbort = (e: unknown) => e instanceof DOMException && e.name === 'AbortError';
export const messageOf = (e: unknown) => (e instanceof Error ? e.message : String(e));
