// Against servers.web-1.cpu.user, .system and servers.web-2.cpu.user, an hour of minutes of each.
import assert from 'node:assert/strict';
import { accessible, fits } from './browser.mjs';

const legend = page => page.$$eval('.legend button span', all => all.map(e => e.textContent));
const drawn = (page, names) =>
    page.waitForFunction(n => JSON.stringify([...document.querySelectorAll('.legend button span')].map(e => e.textContent)) === n, JSON.stringify(names));

export default async function ({ page, url, mayFail }) {
    await page.goto(url + '/#/explore');
    // Down the tree, by keyboard.
    for (const name of ['servers', 'web-1', 'cpu']) {
        await page.waitForSelector(`.branch:text-is("${name}")`);
        await page.focus(`.branch:text-is("${name}")`);
        await page.keyboard.press('Enter');
    }
    await page.click('.leaf:text-is("user")');
    await drawn(page, ['servers.web-1.cpu.user']);

    // A search finds deep names.
    await page.fill('.tree input', 'system');
    await page.waitForSelector('.leaf:text-is("servers.web-1.cpu.system")');
    await page.fill('.tree input', '');

    // Completion: a function, then a name level by level, then Enter draws.
    const field = page.locator('.expression textarea').first();
    await field.fill('');
    await field.pressSequentially('sumS');
    await page.waitForSelector('[role=option]:has-text("sumSeries(")');
    await accessible(page, 'completion');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Tab');
    await page.waitForFunction(() => document.activeElement.value === 'sumSeries(');
    await field.pressSequentially('servers.web-');
    await page.waitForSelector('[role=option]:text-is("servers.web-2.")');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => document.activeElement.value === 'sumSeries(servers.web-2.');
    await field.pressSequentially('*.user)');
    await page.keyboard.press('Escape');
    await page.keyboard.press('Enter');
    await drawn(page, ['sumSeries(servers.web-2.*.user)']);
    assert.match(page.url(), /target=sumSeries/);

    // A mistake is shown with its place.
    mayFail.add(400);
    await field.fill("scale(servers.web-1.cpu.user,'x')");
    await page.keyboard.press('Enter');
    const message = await page.textContent('pre.error');
    assert.match(message, /factor.*number/);
    const [, line, caret] = message.split('\n');
    assert.equal(line.slice(caret.indexOf('^')), "'x')");
    await field.fill('servers.*.cpu.user');
    await page.keyboard.press('Enter');
    await drawn(page, ['servers.web-1.cpu.user', 'servers.web-2.cpu.user']);
    assert.equal(await page.locator('pre.error').count(), 0);

    // Dragging zooms, the address has the range, a reload draws the same.
    await Promise.all([page.waitForResponse(/render/), page.click('.ranges a:text-is("1h")')]);
    await page.waitForFunction(() => location.hash.includes('from=-1h'));
    await page.evaluate(() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done))));
    const over = await page.locator('.u-over').boundingBox();
    await page.mouse.move(over.x + over.width * 0.25, over.y + 60);
    await page.mouse.down();
    await page.mouse.move(over.x + over.width * 0.75, over.y + 90, { steps: 5 });
    await page.mouse.up();
    await page.waitForFunction(() => /from=\d{10}&until=\d{10}/.test(location.hash));
    const args = new URLSearchParams(page.url().split('?')[1]);
    const span = args.get('until') - args.get('from');
    assert.ok(span > 1500 && span < 2100, `half an hour, not ${span} s`);
    await page.reload();
    await drawn(page, ['servers.web-1.cpu.user', 'servers.web-2.cpu.user']);
    assert.deepEqual(await legend(page), ['servers.web-1.cpu.user', 'servers.web-2.cpu.user']);
    await page.goBack();
    await page.waitForFunction(() => location.hash.includes('from=-1h'));

    await accessible(page, 'explore');
    await page.setViewportSize({ width: 360, height: 740 });
    await fits(page, 'explore on a phone');
}
