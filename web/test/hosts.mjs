// Against host web1 with the agent's metrics and a custom one.
import assert from 'node:assert/strict';
import { accessible, fits } from './browser.mjs';

export default async function ({ page, url }) {
    await page.goto(url + '/#/hosts');
    await page.waitForSelector('a:text-is("web1")');
    assert.deepEqual((await page.$$eval('tbody tr:first-child td', all => all.map(e => e.textContent))), ['1.5', '25%', '50%']);
    await accessible(page, 'hosts');
    await page.click('a:text-is("web1")');
    await page.waitForFunction(() => document.querySelectorAll('.graph .legend').length === 3);
    assert.deepEqual(await page.$$eval('.graph h2', all => all.map(e => e.textContent)), ['Load', 'Processors', 'Memory']);
    await accessible(page, 'a host');
    await page.click('a:text-is("custom.queue.length")');
    await page.waitForSelector('.legend button span:text-is("host.web1.custom.queue.length")');
    await page.setViewportSize({ width: 360, height: 740 });
    await page.goBack();
    await page.waitForSelector('.graph canvas');
    await fits(page, 'a host on a phone');
}
