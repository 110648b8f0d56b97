// The tree of names, opened level by level; a search looks through the first levels.
import { useEffect, useState } from 'preact/hooks';
import { find, messageOf, type Node } from './api';

const MOST = 300;
const DEPTH = 5;

interface Props {
    chosen: ReadonlySet<string>;
    onChoose: (path: string) => void;
}

function useFound(ask: () => Promise<Node[]>, key: string): [Node[] | null, string] {
    const [found, set] = useState<Node[] | null>(null);
    const [error, setError] = useState('');
    useEffect(() => {
        let current = true;
        ask().then(
            nodes => current && (set(nodes), setError('')),
            e => current && setError(messageOf(e)),
        );
        return () => {
            current = false;
        };
    }, [key]);
    return [found, error];
}

function Level({ nodes, full, ...p }: Props & { nodes: Node[]; full?: boolean }) {
    return (
        <ul>
            {nodes.slice(0, MOST).map(n => (
                <li key={(n.leaf ? 'l' : 'b') + n.path}>
                    {n.leaf ? (
                        <button type="button" class="leaf" aria-pressed={p.chosen.has(n.path)} onClick={() => p.onChoose(n.path)}>
                            {full ? n.path : n.name}
                        </button>
                    ) : (
                        <Branch node={n} full={full} {...p} />
                    )}
                </li>
            ))}
            {nodes.length > MOST && <li class="more">and {nodes.length - MOST} more: search for them</li>}
        </ul>
    );
}

function Branch({ node, full, ...p }: Props & { node: Node; full: boolean | undefined }) {
    const [open, set] = useState(false);
    return (
        <>
            <button type="button" class="branch" aria-expanded={open} onClick={() => set(!open)}>{full ? node.path : node.name}</button>
            {open && <Children pattern={node.path + '.*'} {...p} />}
        </>
    );
}

function Children({ pattern, ...p }: Props & { pattern: string }) {
    const [nodes, error] = useFound(() => find(pattern), pattern);
    if (error) return <p class="empty">{error}</p>;
    return nodes ? nodes.length ? <Level nodes={nodes} {...p} /> : <p class="empty">nothing here yet</p> : null;
}

/** Patterns that find `text` in any of the first levels; one with dots or wildcards is taken as it is. */
export function patterns(text: string): string[] {
    if (/[.*?{[]/.test(text)) return [text.replace(/\.$/, '.*') + (/[\w-]$/.test(text) ? '*' : '')];
    return Array.from({ length: DEPTH }, (_, i) => '*.'.repeat(i) + `*${text}*`);
}

async function search(text: string): Promise<Node[]> {
    const found = await Promise.all(patterns(text).map(find));
    return found.flat();
}

export function Tree(p: Props) {
    const [text, setText] = useState('');
    const [asked, setAsked] = useState('');
    useEffect(() => {
        const timer = setTimeout(() => setAsked(text.trim()), 200);
        return () => clearTimeout(timer);
    }, [text]);
    return (
        <div class="tree">
            <input type="search" placeholder="Search names" aria-label="Search names" value={text} onInput={e => setText(e.currentTarget.value)} />
            {asked ? <Found text={asked} {...p} /> : <Children pattern="*" {...p} />}
        </div>
    );
}

function Found({ text, ...p }: Props & { text: string }) {
    const [nodes, error] = useFound(() => search(text), text);
    if (error) return <p class="empty">{error}</p>;
    if (!nodes) return <p class="empty">…</p>;
    return nodes.length ? <Level nodes={nodes} full {...p} /> : <p class="empty">no name has “{text}” in its first {DEPTH} levels</p>;
}
