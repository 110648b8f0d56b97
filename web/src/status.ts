// The server's numbers, asked for every two seconds while the page is seen; rates are between two answers.
import { useEffect, useState } from 'preact/hooks';
import { getStatus, messageOf, type Histogram, type Status } from './api';

const EVERY_MS = 2000;

export class Numbers {
    constructor(readonly now: Status, private readonly before: Status | null) {}

    private matching(s: Status, name: string): [string, number | Histogram][] {
        return Object.entries(s.metrics).filter(([k]) => k === name || k.startsWith(name + '{'));
    }

    /** Sum over all labels; null if the server has no such metric. */
    value(name: string, s: Status | null = this.now): number | null {
        if (!s) return null;
        const found = this.matching(s, name);
        if (!found.length) return null;
        return found.reduce((sum, [, v]) => sum + (typeof v === 'number' ? v : v.count), 0);
    }

    private histogram(s: Status | null, name: string): Histogram | null {
        const all = { count: 0, sum: 0 };
        for (const [, v] of s ? this.matching(s, name) : []) {
            if (typeof v === 'number') return null;
            all.count += v.count;
            all.sum += v.sum;
        }
        return s ? all : null;
    }

    max(name: string): number | null {
        const found = this.matching(this.now, name);
        return found.length ? Math.max(...found.map(([, v]) => (typeof v === 'number' ? v : v.count))) : null;
    }

    private get seconds(): number {
        return this.before ? (this.now.time_ms - this.before.time_ms) / 1000 : 0;
    }

    /** Increase a second; a histogram counts. null until there are two answers. */
    rate(name: string): number | null {
        const a = this.value(name, this.before);
        const b = this.value(name);
        return a == null || b == null || this.seconds <= 0 ? null : Math.max(0, (b - a) / this.seconds);
    }

    /** Mean time in seconds of what happened between the answers; since the start if nothing did. */
    mean(name: string): number | null {
        const now = this.histogram(this.now, name);
        if (!now?.count) return null;
        const was = this.histogram(this.before, name);
        const base = was && was.count < now.count ? was : { count: 0, sum: 0 };
        return (now.sum - base.sum) / (now.count - base.count);
    }
}

export interface Watched {
    numbers: Numbers | null;
    error: string;
}

export function useStatus(): Watched {
    const [watched, set] = useState<Watched>({ numbers: null, error: '' });
    useEffect(() => {
        let timer = 0;
        let last: Status | null = null;
        let ended = false;
        const ask = async () => {
            try {
                const now = await getStatus();
                if (ended) return;
                const numbers = new Numbers(now, last);
                last = now;
                set({ numbers, error: '' });
            } catch (e) {
                set(w => ({ ...w, error: messageOf(e) }));
            }
            plan();
        };
        const plan = () => {
            clearTimeout(timer);
            if (!ended && !document.hidden) timer = setTimeout(ask, EVERY_MS);
        };
        const seen = () => !document.hidden && void ask();
        void ask();
        document.addEventListener('visibilitychange', seen);
        return () => {
            ended = true;
            clearTimeout(timer);
            document.removeEventListener('visibilitychange', seen);
        };
    }, []);
    return watched;
}
