"""Backups of a running server: every point acknowledged before one began is in what is restored from it."""
import contextlib
import http.client
import io
import json
import os
import random
import re
import shutil
import subprocess
import tarfile
import tempfile
import threading
import time
import unittest

import carat

# Small bounds, so that segments roll and are trimmed, windows are flushed and checkpoints move meanwhile.
BUSY = ('stream.segment_size=256K', 'stream.keep=1s', 'stream.tail=128K', 'hot.flush_delay=1s', 'hot.max_unflushed=2s',
        'hot.flush_round=300ms', 'stream.checkpoint_interval=300ms', 'cold.after=1d', 'cold.interval=1s')
SERIES = 50
POINTS = 100
PAUSE_S = 0.004  # between two posts of a client
PACKS, PACKS_MOVED = 200, 100
OVERWRITES = 0.1  # the rest are written once, so that no later point hides a lost one
SLOTS = 20000
OLDEST = int(time.time()) // 60 * 60 - (SLOTS + 60) * 60


class Client(threading.Thread):
    """Posts to one host until stopped, some slots again; knows what may and what must be read."""

    def __init__(self, port, host, seed):
        super().__init__(daemon=True)
        self.port, self.host, self.random = port, host, random.Random(seed)
        self.sent = {}   # (series, slot) -> every value ever sent, ascending
        self.acked = {}  # (series, slot) -> newest acknowledged
        self.lock = threading.Lock()
        self.count = 0
        self.ended = threading.Event()

    def batch(self):
        points = {}
        for _ in range(POINTS):
            self.count += 1
            n = self.random.randrange(self.count) if self.random.random() < OVERWRITES else self.count
            points[n % SERIES, n // SERIES % SLOTS] = self.count
        return points

    def run(self):
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=30)
        with contextlib.suppress(OSError, http.client.HTTPException):
            while not self.ended.is_set():
                self.post(connection)
                self.ended.wait(PAUSE_S)

    def post(self, connection):
        points = self.batch()
        with self.lock:
            for key, value in points.items():
                self.sent.setdefault(key, []).append(value)
        body = json.dumps([{'hostId': self.host, 'name': f'custom.s{s}', 'time': OLDEST + 60 * k, 'value': v}
                           for (s, k), v in points.items()])
        connection.request('POST', '/api/v0/tsdb', body, {'Content-Type': 'application/json'})
        answer = connection.getresponse()
        answer.read()
        if answer.status == 200:
            with self.lock:
                self.acked.update(points)

    def acknowledged(self):
        with self.lock:
            return dict(self.acked)

    def stop(self):
        self.ended.set()
        self.join(30)


def read_host(server, host):
    """{(series, slot): value} of all that a server has of a host."""
    found = {}
    for target, points in server.render(f'host.{host}.custom.s*', OLDEST - 60, OLDEST + 60 * SLOTS + 60).items():
        series = int(re.search(r's(\d+)$', target).group(1))
        for t, v in points.items():
            found[series, (t - OLDEST) // 60] = v
    return found


def run_carat(*args, **more):
    more.setdefault('timeout', 60)
    return subprocess.run([carat.BINARY, *args], capture_output=True, **more)


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='carat-backup-')
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.dir, name)

    def good(self, *args, **more):
        r = run_carat(*args, **more)
        self.assertEqual(r.returncode, 0, (args, r.stdout[-500:], r.stderr))
        return r

    def check(self, server, host, must, sent):
        """`server` has every point of `must`, or a later one of that slot, and none that was not sent."""
        found = read_host(server, host)
        missing = [k for k in must if k not in found]
        self.assertEqual(missing, [], f'{len(missing)} of {len(must)} points are missing')
        stale = [(k, must[k], found[k]) for k in must if found[k] < must[k]]
        self.assertEqual(stale, [])
        invented = [(k, v) for k, v in found.items() if v not in sent.get(k, ())]
        self.assertEqual(invented, [])
        return found


def clients_for(server, n, seed):
    print(f'     seed {seed}', flush=True)
    started = [Client(server.http_port, f'h{seed}c{i}', seed + i) for i in range(n)]
    for c in started:
        c.start()
    return started


