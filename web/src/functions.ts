// What can be called in an expression, as the server tells it; asked for once.
import { request } from './api';

interface Param {
    name: string;
    type: string;
    required?: boolean;
    multiple?: boolean;
}

export interface Fn {
    name: string;
    description?: string;
    params?: Param[];
}

let known: Promise<Fn[]> | null = null;

export function functions(): Promise<Fn[]> {
    known ??= request<Record<string, Fn>>('/functions').then(
        all => Object.values(all).sort((a, b) => a.name.localeCompare(b.name)),
        () => {
            known = null;
            return [];
        },
    );
    return known;
}

export const signature = (f: Fn) =>
    `${f.name}(${(f.params ?? []).map(p => p.name + (p.multiple ? '…' : '') + (p.required ? '' : '?')).join(', ')})`;
