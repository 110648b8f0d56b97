// Light or dark: what the system says until the button is pressed, then what was chosen.
import { useEffect, useState } from 'preact/hooks';

const system = matchMedia('(prefers-color-scheme: dark)');
const chosen = () => localStorage.getItem('carat-theme');

export const isDark = () => (chosen() ?? (system.matches ? 'dark' : 'light')) === 'dark';

export function applyTheme(): void {
    document.documentElement.dataset.theme = isDark() ? 'dark' : 'light';
}

export function toggleTheme(): void {
    localStorage.setItem('carat-theme', isDark() ? 'light' : 'dark');
    applyTheme();
    dispatchEvent(new Event('carat-theme'));
}

/** Renders again when the colours change, since a canvas does not by itself. */
export function useDark(): boolean {
    const [dark, set] = useState(isDark);
    useEffect(() => {
        const changed = () => {
            applyTheme();
            set(isDark());
        };
        addEventListener('carat-theme', changed);
        system.addEventListener('change', changed);
        return () => {
            removeEventListener('carat-theme', changed);
            system.removeEventListener('change', changed);
        };
    }, []);
    return dark;
}

/** Colours that are told apart by most eyes, on each ground. */
export const palette = (dark: boolean) =>
    dark
        ? ['#2dd4bf', '#f59e6b', '#8ab4ff', '#f27db5', '#b5d65c', '#c9a4f5', '#f0c75e', '#7fd1f0', '#f2938c', '#a9b8c9']
        : ['#0f766e', '#c2410c', '#2456c9', '#b0246e', '#557a0a', '#7338b8', '#946200', '#0b7299', '#b3312b', '#5b6776'];