class WhileItRuns(Case):
    def test_every_point_acknowledged_before_is_restored(self):
        seed = random.randrange(1 << 20)
        with carat.Carat(BUSY) as server:
            clients = clients_for(server, 2, seed)
            carat.wait_for('points in every tier', lambda: server.metric('carat_windows_flushed_total') > 200
                           and (server.metric('carat_mover_removed_parts_total') or 0) > 50
                           and sum(c.count for c in clients) > 30000)
            copies = []
            for i in range(3):  # each a moment later, the second and third on top of the first
                must = [c.acknowledged() for c in clients]
                self.good('backup', self.path('b'), '--keep', '3', '--url', server.url(''))
                copies.append((i + 1, must))
                time.sleep(0.5)
            for c in clients:
                c.stop()
            self.good('backup', '--verify', self.path('b'))
            for generation, must in copies:
                to = self.path(f'data{generation}')
                self.good('restore', self.path('b'), '--to', to, '--generation', str(generation))
                with carat.Carat(data=to) as other:
                    for c, m in zip(clients, must):
                        self.check(other, c.host, m, c.sent)
                        # It goes on like any other: what is posted now wins over what was restored.
                        other.post_points(c.host, [('custom.s0', OLDEST, 1e9)])
                        key = f'host.{c.host}.custom.s0'
                        carat.wait_for('the new point', lambda k=key: other.value_at(k, OLDEST) == 1e9)

    def test_nothing_is_different_when_nothing_is_posted_meanwhile(self):
        with carat.Carat(BUSY) as server:
            clients = clients_for(server, 1, random.randrange(1 << 20))
            carat.wait_for('flushed windows', lambda: server.metric('carat_windows_flushed_total') > 50)
            clients[0].stop()
            tar = self.good('backup', '-', '--url', server.url('')).stdout
            carat.wait_for('the last point', lambda: read_host(server, clients[0].host) == clients[0].acked)
        self.good('restore', '-', '--to', self.path('data'), input=tar)
        with carat.Carat(data=self.path('data')) as other:
            self.assertEqual(read_host(other, clients[0].host), clients[0].acked)

    def test_second_backup_copies_only_what_is_new(self):
        with carat.Carat(BUSY) as server:
            clients = clients_for(server, 1, random.randrange(1 << 20))
            carat.wait_for('flushed windows', lambda: server.metric('carat_windows_flushed_total') > 50)
            clients[0].stop()
            carat.wait_for('an empty hot tier', lambda: server.metric('carat_hot_windows') == 0)
            time.sleep(1)  # a checkpoint
            self.good('backup', self.path('b'), '--url', server.url(''))
            server.post_points('late', [('custom.one', OLDEST, 5)])
            r = self.good('backup', self.path('b'), '--url', server.url(''))
            files, copied = map(int, re.search(rb'(\d+) files,.*copied (\d+) files', r.stdout).groups())
            self.assertLess(copied, files)
            stored = [f for f in self.tables(self.path('b'))]
            self.assertEqual(len(stored), len(set(os.path.basename(f) for f in stored)), 'a table was copied twice')
        self.assertEqual(len(os.listdir(self.path('b'))), 4)  # BACKUP, lock, files and one manifest
        self.good('restore', self.path('b'), '--to', self.path('data'))
        with carat.Carat(data=self.path('data')) as other:
            self.check(other, clients[0].host, clients[0].acked, clients[0].sent)
            self.assertEqual(other.value_at('host.late.custom.one', OLDEST), 5)

    @staticmethod
    def tables(top):
        return [os.path.join(d, f) for d, _, files in os.walk(top) for f in files if f.endswith('.sst')]


class OtherTiers(Case):
    def test_a_directory_with_a_manifest_that_moves_on_is_copied_whole(self):
        """As the cold tier does: new files, the manifest switched by a rename, old files removed."""
        with carat.Carat() as server:
            top = os.path.join(server.data, 'other')
            ended = threading.Event()
            mover = threading.Thread(target=self.move_on, args=(top, ended))
            os.mkdir(top)
            mover.start()
            try:
                carat.wait_for('a manifest', lambda: os.path.exists(os.path.join(top, 'manifest')))
                tars = [self.good('backup', '-', '--url', server.url('')).stdout for _ in range(20)]
            finally:
                ended.set()
                mover.join()
        for tar in tars:
            with tarfile.open(fileobj=io.BytesIO(tar)) as t:
                named = t.extractfile('other/manifest').read().decode().split()
                self.assertEqual(len(named), PACKS)
                self.assertEqual([t.extractfile('other/' + name).read().decode() for name in named], named)
                self.assertEqual(t.getnames()[-1], 'carat-backup.json')

    @staticmethod
    def move_on(top, ended):
        names, number = [], 0
        while not ended.is_set():
            for _ in range(PACKS_MOVED if names else PACKS):
                number += 1
                names.append(f'{number:016x}.pack')
                with open(os.path.join(top, names[-1]), 'w', encoding='utf-8') as f:
                    f.write(names[-1])
            gone, names = names[:-PACKS], names[-PACKS:]
            with open(os.path.join(top, 'manifest.tmp'), 'w', encoding='utf-8') as f:
                f.write('\n'.join(names))
            os.rename(os.path.join(top, 'manifest.tmp'), os.path.join(top, 'manifest'))
            for name in gone:
                os.unlink(os.path.join(top, name))
            time.sleep(0.005)


