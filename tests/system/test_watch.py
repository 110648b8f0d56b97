"""The server watching itself: its metrics as series, the probe built in and the one from outside."""
import json
import subprocess
import time
import unittest

import carat

QUICK = ['watch.store=true', 'watch.node=n1', 'watch.interval=200ms', 'watch.probe_interval=200ms']


def probe(c, *arguments, env=None, url=None):
    return subprocess.run([carat.BINARY, 'probe', '--once', '--url', url or c.url(''), *arguments],
                          capture_output=True, text=True, timeout=60, env=env)


def newest(c, name):
    """The last value of one series in the last minutes."""
    now = time.time()
    points = c.render(name, now - 300, now + 60).get(name, {})
    return points[max(points)] if points else None


class OwnMetrics(unittest.TestCase):
    def test_metrics_become_series(self):
        with carat.Carat(QUICK) as c:
            c.graphite_send('a.b 1\nthis is wrong\n' .replace('1\n', f'1 {int(time.time())}\n'))
            carat.wait_for('gauges', lambda: newest(c, 'carat.n1.catalog_series'))
            carat.wait_for('rates', lambda: newest(c, 'carat.n1.points_received.watch.per_min'))
            carat.wait_for('a time', lambda: newest(c, 'carat.n1.probe_last.s'))
            self.assertGreater(newest(c, 'carat.n1.process_resident_bytes'), 1e6)
            self.assertEqual(newest(c, 'carat.n1.writer_lag_records.0'), 0)
            self.assertEqual(newest(c, 'carat.n1.writer_partitions'), 1)

    def test_store_false_keeps_everything_out(self):
        with carat.Carat() as c:
            c.graphite_send(f'a.b 1 {int(time.time())}\n')
            carat.wait_for('the point', lambda: c.metric('carat_points_applied_total') == 1)
            self.assertEqual(json.loads(c.get('/metrics/index.json')[1]), ['a.b'])


class BuiltInProbe(unittest.TestCase):
    def test_it_probes_and_keeps_known_points(self):
        with carat.Carat(QUICK) as c:
            carat.wait_for('three probes', lambda: (c.metric('carat_probe_seconds_count') or 0) >= 3)
            names = carat.wait_for('known points', lambda: [n for n in json.loads(c.get('/metrics/index.json')[1])
                                                            if n == 'service.carat.probe_far.n1'])
            self.assertTrue(names)
            self.assertEqual((c.metric('carat_probe_ok'), c.metric('carat_probe_far_ok')), (1, 1))
            self.assertEqual(c.metric('carat_probe_failures_total'), 0)
            self.assertEqual(c.stop(), 0, c.log())


class Probe(unittest.TestCase):
    def test_once_prints_the_time(self):
        with carat.Carat() as c:
            r = probe(c)
            self.assertEqual((r.returncode, r.stderr), (0, ''))
            self.assertRegex(r.stdout, r'^ok: acknowledged after [\d.]+ ms, read back after [\d.]+ ms\n$')

    def test_known_points_are_posted_and_found_again(self):
        with carat.Carat() as c:
            for _ in range(2):
                r = probe(c, '--far', '0', '--far', '400')
                self.assertEqual((r.returncode, r.stderr), (0, ''))
                self.assertIn('ok: 2 known points are there', r.stdout)

    def test_a_known_point_with_another_value_is_wrong(self):
        with carat.Carat() as c:
            today = int(time.time()) // 86400 * 86400
            self.assertEqual(c.post_json('/api/v0/services/carat/tsdb',
                                         [{'name': 'probe_far.cli', 'time': today - 3 * 86400, 'value': 5}])[0], 200)
            r = probe(c, '--far', '3')
            self.assertEqual(r.returncode, 1)
            self.assertIn('failed at step wrong', r.stderr)

    def test_nobody_there_is_the_step_post(self):
        r = probe(None, '--timeout', '5', url=f'http://127.0.0.1:{carat.free_port()}')
        self.assertEqual((r.returncode, r.stdout), (1, ''))
        self.assertIn('failed at step post', r.stderr)

    def test_wrong_use(self):
        with carat.Carat() as c:
            for arguments in (['--timeout', '0'], ['--node', 'a.b'], ['--evry', '3'], ['--far', 'x']):
                self.assertEqual(probe(c, *arguments).returncode, 2, arguments)
