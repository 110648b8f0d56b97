// Against the same names as explore.mjs; `again` runs after the server was started anew.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { accessible, fits } from './browser.mjs';

const shows = (page, text) => page.waitForFunction(t => [...document.querySelectorAll('.legend button span')].some(e => e.textContent === t), text);

export default async function ({ page, url, context, mayFail }) {
    await page.goto(url + '/#/dashboards');
    await page.fill('[aria-label="Title of a new dashboard"]', 'Web servers');
    await page.keyboard.press('Enter');
    await page.click('text=Add a panel');
    await page.fill('[aria-label="Title of panel 1"]', 'Processor');
    await page.fill('[aria-label="Panel 1, expression 1"]', 'sumSeries(servers.*.cpu.user)');
    await page.keyboard.press('Escape');
    await page.keyboard.press('Enter');
    await page.selectOption('[aria-label="Width of panel 1"]', '2');
    await accessible(page, 'editing a dashboard');
    await page.click('text=Save');
    await shows(page, 'sumSeries(servers.*.cpu.user)');
    await page.reload();
    await shows(page, 'sumSeries(servers.*.cpu.user)');
    assert.equal(await page.textContent('h1'), 'Web servers');
    assert.ok(await page.isVisible('.panel.w2'));
    await accessible(page, 'a dashboard');

    // Someone else changes it while it is edited here: the second to save is told.
    await page.click('text=Edit');
    const other = await context.newPage();
    await other.goto(page.url().replace(/\?.*/, ''));
    await other.click('text=Edit');
    await other.fill('[aria-label="Title of panel 1"]', 'Processors');
    await other.click('text=Save');
    await other.waitForSelector('h2:text-is("Processors")');
    await other.close();
    mayFail.add(412);
    await page.fill('[aria-label="Title of panel 1"]', 'CPU');
    await page.click('text=Save');
    assert.match(await page.textContent('.error'), /changed by someone else/);
    await page.click('text=Cancel');
    await page.reload();
    await page.waitForSelector('h2:text-is("Processors")');

    // Out as a file, in again as another dashboard; a file with a mistake is refused with words.
    const [file] = await Promise.all([page.waitForEvent('download'), page.click('text=Export')]);
    const path = await file.path();
    assert.equal(JSON.parse(readFileSync(path)).panels[0].title, 'Processors');
    await page.click('.top >> text=Dashboards');
    await page.setInputFiles('input[type=file]', { name: 'x.json', mimeType: 'application/json', buffer: readFileSync(path) });
    await page.waitForFunction(() => location.hash === '#/dashboards/web-servers-2');
    await shows(page, 'sumSeries(servers.*.cpu.user)');
    await page.goto(url + '/#/dashboards');
    mayFail.add(400);
    await page.setInputFiles('input[type=file]', { name: 'x.json', mimeType: 'application/json', buffer: Buffer.from('{"title":"a","panels":[7]}') });
    assert.match(await page.textContent('.error'), /panel 1 is not an object/);
    await accessible(page, 'dashboards');
    await page.setViewportSize({ width: 360, height: 740 });
    await fits(page, 'dashboards on a phone');
    await page.goto(url + '/#/dashboards/web-servers?edit=1');
    await page.waitForSelector('.editor');
    await fits(page, 'editing on a phone');
}

export async function again({ page, url }) {
    await page.goto(url + '/#/dashboards');
    await page.click('.cards >> text="Web servers" >> nth=0');
    await page.waitForSelector('h2:text-is("Processors")');
    await shows(page, 'sumSeries(servers.*.cpu.user)');
    page.on('dialog', d => d.accept());
    await page.click('text=Edit');
    await page.click('text=Delete');
    await page.waitForFunction(() => document.querySelectorAll('.cards li').length === 1);
}
