// Pictures of pages, for doc/ui and for looking at. usage: node shoot.mjs URL FILE.png=HASH...
// A name that ends in -dark.png or -phone.png is taken so.
import { launch, open } from './browser.mjs';

const [url, ...shots] = process.argv.slice(2);
const chromium = await launch();
for (const shot of shots) {
    const [file, hash] = shot.split(/=(.*)/s);
    const phone = file.endsWith('-phone.png');
    const { page, close } = await open(chromium, url, {
        colorScheme: file.endsWith('-dark.png') ? 'dark' : 'light',
        viewport: phone ? { width: 360, height: 740 } : { width: 1200, height: 760 },
    });
    await page.goto(`${url}/#/${hash ?? ''}`);
    await page.waitForLoadState('networkidle').catch(() => {});
    await page.waitForTimeout(4500); // rates need two answers
    await page.screenshot({ path: file, fullPage: false });
    await close();
}
await chromium.close();
