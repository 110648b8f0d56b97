// The address after '#' is the whole state of a page: "#/explore?target=a.b&from=-6h". A link to it is a share.
import { useEffect, useState } from 'preact/hooks';

export interface Place {
    path: string[];
    args: URLSearchParams;
}

export function parse(hash: string): Place {
    const [path = '', query = ''] = hash.replace(/^#\/?/, '').split(/\?(.*)/s);
    return { path: path.split('/').filter(Boolean).map(decodeURIComponent), args: new URLSearchParams(query) };
}

export function link(path: string[], args?: URLSearchParams | Record<string, string>): string {
    const query = new URLSearchParams(args).toString();
    return '#/' + path.map(encodeURIComponent).join('/') + (query ? '?' + query : '');
}

/** replace: the back button skips where we were. */
export function go(hash: string, replace = false): void {
    if (hash === location.hash) return;
    if (!replace) {
        location.hash = hash;
        return;
    }
    history.replaceState(null, '', hash);
    dispatchEvent(new HashChangeEvent('hashchange'));
}

export function usePlace(): Place {
    const [place, set] = useState(() => parse(location.hash));
    useEffect(() => {
        const changed = () => set(parse(location.hash));
        addEventListener('hashchange', changed);
        return () => removeEventListener('hashchange', changed);
    }, []);
    return place;
}

/** The same page with other arguments; an empty value takes one out. */
export function withArgs(place: Place, change: Record<string, string | string[]>): string {
    const args = new URLSearchParams(place.args);
    for (const [name, value] of Object.entries(change)) {
        args.delete(name);
        for (const v of Array.isArray(value) ? value : value ? [value] : []) args.append(name, v);
    }
    return link(place.path, args);
}
