"""What an operator does: jobs, replay, verify, cardinality, and the limits that protect a server."""
import glob
import json
import os
import shutil
import subprocess
import tempfile
import time
import unittest

import carat

NOW = int(time.time()) // 60 * 60


def cli(c, *arguments):
    """(exit code, stdout, stderr) of a command against the server."""
    r = subprocess.run([carat.BINARY, *arguments, '--url', c.url('')], capture_output=True, text=True, timeout=60)
    return r.returncode, r.stdout, r.stderr


def fill(c, names=20, points=10):
    for i in range(names):
        assert c.post_points('h', [(f'custom.n{i}', NOW - 60 * k, i + k) for k in range(points)]) == 200


def whole(c, names=20, points=10):
    got = c.render('host.h.custom.*', NOW - 60 * points, NOW + 60)
    return got == {f'host.h.custom.n{i}': {NOW - 60 * k: i + k for k in range(points)} for i in range(names)}


def flip(path, offset):
    with open(path, 'r+b') as f:
        f.seek(offset)
        byte = f.read(1)[0]
        f.seek(offset)
        f.write(bytes([byte ^ 0x55]))


class Jobs(unittest.TestCase):
    def test_life_of_a_job(self):
        with carat.Carat() as c:
            self.assertEqual(cli(c, 'jobs'), (0, 'no jobs\n', ''))
            status, body = c.post_json('/api/v1/jobs', {'kind': 'verify'})
            job = json.loads(body)
            self.assertEqual((status, job['kind'], job['id']), (202, 'verify', 1))
            job = carat.wait_for('the end of the job', lambda: next(
                (j for j in [json.loads(c.get('/api/v1/jobs/1')[1])] if j['state'] not in ('queued', 'running')), None))
            self.assertEqual((job['state'], job['result']['damaged']), ('done', 0))
            self.assertEqual([j['id'] for j in json.loads(c.get('/api/v1/jobs')[1])['jobs']], [1])
            self.assertIn('done', cli(c, 'jobs')[1])
            self.assertEqual(c.request('DELETE', '/api/v1/jobs/1')[0], 200)  # it has ended: nothing happens
            self.assertEqual(json.loads(c.get('/api/v1/jobs/1')[1])['state'], 'done')

    def test_wrong_requests(self):
        with carat.Carat() as c:
            for body in ({}, {'kind': 'nosuch'}, [], {'kind': 'replay'}, {'kind': 'replay', 'from': 'yesterday'},
                         {'kind': 'replay', 'from': -1}, {'kind': 'replay', 'from': 'pos:'}, {'kind': 'verify', 'repair': 1},
                         {'kind': 'replay', 'from': 'oldest', 'series': 7}, {'kind': 'replay', 'from': 'oldest', 'to': 'x'}):
                status, answer = c.post_json('/api/v1/jobs', body)
                self.assertEqual(status, 400, body)
                self.assertTrue(json.loads(answer)['error']['message'])
            self.assertEqual(c.request('POST', '/api/v1/jobs', b'{"kind":"verify"}', headers={'Content-Type': 'text/plain'})[0], 415)
            for path in ('/api/v1/jobs/1', '/api/v1/jobs/x', '/api/v1/jobs/-1'):
                self.assertEqual((c.get(path)[0], c.request('DELETE', path)[0]), (404, 404))
            self.assertEqual(cli(c, 'jobs', '--cancel', '99')[0], 1)
            self.assertEqual(cli(c, 'jobs', '--cancel', 'x')[0], 2)
            self.assertEqual(cli(c, 'replay')[0], 2)
            self.assertEqual(cli(c, 'replay', '--from', 'never')[0], 1)


