// Bundles the pages and writes them as C (src/http/pages.h).
// usage: node build.mjs OUTPUT.c [DEPFILE]
import * as esbuild from 'esbuild';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const here = dirname(fileURLToPath(import.meta.url));
const [output, depfile] = process.argv.slice(2);
const statics = { '/': ['index.html', 'text/html; charset=utf-8'], '/icon.svg': ['icon.svg', 'image/svg+xml'] };

async function bundle() {
    const result = await esbuild.build({
        absWorkingDir: here,
        entryPoints: { app: 'src/main.tsx' },
        outdir: 'out', // nothing is written there
        bundle: true,
        minify: true,
        format: 'esm',
        target: ['es2022'],
        jsx: 'automatic',
        jsxImportSource: 'preact',
        legalComments: 'none',
        metafile: true,
        write: false,
        logLevel: 'warning',
    });
    const bytes = suffix => Buffer.from(result.outputFiles.find(f => f.path.endsWith(suffix)).contents);
    return { js: bytes('.js'), css: bytes('.css'), inputs: Object.keys(result.metafile.inputs) };
}

function array(name, bytes) {
    const lines = [];
    for (let i = 0; i < bytes.length; i += 24) lines.push('    ' + [...bytes.subarray(i, i + 24)].join(',') + ',');
    return `static const unsigned char ${name}[] = {\n${lines.join('\n')}\n};\n`;
}

const app = await bundle();
const pages = [
    ...Object.entries(statics).map(([path, [file, type]]) => ({ path, type, body: readFileSync(join(here, 'src', file)) })),
    { path: '/app.js', type: 'text/javascript; charset=utf-8', body: app.js },
    { path: '/app.css', type: 'text/css; charset=utf-8', body: app.css },
];
let c = '#include "http/pages.h"\n\n';
let table = '';
pages.forEach(({ path, type, body }, i) => {
    const zipped = gzipSync(body, { level: 9 });
    const tag = createHash('sha256').update(body).digest('hex').slice(0, 16);
    c += array(`plain${i}`, body) + array(`zipped${i}`, zipped);
    table += `    {"${path}", "${type}", "${tag}", plain${i}, sizeof plain${i}, zipped${i}, sizeof zipped${i}},\n`;
});
c += `\nconst struct page pages[] = {\n${table}};\nconst size_t pages_n = ${pages.length};\n`;
writeFileSync(output, c);
if (depfile) {
    const inputs = [...app.inputs, ...Object.values(statics).map(([file]) => `src/${file}`), 'build.mjs', 'package-lock.json'];
    const names = inputs.map(f => relative(process.cwd(), resolve(here, f)).replaceAll(' ', '\\ '));
    writeFileSync(depfile, `${relative(process.cwd(), resolve(output))}: ${names.join(' ')}\n`);
}
