// Runs cases of this folder against a server. usage: node run.mjs URL CASE...   prints "ok CASE" for each
import { launch, open } from './browser.mjs';

const [url, ...names] = process.argv.slice(2);
const chromium = await launch();
for (const name of names) {
    const [file, part = 'default'] = name.split('.');
    const browser = await open(chromium, url);
    try {
        await (await import(`./${file}.mjs`))[part](browser);
        browser.nothingWrong();
        console.log('ok', name);
    } catch (e) {
        console.log('FAIL', name, e.stack ?? e);
        if (process.env.CARAT_SHOT) await browser.page.screenshot({ path: process.env.CARAT_SHOT });
        process.exitCode = 1;
    } finally {
        await browser.close();
    }
}
await chromium.close();