class Replay(unittest.TestCase):
    def test_brings_back_a_lost_tier(self):
        with carat.Carat() as c:
            fill(c)
            self.assertEqual(c.stop(), 0)  # everything is in warm, and the checkpoint says so
            shutil.rmtree(os.path.join(c.data, 'warm'))
            c.start()
            self.assertFalse(whole(c))
            code, out, err = cli(c, 'replay', '--from', 'oldest', '--series', 'host.h.custom.n1')
            self.assertEqual((code, err.count('carat replay: failed')), (0, 0), err)
            got = c.render('host.h.custom.*', NOW - 600, NOW + 60)
            self.assertEqual([name for name, points in got.items() if points], ['host.h.custom.n1'])
            code, out, err = cli(c, 'replay', '--from', '-1h')
            self.assertEqual(code, 0, err)
            self.assertTrue(whole(c))
            code, out, err = cli(c, 'replay', '--from', 'oldest')
            self.assertIn(' 0 made again', out)
            c.restart()
            self.assertTrue(whole(c))


class Verify(unittest.TestCase):
    def test_a_good_server_is_good(self):
        with carat.Carat() as c:
            fill(c)
            c.restart()
            code, out, err = cli(c, 'verify')
            self.assertEqual(code, 0, err)

    def test_damage_in_the_stream(self):
        with carat.Carat() as c:
            fill(c)
            self.assertEqual(c.stop(), 0)
            segment = sorted(glob.glob(os.path.join(c.data, 'stream', 'p00', '*.seg')))[0]
            flip(segment, 4096 + 40)
            c.start()
            code, out, err = cli(c, 'verify')
            self.assertEqual(code, 1)
            self.assertIn('stream', out)
            self.assertTrue(whole(c))  # warm has it

    def test_damage_in_warm(self):
        with carat.Carat() as c:
            fill(c)
            self.assertEqual(c.stop(), 0)
            for table in glob.glob(os.path.join(c.data, 'warm', '**', '*.sst'), recursive=True):
                flip(table, 30)
            c.start()
            code, out, err = cli(c, 'verify')
            self.assertEqual(code, 1, out + err)
            self.assertIn('warm', out)


class VerifyCold(unittest.TestCase):
    """Damage in packs: roll-ups come back from the points, points only from a backup."""
    SETTINGS = ('hot.flush_delay=0s', 'hot.jitter=0', 'hot.flush_round=100ms', 'cold.after=1d', 'cold.interval=100ms')
    OLDEST = (int(time.time()) - 4 * 86400) // 86400 * 86400

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='carat-cold-damage-')
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def settings(self, base='30d'):
        for name, text in (('schemas', f'[all]\npattern = .*\nretentions = 1s:{base},10s:60d\n'),
                           ('aggregation', '[all]\npattern = .*\nxFilesFactor = 0\naggregationMethod = sum\n')):
            with open(os.path.join(self.dir, name), 'w', encoding='utf-8') as f:
                f.write(text)
        return (*self.SETTINGS, f'retention.schemas={self.dir}/schemas', f'retention.aggregation={self.dir}/aggregation')

    def filled(self):
        """A server whose points and roll-ups are in one pack each; {step: path of the pack}."""
        c = self.enterContext(carat.Carat(self.settings()))
        for i in range(4):
            self.assertEqual(c.post_points('h', [(f'custom.n{i}', self.OLDEST + k, k + i) for k in range(200)]), 200)

        def packs():
            r = subprocess.run([carat.BINARY, 'cold', 'ls', '--data', c.data], capture_output=True, text=True, timeout=30)
            rows = [line.split() for line in r.stdout.splitlines()[1:]]
            return {int(row[1][:-1]): os.path.join(c.data, 'cold', row[0] + '.pack') for row in rows}
        found = carat.wait_for('packs', lambda: packs() if set(packs()) == {1, 10} else None)
        c.restart()
        return c, found

    @staticmethod
    def body_of_first_run(path):
        with open(path, 'rb') as f:
            head = f.read(32)
        return 32 + int.from_bytes(head[28:32], 'little')

    def test_damaged_rollups_are_made_again(self):
        for place in ('run', 'page', 'footer'):
            with self.subTest(place):
                c, packs = self.filled()
                self.assertEqual(c.stop(), 0)
                size = os.path.getsize(packs[10])
                flip(packs[10], {'run': self.body_of_first_run(packs[10]) + 1, 'page': 33, 'footer': size - 30}[place])
                c.start()
                code, out, err = cli(c, 'verify')
                self.assertEqual(code, 1, out + err)
                self.assertIn('cold pack ' + os.path.basename(packs[10])[:16], out)
                code, out, err = cli(c, 'verify', '--repair')
                self.assertEqual(code, 0, out + err)
                self.assertIn('(repaired)', out)
                code, out, err = cli(c, 'verify')
                self.assertEqual(code, 0, out + err)
                self.assertIn('8 parts', out)  # of four series, points and roll-ups, wherever they are by now
                self.assertFalse(os.path.exists(packs[10]))
                self.assertEqual(c.stop(), 0)
                c.settings = list(self.settings('60s'))  # only the roll-ups are read
                c.start()
                for i in range(4):
                    got = c.render(f'host.h.custom.n{i}', self.OLDEST - 1, self.OLDEST + 199)[f'host.h.custom.n{i}']
                    self.assertEqual(got, {self.OLDEST + 10 * k: sum(range(10 * k, 10 * k + 10)) + 10 * i for k in range(20)})

    def test_damaged_points_are_reported(self):
        c, packs = self.filled()
        self.assertEqual(c.stop(), 0)
        flip(packs[1], self.body_of_first_run(packs[1]) + 1)
        c.start()
        for _ in range(2):
            code, out, err = cli(c, 'verify', '--repair')
            self.assertEqual(code, 1, out + err)
            self.assertIn('host.h.custom.n0', out)
            self.assertNotIn('(repaired)', out)
        code, out, err = cli(c, 'rebuild')
        self.assertEqual(code, 1, out + err)
        self.assertIn('damaged', err)
        self.assertEqual(c.render('host.h.custom.n1', self.OLDEST - 1, self.OLDEST + 199),
                         {'host.h.custom.n1': {self.OLDEST + k: k + 1 for k in range(200)}})


