// A page in Debian's Chromium that fails on console errors, on requests to anywhere else, and on what axe finds.
import axe from 'axe-core';
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';

const ARGUMENTS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--hide-scrollbars'];

export function launch() {
    const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser'].find(existsSync);
    return chromium.launch({ executablePath, args: ARGUMENTS });
}

/** A page without a past in a browser that runs. */
export async function open(browser, url, options = {}) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, timezoneId: 'UTC', ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(15000);
    const wrong = [];
    const mayFail = new Set(); // statuses that a test causes on purpose
    page.on('console', m => {
        const expected = [...mayFail].some(status => m.text().includes(`status of ${status}`));
        if (['error', 'warning'].includes(m.type()) && !expected) wrong.push(`console: ${m.text()}`);
    });
    page.on('pageerror', e => wrong.push(`page: ${e.stack}`));
    page.on('request', r => {
        if (!r.url().startsWith(url) && !/^(data|blob):/.test(r.url())) wrong.push(`outside: ${r.url()}`);
    });
    return {
        page,
        context,
        mayFail,
        url,
        nothingWrong: () => assert.deepEqual(wrong, []),
        close: () => context.close(),
    };
}

/** Accessible by axe's rules for WCAG 2 A and AA. */
export async function accessible(page, where) {
    await page.evaluate(axe.source);
    const found = await page.evaluate(() =>
        globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'] }));
    const told = found.violations.map(v => `${where}: ${v.id}: ${v.nodes.map(n => n.target.join(' ') + ' ' + n.failureSummary).join('; ')}`);
    assert.deepEqual(told, []);
}

/** No sideways scrolling, once charts have taken their new size. */
export async function fits(page, where) {
    const tooWide = () => document.documentElement.scrollWidth - document.documentElement.clientWidth;
    await page.waitForFunction(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth, null, { timeout: 5000 })
        .catch(async () => assert.fail(`${where}: ${await page.evaluate(tooWide)} pixels too wide`));
}
