import assert from 'node:assert/strict';
import { accessible, fits } from './browser.mjs';

export default async function ({ page, url }) {
    await page.goto(url + '/');
    await page.waitForSelector('.state.good');
    // The server probes itself: its points move the numbers.
    const moving = f => page.waitForFunction(x => /[1-9]/.test(document.querySelector(`[data-figure=${x}]`)?.textContent ?? ''), f);
    await moving('doors');
    await moving('writer');
    await moving('hot');
    await moving('probe');
    await page.waitForSelector('.arrow.moving');

    // By keyboard to a part's history, which is in the address.
    await page.focus('.part.hot');
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => location.hash.includes('part=hot'));
    assert.equal(await page.textContent('#details'), 'Hot');
    await page.waitForSelector('.graph canvas');
    await page.waitForFunction(() => /[1-9]/.test(document.querySelector('.legend b')?.textContent ?? ''));
    await page.click('.ranges a:text-is("24h")');
    await page.waitForFunction(() => location.hash.includes('from=-24h'));
    await page.reload();
    await page.waitForSelector('.ranges a[aria-current]:text-is("24h")');
    await page.waitForSelector('.graph canvas');

    await accessible(page, 'pipeline');
    await page.click('.theme');
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'dark');
    await accessible(page, 'pipeline, dark');
    await page.setViewportSize({ width: 360, height: 740 });
    await fits(page, 'pipeline on a phone');
}