class Rebuild(unittest.TestCase):
    def test_it_changes_nothing_that_is_right(self):
        with carat.Carat() as c:
            fill(c)
            c.restart()
            code, out, err = cli(c, 'rebuild')
            self.assertEqual(code, 0, out + err)
            self.assertTrue(whole(c))
            code, out, err = cli(c, 'verify')
            self.assertEqual(code, 0, out + err)
            code, out, err = cli(c, 'rebuild', '--series', 'no.such.*')
            self.assertEqual(code, 1)
            self.assertIn('no series matches no.such.*', err)


    def test_what_is_done_survives_a_kill(self):
        """No record of the stream would bring the roll-ups back."""
        with carat.Carat(['hot.flush_delay=0s', 'hot.flush_round=100ms', 'stream.checkpoint_interval=1h']) as c:
            rules = os.path.join(c.dir, 'schemas')
            old = NOW // 86400 * 86400 - 5 * 86400

            def keep(retentions):
                with open(rules, 'w', encoding='utf-8') as f:
                    f.write(f'[all]\npattern = .*\nretentions = {retentions}\n')

            c.settings.append(f'retention.schemas={rules}')
            keep('60s:460d')
            c.restart()
            c.graphite_send(''.join(f'h.a {i} {old + 60 * i}\n' for i in range(1440)))
            carat.wait_for('the points', lambda: len(c.render('h.a', old - 1, old + 86399).get('h.a', ())) == 1440)
            keep('60s:460d, 30m:2y')
            c.restart()
            code, out, err = cli(c, 'retention', 'apply')
            self.assertEqual(code, 0, out + err)
            code, out, err = cli(c, 'rebuild')
            self.assertEqual(code, 0, out + err)
            c.kill9()
            keep('60s:2d, 30m:2y')  # so that nothing but the roll-ups is read
            c.start()
            code, out, err = cli(c, 'retention', 'apply')
            self.assertEqual(code, 0, out + err)
            self.assertEqual(c.render('h.a', old - 1, old + 86399),
                             {'h.a': {old + 1800 * i: 30 * i + 14.5 for i in range(48)}})