class Killed(Case):
    def filled(self):
        server = self.enterContext(carat.Carat(BUSY))
        client = clients_for(server, 1, random.randrange(1 << 20))[0]
        carat.wait_for('flushed windows', lambda: server.metric('carat_windows_flushed_total') > 100)
        return server, client

    def test_server_during_a_backup(self):
        """What the backup has in hand stays whole: the dead server's snapshot and that of its successor."""
        server, client = self.filled()
        must = client.acknowledged()
        # Unbuffered: communicate() reads from the pipe itself and would skip what a buffer holds.
        with subprocess.Popen([carat.BINARY, 'backup', '-', '--url', server.url('')], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, bufsize=0) as backup:
            tar = backup.stdout.read(4096)  # the pipe is full soon: the backup waits
            server.kill9()
            client.stop()
            server.start()
            rest, said = backup.communicate(timeout=60)
        self.assertEqual(backup.returncode, 0, said)
        self.good('restore', '-', '--to', self.path('data'), input=tar + rest)
        with carat.Carat(data=self.path('data')) as other:
            self.check(other, client.host, must, client.sent)
        server.restart()
        self.assertEqual(os.listdir(os.path.join(server.data, 'snapshots')), [])

    def test_backup_itself(self):
        """The directory restores as before, and the next backup goes on from there."""
        server, client = self.filled()
        must = client.acknowledged()
        self.good('backup', self.path('b'), '--url', server.url(''))
        for delay_ms in (1, 5, 10, 20, 30, 50, 80):
            with subprocess.Popen([carat.BINARY, 'backup', self.path('b'), '--url', server.url('')],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as backup:
                time.sleep(delay_ms / 1000)
                backup.kill()
            self.good('backup', '--verify', self.path('b'))
        client.stop()
        must = client.acknowledged()

        def once_more():  # the server may still be making the snapshot of one that was killed
            return run_carat('backup', self.path('b'), '--url', server.url('')).returncode == 0
        carat.wait_for('a backup after those', once_more)
        self.good('restore', self.path('b'), '--to', self.path('data'))
        with carat.Carat(data=self.path('data')) as other:
            self.check(other, client.host, must, client.sent)

    def test_restore(self):
        """No server takes half a restore; the same command again makes it whole."""
        server, client = self.filled()
        client.stop()
        tar = self.good('backup', '-', '--url', server.url('')).stdout
        data = self.path('data')
        for part in (600, len(tar) // 3, len(tar) - 2048):
            with subprocess.Popen([carat.BINARY, 'restore', '-', '--to', data], stdin=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL) as restore:
                restore.stdin.write(tar[:part])
                restore.stdin.flush()
                carat.wait_for('the first file', lambda: len(os.listdir(data)) > 0 if os.path.isdir(data) else False)
                restore.kill()
                with contextlib.suppress(BrokenPipeError):
                    restore.stdin.close()
            with self.assertRaises(carat.Refused):
                with carat.Carat(data=data):
                    pass
        self.good('restore', '-', '--to', data, input=tar)
        with carat.Carat(data=data) as other:
            self.check(other, client.host, client.acked, client.sent)


class ByTheServer(Case):
    def server(self, *settings):
        return carat.Carat((*BUSY, f'backup.dir={self.path("b")}', *settings))

    def test_when_asked(self):
        with self.server('backup.interval=0s', 'backup.keep=2') as server:
            client = clients_for(server, 1, random.randrange(1 << 20))[0]
            carat.wait_for('flushed windows', lambda: server.metric('carat_windows_flushed_total') > 50)
            for i in range(3):
                must = client.acknowledged()
                r = self.good('backup', '--job', '--url', server.url(''))
                self.assertIn(b'generation %d' % (i + 1), r.stdout)
            client.stop()
            job = json.loads(server.get('/api/v1/jobs')[1])['jobs'][0]
            self.assertEqual((job['kind'], job['state'], job['result']['generation']), ('backup', 'done', 3))
            self.assertEqual(job['done'], job['total'])
            self.assertLess(job['result']['copiedFiles'], job['result']['files'])
            self.assertEqual(server.metric('carat_backups_total'), 3)
            self.assertEqual(os.listdir(os.path.join(server.data, 'snapshots')), [])
        self.assertEqual(len([n for n in os.listdir(self.path('b')) if n.startswith('manifest-')]), 2)
        self.good('backup', '--verify', self.path('b'))
        self.good('restore', self.path('b'), '--to', self.path('data'))
        with carat.Carat(data=self.path('data')) as other:
            self.check(other, client.host, must, client.sent)

    def test_by_itself(self):
        with self.server('backup.interval=1s') as server:
            server.graphite_send(f'a.b 1.5 {OLDEST}\n')
            carat.wait_for('two backups', lambda: server.metric('carat_backups_total') >= 2)
            self.assertGreater(server.metric('carat_backup_newest_timestamp_seconds'), time.time() - 60)
            server.restart()
            carat.wait_for('a third', lambda: server.metric('carat_backups_total') >= 1)
        self.good('restore', self.path('b'), '--to', self.path('data'))
        with carat.Carat(data=self.path('data')) as other:
            self.assertEqual(other.value_at('a.b', OLDEST), 1.5)
        with self.server('backup.interval=7d') as server:  # there is a fresh one
            self.assertGreater(server.metric('carat_backup_newest_timestamp_seconds'), time.time() - 600)
            self.assertEqual(server.metric('carat_backups_total'), 0)

    def test_places_that_do_not_do(self):
        with carat.Carat() as server:
            r = run_carat('backup', '--job', '--url', server.url(''))
            self.assertEqual(r.returncode, 1)
            self.assertIn(b'backup.dir is not set', r.stderr)
            inside = os.path.join(server.data, 'b')
        with self.assertRaisesRegex(carat.Refused, 'backup.dir.*inside the data directory'):
            with carat.Carat((f'data.dir={self.path("d")}', f'backup.dir={self.path("d")}/b'), data=self.path('d')):
                pass
        self.assertFalse(os.path.exists(inside))
        os.makedirs(self.path('b/mine'))
        with self.server('backup.interval=1s') as server:
            carat.wait_for('a failure', lambda: server.metric('carat_backup_failures_total') > 0)
            self.assertEqual(server.get('/healthz')[0], 200)
        self.assertEqual(os.listdir(self.path('b')), ['mine'])


class Refusals(Case):
    def bad(self, code, *args, **more):
        r = run_carat(*args, **more)
        self.assertEqual(r.returncode, code, (args, r.stdout, r.stderr))
        return r.stderr.decode()

    def test_wrong_places(self):
        with carat.Carat() as server:
            server.graphite_send(f'a.b 1 {OLDEST}\n')
            url = ('--url', server.url(''))
            self.good('backup', self.path('b'), *url)
            os.makedirs(self.path('mine/x'))
            self.assertIn('not a backup', self.bad(1, 'backup', self.path('mine'), *url))
            self.assertIn('not empty', self.bad(1, 'restore', self.path('b'), '--to', self.path('mine')))
            self.assertIn('not a backup', self.bad(1, 'restore', self.path('mine'), '--to', self.path('new')))
            self.assertIn('inside the data directory', self.bad(1, 'backup', os.path.join(server.data, 'b'), *url))
            self.assertIn('in use', self.bad(1, 'backup', self.path('b2'), '--data', server.data))
            self.assertEqual(server.request('DELETE', '/api/v1/snapshots/12')[0], 404)
            self.assertEqual(os.listdir(os.path.join(server.data, 'snapshots')), [])
        self.bad(2, 'backup')
        self.bad(2, 'restore', self.path('b'))
        self.bad(2, 'backup', self.path('b'), '--keep', '0')

    def test_damage_is_found_and_named(self):
        with carat.Carat() as server:
            server.graphite_send(f'a.b 1 {OLDEST}\n')
            tar = self.good('backup', '-', '--url', server.url('')).stdout
            self.good('backup', self.path('b'), '--url', server.url(''))
        victim = next(os.path.join(d, f) for d, _, files in os.walk(self.path('b')) for f in files if f == 'catalog.db')
        with open(victim, 'r+b') as f:
            f.seek(5000)
            f.write(b'X')
        self.assertIn('catalog.db is damaged', self.bad(1, 'backup', '--verify', self.path('b')))
        self.assertIn('catalog.db is damaged', self.bad(1, 'restore', self.path('b'), '--to', self.path('d1')))
        self.assertIn('ends early', self.bad(1, 'restore', '-', '--to', self.path('d2'), input=tar[:-2000]))
        with self.assertRaises(carat.Refused):
            with carat.Carat(data=self.path('d1')):
                pass

    def test_without_a_server(self):
        with carat.Carat() as server:
            server.graphite_send(f'a.b 1.25 {OLDEST}\n')
            carat.wait_for('the point', lambda: server.value_at('a.b', OLDEST) == 1.25)
            server.kill9()  # the point is in the stream only
            self.good('backup', self.path('b'), '--data', server.data)
        self.good('restore', self.path('b'), '--to', self.path('data'))
        with carat.Carat(data=self.path('data')) as other:
            self.assertEqual(other.value_at('a.b', OLDEST), 1.25)


if __name__ == '__main__':
    unittest.main()
