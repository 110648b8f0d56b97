// Numbers and times as people read them: three digits and a unit.
export type Unit = '' | 'B' | 's' | 'ms' | '/s' | '/min' | 'B/min' | 'B/s' | 'ratio' | '%' | 's/min';

const SI = ['', 'k', 'M', 'G', 'T', 'P'];
const BINARY = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** Three digits, two below 1: 123, 12.3, 1.23, 0.12. */
export function digits(v: number): string {
    const a = Math.abs(v);
    if (a === 0) return '0';
    if (a >= 99.95) return v.toFixed(0);
    if (a >= 9.995) return trim(v.toFixed(1));
    if (a >= 0.995) return trim(v.toFixed(2));
    return trim(v.toPrecision(2));
}

const trim = (s: string) => (s.includes('.') && !s.includes('e') ? s.replace(/\.?0+$/, '') : s);

function scaled(v: number, base: number, names: string[]): [string, string] {
    let i = 0;
    let a = v;
    while (Math.abs(a) >= base * 0.9995 && i < names.length - 1) {
        a /= base;
        i++;
    }
    return [digits(a), names[i]!];
}

/** Number and unit apart, so that a page can set them apart. */
export function parts(v: number | null | undefined, unit: Unit = ''): [string, string] {
    if (v == null || !Number.isFinite(v)) return ['–', ''];
    if (unit === 'B' || unit === 'B/min' || unit === 'B/s') {
        const [n, u] = scaled(v, 1024, BINARY);
        return [n, u + unit.slice(1)];
    }
    if (unit === 's') {
        if (v !== 0 && Math.abs(v) < 0.001) return [digits(v * 1e6), 'µs'];
        if (v !== 0 && Math.abs(v) < 1) return [digits(v * 1e3), 'ms'];
        return Math.abs(v) < 120 ? [digits(v), 's'] : [digits(v / 60), 'min'];
    }
    if (unit === 'ms') return Math.abs(v) < 1000 ? [digits(v), 'ms'] : parts(v / 1000, 's');
    if (unit === 'ratio') return [digits(v * 100), '%'];
    const [n, u] = scaled(v, 1000, SI);
    return unit === '%' ? [digits(v), '%'] : [n, u + unit];
}

export function format(v: number | null | undefined, unit: Unit = ''): string {
    const [n, u] = parts(v, unit);
    return u ? `${n}${u === '%' ? '' : '\u202f'}${u}` : n;
}

const two = (n: number) => String(n).padStart(2, '0');

export function clockTime(s: number): string {
    const d = new Date(s * 1000);
    return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}