class Cardinality(unittest.TestCase):
    def test_biggest_prefixes(self):
        with carat.Carat() as c:
            lines = [f'apps.web.n{i} 1 {NOW}\n' for i in range(30)] + [f'apps.db.n{i};host=a 1 {NOW}\n' for i in range(5)]
            c.graphite_send(''.join(lines) + f'top 1 {NOW}\n')
            carat.wait_for('the series', lambda: c.metric('carat_catalog_series') == 36)
            status, body = c.get('/api/v1/cardinality?depth=2&top=1')
            self.assertEqual((status, json.loads(body)), (200, {
                'series': 36, 'counted': 36, 'complete': True, 'depths': [
                    {'depth': 1, 'prefixes': 2, 'top': [{'prefix': 'apps', 'series': 35}]},
                    {'depth': 2, 'prefixes': 2, 'top': [{'prefix': 'apps.web', 'series': 30}]}]}))
            for query in ('depth=0', 'depth=17', 'top=0', 'top=1001', 'depth=x'):
                self.assertEqual(c.get('/api/v1/cardinality?' + query)[0], 400)
            code, out, err = cli(c, 'cardinality', '--depth', '3')
            self.assertEqual((code, err), (0, ''))
            self.assertIn('30  apps.web\n', out)


class Limits(unittest.TestCase):
    def test_nothing_is_taken_while_the_disk_is_nearly_full(self):
        with carat.Carat(['disk.min_free=0']) as c:
            self.assertEqual(c.post_points('h', [('custom.a', NOW, 1)]), 200)
            self.assertEqual(c.stop(), 0)
            c.settings = ['disk.min_free=1000T']
            c.start()
            status, body = c.post_json('/api/v0/tsdb', [{'hostId': 'h', 'name': 'custom.b', 'time': NOW, 'value': 1}])
            self.assertEqual(status, 503)
            self.assertIn('disk', json.loads(body)['error']['message'])
            self.assertEqual(c.metric('carat_ingest_stopped'), 1)
            self.assertGreater(c.metric('carat_disk_free_bytes'), 0)
            self.assertEqual(c.value_at('host.h.custom.a', NOW), 1)  # reads go on
            with c.graphite() as s:
                s.sendall(f'late.a 1 {NOW}\n'.encode())
                time.sleep(0.2)
                self.assertEqual(c.render('late.*', NOW - 60, NOW + 60), {})
                self.assertEqual(c.stop(), 0)  # a sender that waits does not hold it up
            c.settings = []
            c.start()
            self.assertEqual(c.post_points('h', [('custom.b', NOW, 1)]), 200)

    def test_quota_of_a_prefix(self):
        with carat.Carat() as c:
            quotas = os.path.join(c.dir, 'quotas')
            with open(quotas, 'w', encoding='utf-8') as f:
                f.write('# test\nhost.staging 2\n')
            self.assertEqual(c.stop(), 0)
            c.settings = [f'limits.quotas={quotas}']
            c.start()
            self.assertEqual(c.post_points('staging', [('custom.a', NOW, 1), ('custom.b', NOW, 1)]), 200)
            self.assertEqual(c.post_points('staging', [('custom.c', NOW, 1)]), 400)
            self.assertEqual(c.rejected('series_quota'), 1)
            self.assertEqual(c.post_points('staging', [('custom.a', NOW, 2)]), 200)
            self.assertEqual(c.post_points('other', [('custom.c', NOW, 1)]), 200)
            c.restart()  # counted again from what there is
            self.assertEqual(c.post_points('staging', [('custom.c', NOW, 1)]), 400)
            self.assertEqual(c.stop(), 0)
            with open(quotas, 'w', encoding='utf-8') as f:
                f.write('host.staging many\n')
            with self.assertRaisesRegex(carat.Refused, 'quotas:1'):
                c.start()
