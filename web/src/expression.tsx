// A field for one expression with completion: Enter draws, Tab or Enter takes a choice, Escape closes the list.
import { useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { complete, type Completion } from './complete';

interface Props {
    value: string;
    label: string;
    onDraw: (text: string) => void;
    onInput?: (text: string) => void;
}

export function Expression({ value, label, onDraw, onInput }: Props) {
    const [text, setText] = useState(value);
    const [open, setOpen] = useState<Completion | null>(null);
    const [at, setAt] = useState(-1);
    const field = useRef<HTMLTextAreaElement>(null);
    const asked = useRef(0);
    const given = useRef(value);
    const id = useId();
    if (given.current !== value) {
        given.current = value;
        setText(value);
    }
    useLayoutEffect(() => {
        const f = field.current!;
        f.style.height = 'auto';
        f.style.height = f.scrollHeight + 2 + 'px';
    }, [text]);

    const close = () => {
        asked.current++;
        setOpen(null);
        setAt(-1);
    };
    const change = (next: string) => {
        setText(next);
        onInput?.(next);
    };
    const look = async (next: string) => {
        const mine = ++asked.current;
        const found = await complete(next, field.current!.selectionStart);
        if (mine !== asked.current) return;
        const [only] = found.choices;
        const done = found.choices.length === 1 && only && next.slice(found.from, field.current!.selectionStart) === only.text;
        setOpen(found.choices.length && !done ? found : null);
        setAt(-1);
    };
    const take = (i: number) => {
        const f = field.current!;
        const choice = open?.choices[i];
        if (!open || !choice) return;
        const next = f.value.slice(0, open.from) + choice.text + f.value.slice(f.selectionStart);
        f.value = next; // now, not at the next rendering: what is typed meanwhile belongs behind it
        f.selectionStart = f.selectionEnd = open.from + choice.text.length;
        change(next);
        close();
        if (choice.kind !== 'name') void look(next);
    };
    const key = (e: KeyboardEvent) => {
        const n = open?.choices.length ?? 0;
        if (e.key === 'Enter' && !e.shiftKey) {
            e.preventDefault();
            if (open && at >= 0) take(at);
            else {
                close();
                onDraw(field.current!.value);
            }
        } else if (open && (e.key === 'ArrowDown' || e.key === 'ArrowUp')) {
            e.preventDefault();
            setAt(e.key === 'ArrowDown' ? (at + 1) % n : (Math.max(at, 0) + n - 1) % n);
        } else if (open && e.key === 'Tab' && !e.shiftKey) {
            e.preventDefault();
            take(Math.max(at, 0));
        } else if (e.key === 'Escape') close();
        else if (e.key === ' ' && e.ctrlKey) {
            e.preventDefault();
            void look(text);
        }
    };
    return (
        <div class="expression">
            <textarea ref={field} rows={1} spellcheck={false} autocomplete="off" value={text} aria-label={label}
                aria-autocomplete="list" aria-controls={open ? id : undefined} aria-activedescendant={open && at >= 0 ? `${id}-${at}` : undefined}
                onInput={e => { change(e.currentTarget.value); void look(e.currentTarget.value); }}
                onKeyDown={key} onBlur={() => { close(); if (text !== value) onDraw(text); }} />
            {open && (
                <ul role="listbox" id={id} aria-label="Completions">
                    {open.choices.map((c, i) => (
                        <li key={c.kind + c.label} id={`${id}-${i}`} role="option" aria-selected={i === at} class={c.kind}
                            onMouseDown={e => { e.preventDefault(); take(i); }}>
                            {c.label}
                        </li>
                    ))}
                </ul>
            )}
        </div>
    );
}
