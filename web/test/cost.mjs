import assert from 'node:assert/strict';
import { accessible, fits } from './browser.mjs';

export default async function ({ page, url, mayFail }) {
    const total = async () => Number((await page.textContent('[data-total]')).replace(/[^\d.]/g, ''));
    await page.goto(url + '/#/cost?series=1000000');
    await page.waitForSelector('[data-total]');
    const million = await total();
    await page.fill('label:has-text("Series") >> nth=0 >> input', '2000000');
    await page.keyboard.press('Enter');
    await page.waitForFunction(was => Number(document.querySelector('[data-total]').textContent.replace(/[^\d.]/g, '')) > was * 1.5, million);
    assert.match(page.url(), /series=2000000/);
    assert.equal(await page.locator('tr.best').count(), 1);
    await accessible(page, 'cost');
    mayFail.add(400);
    await page.fill('label:has-text("Kept") >> input', 'long');
    await page.keyboard.press('Enter');
    assert.match(await page.textContent('.error'), /keep=long: expected a duration/);
    await page.setViewportSize({ width: 360, height: 740 });
    await fits(page, 'cost on a phone');
}
