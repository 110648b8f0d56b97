// First paint, and how a chart of 100,000 points is drawn and moved over: 70 series bench.sNN of a day of minutes.
// Prints one line of JSON; the case fails where a page would be felt to be slow.
import assert from 'node:assert/strict';

const median = v => [...v].sort((a, b) => a - b)[Math.floor(v.length / 2)];

async function firstPaint({ page, url, context }) {
    const times = [];
    for (let i = 0; i < 5; i++) {
        await context.clearCookies();
        await page.goto('about:blank');
        await page.goto(url + '/#/pipeline');
        await page.waitForSelector('.part strong');
        times.push(await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0].startTime));
    }
    return { first: times[0], median: median(times) };
}

/** Longest time between two frames while `act` runs, and the longest task. */
async function frames(page, act) {
    await page.evaluate(() => {
        globalThis.frames_ = [];
        globalThis.tasks_ = [];
        globalThis.watcher_ = new PerformanceObserver(l => globalThis.tasks_.push(...l.getEntries().map(e => e.duration)));
        globalThis.watcher_.observe({ entryTypes: ['longtask'] });
        let last = performance.now();
        const frame = now => {
            globalThis.frames_.push(now - last);
            last = now;
            if (globalThis.frames_) globalThis.raf_ = requestAnimationFrame(frame);
        };
        globalThis.raf_ = requestAnimationFrame(frame);
    });
    await act();
    return page.evaluate(() => {
        cancelAnimationFrame(globalThis.raf_);
        globalThis.watcher_.disconnect();
        const all = globalThis.frames_.slice(1);
        const sorted = [...all].sort((a, b) => a - b);
        return { frames: all.length, median: sorted[Math.floor(all.length / 2)], longest: Math.max(...all), longest_task: Math.max(0, ...globalThis.tasks_) };
    });
}

export default async function (browser) {
    const { page, url } = browser;
    const paint = await firstPaint(browser);
    await page.goto(url + '/#/explore?target=bench.*&from=-24h');
    const draw = await frames(page, async () => {
        await page.waitForSelector('.legend', { timeout: 60000 });
        await page.waitForTimeout(500);
    });
    const points = await page.evaluate(async () => {
        const answer = await fetch('/render?target=bench.*&from=-24h&format=json&maxDataPoints=2000');
        return (await answer.json()).reduce((n, s) => n + s.datapoints.filter(d => d[0] != null).length, 0);
    });
    const over = await page.locator('.u-over').boundingBox();
    const hover = await frames(page, async () => {
        for (let i = 0; i <= 60; i++) await page.mouse.move(over.x + (over.width * i) / 60, over.y + 100 + (i % 7) * 20);
    });
    console.log(JSON.stringify({ first_paint_ms: paint, points, draw_ms: draw, hover_ms: hover }));
    assert.ok(points > 90000, `${points} points`);
    assert.ok(paint.median < 1000, 'first paint takes a second or more');
    assert.ok(draw.longest_task < 2000, 'drawing stops the page for two seconds or more');
}
