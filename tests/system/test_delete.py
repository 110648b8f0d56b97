"""Deleting series and points in a range: the command, the doors, and what survives."""
import json
import os
import random
import shutil
import subprocess
import tempfile
import time
import unittest
import urllib.parse

import carat

NOW = int(time.time()) // 60 * 60
DAY = 86400
SCHEMAS = '[all]\npattern = .*\nretentions = 60s:30d,5m:60d,1h:1y\n'


def cli(c, *arguments, text=''):
    """(exit code, stdout, stderr) of a command against the server."""
    r = subprocess.run([carat.BINARY, *arguments, '--url', c.url('')], capture_output=True, text=True, timeout=60, input=text)
    return r.returncode, r.stdout, r.stderr


def fill(c, names=4, since=NOW - 3 * 3600, until=NOW):
    for i in range(names):
        c.graphite_send(''.join(f'a.n{i}.load {i + t % 1000 / 60} {t}\n' for t in range(since, until, 60)))
    carat.wait_for('the points', lambda: len(points(c, f'a.n{names - 1}.load', since)) == (until - since) // 60)


def points(c, name, since=NOW - 3 * 3600, until=NOW, **more):
    return c.render(name, since - 1, until - 1, **more).get(name, {})


def names(c):
    return [n['id'] for n in json.loads(c.get('/metrics/find?query=a.*&format=treejson')[1])]


def erased(c):
    carat.wait_for('nothing deleted in files', lambda: c.metric('carat_deletions_pending') == 0)


class Ranges(unittest.TestCase):
    def check(self, c, since, until):
        """Series 1 lacks the range, in the base and in the roll-ups; series 0 is whole."""
        got = points(c, 'a.n1.load', NOW - 2 * DAY)
        self.assertEqual(sorted(got), [t for t in range(NOW - 2 * DAY, NOW, 60) if not since <= t < until])
        self.assertEqual(len(points(c, 'a.n0.load')), 180)
        for most, step in ((300, 300), (45, 3600)):
            status, body = c.get('/render?' + urllib.parse.urlencode({
                'target': "consolidateBy(a.n1.load,'sum')", 'from': NOW - 2 * DAY - 1, 'until': NOW - 1, 'format': 'json',
                'maxDataPoints': most, 'xFilesFactor': 0, 'meta': 1}))
            line = json.loads(body)[0]
            self.assertEqual({s['step'] for s in line['meta']['spans']}, {step})
            width = line['datapoints'][1][1] - line['datapoints'][0][1]
            for value, at in line['datapoints'][1:-1]:
                inside = [v for t, v in got.items() if at <= t < at + width]
                self.assertEqual(value is None, not inside, at)
                self.assertAlmostEqual(value or 0, sum(inside), places=6)

    def test_everywhere_and_for_good(self):
        since, until = NOW - 30 * 3600 - 120, NOW - 90 * 60
        with tempfile.NamedTemporaryFile('w', suffix='.conf') as schemas:
            schemas.write(SCHEMAS)
            schemas.flush()
            with carat.Carat([f'retention.schemas={schemas.name}', 'cold.interval=1s', 'cold.after=1s', 'hot.flush_delay=1s',
                              'hot.flush_round=1s', 'hot.max_unflushed=1s', 'stream.checkpoint_interval=1s',
                              'query.coarse_from=100']) as c:
                fill(c, 2, NOW - 2 * DAY)
                code, out, err = cli(c, 'delete', 'a.n1.load', '--from', str(since), '--to', str(until), '--dry-run')
                self.assertEqual(code, 0, err)
                self.assertIn(f'{(until - since) // 60} points of 1 series', out)
                self.assertEqual(len(points(c, 'a.n1.load', NOW - 2 * DAY)), 2880)
                code, out, err = cli(c, 'delete', 'a.n1.load', '--from', str(since), '--to', str(until), '--yes')
                self.assertEqual(code, 0, err)
                self.check(c, since, until)
                c.kill9()
                c.start()
                self.check(c, since, until)
                erased(c)
                self.check(c, since, until)
                code, out, err = cli(c, 'replay', '--from', 'oldest')
                self.assertEqual(code, 0, err)
                self.check(c, since, until)
                self.assertEqual(cli(c, 'verify')[0], 0)
                c.graphite_send(f'a.n1.load 77 {since + 60}\n')  # late, and after: it stays
                carat.wait_for('the point', lambda: c.value_at('a.n1.load', since + 60) == 77)
                c.restart()
                self.assertEqual(c.value_at('a.n1.load', since + 60), 77)
                self.assertEqual(len(points(c, 'a.n1.load', NOW - 2 * DAY)), 2881 - (until - since) // 60)

    def test_nothing_without_a_yes(self):
        with carat.Carat() as c:
            fill(c, 1)
            code, out, err = cli(c, 'delete', 'a.**')
            self.assertEqual(code, 2)
            self.assertIn('--yes', err)
            self.assertEqual(cli(c, 'delete')[0], 2)
            self.assertEqual(cli(c, 'delete', 'no.such', '--yes')[0], 1)
            self.assertEqual(cli(c, 'delete', 'a.**', '--from', 'now', '--to', '-1h', '--yes')[0], 1)
            self.assertEqual(len(points(c, 'a.n0.load')), 180)


class Series(unittest.TestCase):
    def test_name_is_free_and_nothing_comes_back(self):
        with carat.Carat(['cold.interval=1s']) as c:
            fill(c)
            code, out, err = cli(c, 'delete', 'a.n[12].*', 'a.n2.load', '--yes')
            self.assertEqual(code, 0, err)
            self.assertIn('2 series deleted', out)
            self.assertEqual(names(c), ['a.n0', 'a.n3'])
            c.graphite_send(f'a.n1.load 5 {NOW - 60}\n')
            carat.wait_for('the new series', lambda: points(c, 'a.n1.load') == {NOW - 60: 5})
            for _ in range(2):
                c.kill9()
                c.start()
                self.assertEqual(names(c), ['a.n0', 'a.n1', 'a.n3'])
                self.assertEqual(points(c, 'a.n1.load'), {NOW - 60: 5})
                self.assertEqual(points(c, 'a.n2.load'), {})
                self.assertEqual(len(points(c, 'a.n3.load')), 180)
            erased(c)
            self.assertEqual(cli(c, 'replay', '--from', 'oldest')[0], 0)
            self.assertEqual(cli(c, 'verify')[0], 0)
            c.restart()
            self.assertEqual(points(c, 'a.n1.load'), {NOW - 60: 5})

    def test_graphites_own_door(self):
        with carat.Carat() as c:
            c.graphite_send(f'disk;host=x;dev=sda 1 {NOW}\ndisk;host=y 2 {NOW}\n')
            carat.wait_for('the series', lambda: json.loads(c.get('/tags/findSeries?expr=name=disk')[1]) ==
                           ['disk;dev=sda;host=x', 'disk;host=y'])
            body = b'path=disk;dev%3Dsda;host%3Dx&path=no.such'
            form = {'Content-Type': 'application/x-www-form-urlencoded'}
            status, answer = c.request('POST', '/tags/delSeries', body, headers={**form, 'Origin': 'http://elsewhere.example'})
            self.assertEqual(status, 403)
            status, answer = c.request('POST', '/tags/delSeries', b'', headers=form)
            self.assertEqual(status, 400)
            self.assertEqual(c.request('POST', '/tags/delSeries', body, headers=form), (200, b'true'))
            self.assertEqual(json.loads(c.get('/tags/findSeries?expr=name=disk')[1]), ['disk;host=y'])

    def test_by_http(self):
        with carat.Carat() as c:
            fill(c, 3)
            for body, want in (([], 400), ({}, 400), ({'series': ''}, 400), ({'series': 'a.['}, 400), ({'series': 'x.y'}, 404),
                               ({'series': 'a.**', 'from': 'x'}, 400), ({'series': 'a.**', 'from': 200, 'to': 100}, 400),
                               ({'series': ['a.**', 7]}, 400), ({'series': 'a.**', 'dryRun': 1}, 400)):
                status, answer = c.post_json('/api/v1/delete', body)
                self.assertEqual(status, want, (body, answer))
                self.assertTrue(json.loads(answer)['error']['message'])
            self.assertEqual(c.request('POST', '/api/v1/delete', b'{"series":"a.**"}', headers={'Content-Type': 'text/plain'})[0], 415)
            status, answer = c.post_json('/api/v1/delete', {'series': 'a.**', 'dryRun': True})
            self.assertEqual((status, json.loads(answer)['series'], json.loads(answer)['points']), (200, 3, 540))
            self.assertEqual(len(names(c)), 3)
            status, answer = c.post_json('/api/v1/delete', {'series': ['a.n0.*', 'a.n1.load']})
            self.assertEqual((status, json.loads(answer)['deletedSeries']), (200, 2))
            self.assertEqual(names(c), ['a.n2'])


class Survival(unittest.TestCase):
    def test_kills_at_any_moment(self):
        """What was acknowledged, points and deletions in their order, is what is read."""
        seed = random.randrange(1 << 32)
        dice = random.Random(seed)
        with carat.Carat(['cold.interval=1s', 'cold.after=1s', 'hot.flush_delay=1s', 'hot.flush_round=1s', 'hot.max_unflushed=2s',
                          'stream.checkpoint_interval=1s', 'hot.jitter=0']) as c:
            want = [{} for _ in range(4)]
            value = 0
            for _ in range(4):
                for _ in range(25):
                    n = dice.randrange(4)
                    if dice.random() < 0.7 or not want[n]:
                        at = [NOW - 60 * dice.randrange(600) for _ in range(40)]
                        value += 1
                        self.assertEqual(c.post_points(f'h{n}', [('custom.v', t, value) for t in at]), 200)
                        want[n].update({t: value for t in at})
                    elif dice.random() < 0.7:
                        since = NOW - 60 * dice.randrange(600)
                        until = since + 60 * dice.randrange(1, 200)
                        self.assertEqual(c.post_json('/api/v1/delete', {'series': f'host.h{n}.**', 'from': since, 'to': until})[0], 200)
                        want[n] = {t: v for t, v in want[n].items() if not since <= t < until}
                    else:
                        self.assertEqual(c.post_json('/api/v1/delete', {'series': f'host.h{n}.**'})[0], 200)
                        want[n] = {}
                c.kill9()
                c.start()
                for n in range(4):
                    self.assertEqual(points(c, f'host.h{n}.custom.v', NOW - 36000, NOW + 60), want[n], (seed, n))

    def test_backup_and_restore(self):
        top = tempfile.mkdtemp(prefix='carat-delete-')
        self.addCleanup(shutil.rmtree, top, ignore_errors=True)
        with carat.Carat(['cold.interval=1h']) as c:
            fill(c)
            self.assertEqual(cli(c, 'delete', 'a.n1.load', '--from', str(NOW - 3600), '--yes')[0], 0)
            self.assertEqual(cli(c, 'delete', 'a.n2.**', '--yes')[0], 0)
            self.assertEqual(cli(c, 'backup', os.path.join(top, 'backup'))[0], 0)
        restored = os.path.join(top, 'data')
        r = subprocess.run([carat.BINARY, 'restore', os.path.join(top, 'backup'), '--to', restored], capture_output=True, timeout=60)
        self.assertEqual(r.returncode, 0, r.stderr)
        with carat.Carat(['cold.interval=1s'], data=restored) as c:
            for _ in range(2):
                self.assertEqual(names(c), ['a.n0', 'a.n1', 'a.n3'])
                self.assertEqual(len(points(c, 'a.n1.load')), 120)
                self.assertEqual(len(points(c, 'a.n3.load')), 180)
                erased(c)
            c.graphite_send(f'a.n1.load 1 {NOW - 60}\na.n2.load 1 {NOW - 60}\n')  # positions go on above the deletions'
            carat.wait_for('a point after', lambda: len(points(c, 'a.n1.load')) == 121)
            carat.wait_for('the name again', lambda: points(c, 'a.n2.load') == {NOW - 60: 1})
