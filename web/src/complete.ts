// Completion in an expression: functions by their beginning, names level by level.
import { find } from './api';
import { functions, signature } from './functions';

export interface Choice {
    text: string; // what takes the word's place
    label: string;
    kind: 'function' | 'name' | 'branch';
}

export interface Completion {
    from: number; // where the word begins
    choices: Choice[];
}

const MOST = 30;

/** The beginning of the word before the caret: what can be in a name or a pattern. */
export function wordStart(text: string, caret: number): number {
    const m = /[^\s(),'"=]*$/.exec(text.slice(0, caret))!;
    return caret - m[0].length;
}

export async function complete(text: string, caret: number): Promise<Completion> {
    const from = wordStart(text, caret);
    const word = text.slice(from, caret);
    const inText = (text.slice(0, from).match(/['"]/g) ?? []).length % 2 === 1;
    if (inText || /^-?\d+(\.\d*)?$/.test(word)) return { from, choices: [] };
    const lower = word.toLowerCase();
    const [all, nodes] = await Promise.all([word.includes('.') || !word ? [] : functions(), find(word + '*').catch(() => [])]);
    const fitting = all.filter(f => f.name.toLowerCase().startsWith(lower));
    return {
        from,
        choices: [
            ...nodes.map(n => ({ text: n.path + (n.leaf ? '' : '.'), label: n.path + (n.leaf ? '' : '.'), kind: n.leaf ? 'name' : 'branch' }) as Choice),
            ...fitting.map(f => ({ text: f.name + '(', label: signature(f), kind: 'function' }) as Choice),
        ].slice(0, MOST),
    };
}
