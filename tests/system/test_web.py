"""The pages in a real browser (web/test/), and how the server gives them out."""
import gzip
import json
import os
import subprocess
import time
import unittest
from pathlib import Path

import carat

WEB = Path(__file__).resolve().parent.parent.parent / 'web'
WATCHED = ['watch.store=true', 'watch.node=n1', 'watch.interval=200ms', 'watch.probe_interval=1s']


def browse(c, *cases, seconds=60):
    """Runs cases of web/test in Chromium."""
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith('_proxy')}
    r = subprocess.run(['node', str(WEB / 'test/run.mjs'), c.url(''), *cases], capture_output=True, text=True,
                       timeout=seconds, env=environment)
    if r.returncode:
        raise AssertionError(r.stdout + r.stderr)


class Assets(unittest.TestCase):
    def test_headers_and_encodings(self):
        with carat.Carat() as c:
            for path in '/', '/app.js', '/app.css', '/icon.svg':
                plain = c.answer(path)
                self.assertEqual(plain.status, 200, path)
                self.assertIn("default-src 'none'", plain.headers['Content-Security-Policy'])
                zipped = c.answer(path, {'Accept-Encoding': 'br, gzip;q=0.5'})
                self.assertEqual(zipped.headers['Content-Encoding'], 'gzip')
                self.assertEqual(gzip.decompress(zipped.body), plain.body)
                self.assertIsNone(c.answer(path, {'Accept-Encoding': 'gzip;q=0'}).headers['Content-Encoding'])
                self.assertNotEqual(plain.headers['ETag'], zipped.headers['ETag'])
                again = c.answer(path, {'If-None-Match': plain.headers['ETag']})
                self.assertEqual((again.status, again.body), (304, b''))

    def test_status(self):
        with carat.Carat(['watch.node=n1']) as c:
            c.graphite_send('a.b 1\n' * 3)
            got = json.loads(c.get('/api/v1/status')[1])
            self.assertEqual((got['ready'], got['waiting_for'], got['facts']['node']), (True, [], 'n1'))
            self.assertIn('carat_points_received_total{door="graphite"}', got['metrics'])
            self.assertIn('sum', got['metrics']['carat_http_request_seconds'])


class Types(unittest.TestCase):
    def test_strict(self):
        r = subprocess.run(['node_modules/.bin/tsc', '--noEmit'], cwd=WEB, capture_output=True, text=True, timeout=60)
        self.assertEqual(r.returncode, 0, r.stdout)


def fill(c):
    """An hour of minutes of a few names."""
    now = int(time.time()) // 60 * 60
    names = ['servers.web-1.cpu.user', 'servers.web-1.cpu.system', 'servers.web-2.cpu.user']
    c.graphite_send(''.join(f'{n} {i + k % 7} {now - 60 * k}\n' for i, n in enumerate(names) for k in range(60)))
    carat.wait_for('the points', lambda: (c.metric('carat_points_applied_total') or 0) >= 180)


class Pages(unittest.TestCase):
    def test_pipeline(self):
        with carat.Carat(WATCHED) as c:
            browse(c, 'pipeline')

    def test_explore(self):
        with carat.Carat() as c:
            fill(c)
            browse(c, 'explore')

    def test_dashboards(self):
        with carat.Carat() as c:
            fill(c)
            browse(c, 'dashboards')
            c.restart()
            browse(c, 'dashboards.again')

    def test_hosts_and_cost(self):
        metrics = {'loadavg1': 1.5, 'cpu.user.percentage': 50, 'cpu.idle.percentage': 150, 'memory.used': 2e9, 'memory.total': 4e9,
                   'custom.queue.length': 3}
        with carat.Carat() as c:
            now = int(time.time())
            self.assertEqual(c.post_points('web1', [(n, now, v) for n, v in metrics.items()]), 200)
            carat.wait_for('the points', lambda: (c.metric('carat_points_applied_total') or 0) >= len(metrics))
            browse(c, 'hosts', 'cost')
