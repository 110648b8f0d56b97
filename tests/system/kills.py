"""Kills the server and the backup commands at named points of their work (src/base/killpoint.h), starts them again,
and checks that nothing is lost, doubled or left lying about.

At each point in turn, while clients post points of all ages into a server whose windows, segments, checkpoints, packs
and merges come by in fractions of a second. After each kill and restart:
 - every acknowledged point is read, with the value of the last post that was acknowledged or is in doubt (clients.py);
 - `carat cold verify`, and now and then `carat verify`, find no damage, and the server has met none;
 - no file is left that nothing names: packs, half written files, snapshots, segments before the checkpoint;
 - now and then, and at the end: every stored roll-up slot is what its base points give.
A point that is not reached within a time fails, so a name in the list that nothing passes is noticed.

usage: kills.py --binary BUILD/carat [--rounds N] [--workers N] [--seed N] [--count FILE] [POINT...]
       POINT: part of a name; without one all"""
import argparse
import contextlib
import http.client
import json
import mmap
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

from clients import POINTS, Client

ROOT = Path(__file__).resolve().parent.parent.parent
REACH_S = 60  # a point is passed so soon after it was armed
COMMAND_S = 300
NAMES = re.findall(r'^    "([a-z_.]+)",$', (ROOT / 'src/base/killpoint.c').read_text(), re.M)

WINDOW_S = 240            # of a step of a second
GROUP_S = 32 * WINDOW_S   # what moves to cold together
AGGREGATIONS = ['average', 'sum', 'min', 'max', 'last', 'count']  # of series 0 to 5
SCHEMAS = '[old]\npattern = ^host\\.old\nretentions = 2s:{old},20s:20d\n[all]\npattern = .*\nretentions = {all}\n'
LONG, SHORT = '10d', '6h'  # of the hosts whose points expire
ALL = '1s:5d,10s:20d,60s:60d'
SETTINGS = ('stream.segment_size=64K', 'stream.keep=1s', 'stream.tail=64K', 'stream.checkpoint_interval=200ms',
            'hot.flush_delay=0s', 'hot.jitter=0', 'hot.flush_round=100ms', 'cold.after=12h', 'cold.interval=100ms',
            'cold.rate=0', 'cold.pack_size=64K', 'scrub.interval=0s')
STARTED = {  # a point of the start: where the server was killed before
    'stream.open_cut': 'stream.synced', 'stream.open_dropped': 'stream.rolled', 'cold.orphan_removed': 'cold.pack_named',
}


class Points:
    """The file that tester and process map."""

    def __init__(self, path):
        self.path = path
        with open(path, 'wb') as f:
            f.truncate(64 + 8 * len(NAMES))
        with open(path, 'r+b') as f:
            self.map = mmap.mmap(f.fileno(), 0)

    def arm(self, name, passes):
        self.disarm()
        self.map[56:64] = struct.pack('<q', passes)
        self.map[0:56] = name.encode().ljust(56, b'\0')

    def disarm(self):
        self.map[0:56] = bytes(56)

    def passes(self, name):
        at = 64 + 8 * NAMES.index(name)
        return struct.unpack('<Q', self.map[at:at + 8])[0]


class Spread(Client):
    """Posts into some windows of many ages, one after the other."""
    step_s = 1
    pause_s = 0.002
    stay = 6  # posts in a window

    def __init__(self, port, host, seed, now):
        super().__init__(port, host, seed, (now - 44 * 3600) // GROUP_S * GROUP_S)
        self.windows = [g * GROUP_S + w * WINDOW_S for g in (0, 1, 2, 9, 10) for w in (3, 21)]
        self.windows += [(now - self.oldest - 900) // WINDOW_S * WINDOW_S - k * WINDOW_S for k in range(2)]

    def pick(self):
        if self.sent % (self.stay * POINTS) == 1:
            self.at = self.random.choice(self.windows)
        return self.random.randrange(len(AGGREGATIONS)), self.at // self.step_s + self.random.randrange(WINDOW_S)

    def slots(self, server, step_s):
        """{(series, slot of the step): value} of all windows."""
        seen = {}
        for start in self.windows:
            since = self.oldest + start
            got = server.render(f'host.{self.host}.custom.s*', since - 1, since + self.step_s * WINDOW_S - 1)
            seen.update({(int(name.rsplit('.s', 1)[1]), (t - self.oldest) // step_s): v for name, points in got.items()
                         for t, v in points.items()})
        return seen

    def read(self, server):
        return self.slots(server, self.step_s)

    def rolled_up(self, step_s):
        """What the coarse archive must hold, by the acknowledged points."""
        slots = {}
        for (series, slot), value in sorted(self.acked.items()):
            slots.setdefault((series, slot // (step_s // self.step_s)), []).append(value)
        return {(series, slot): self.aggregate(AGGREGATIONS[series], values) for (series, slot), values in slots.items()}

    @staticmethod
    def aggregate(how, values):
        return {'average': sum(values) / len(values), 'sum': sum(values), 'min': min(values), 'max': max(values),
                'last': values[-1], 'count': len(values)}[how]

    def verify_rollups(self, server, step_s):
        seen, wanted = self.slots(server, step_s), self.rolled_up(step_s)
        return [f'{self.host} step {step_s} s, series {k[0]} slot {k[1]}: read {seen.get(k)}, points give {wanted.get(k)}'
                for k in seen.keys() | wanted.keys() if not close(seen.get(k), wanted.get(k))]


def close(a, b):
    return a is not None and b is not None and abs(a - b) <= 1e-9 * abs(b)


class Names(Client):
    """A new series with each post, one point each."""
    step_s = 1
    pause_s = 0.4  # its window rests meanwhile, and is flushed

    def pick(self):
        return self.sent, 0

    def read(self, server):
        got = server.render(f'host.{self.host}.custom.s*', self.oldest - 1, self.oldest)
        return {(int(name.rsplit('.s', 1)[1]), 0): v for name, points in got.items() for t, v in points.items()}


class Old(Spread):
    """Points of a step of 2 s that a change of the rules lets expire: then their roll-ups of 20 s are read."""
    step_s = 2
    stay = 1

    def __init__(self, port, host, seed, now):
        super().__init__(port, host, seed, now)
        self.oldest = (now - 3 * 86400) // (2 * GROUP_S) * 2 * GROUP_S
        self.windows = [n * 2 * WINDOW_S for n in (0, 5, 40)]
        # These are too young to be moved to cold and old enough to expire.
        young = (now - 6 * 3600 - 1800) // (2 * GROUP_S) * 2 * GROUP_S - self.oldest
        self.windows += [young - n * 2 * WINDOW_S for n in (1, 7)]


class Failed(Exception):
    pass


class Yard:
    """A server under load and what is around it."""

    def __init__(self, carat, seed, say):
        self.carat, self.say, self.random = carat, say, random.Random(seed)
        self.dir = tempfile.mkdtemp(prefix='carat-kills-')
        self.points = Points(self.path('points'))
        self.command_points = Points(self.path('command.points'))
        self.rules(LONG)
        with open(self.path('aggregation'), 'w', encoding='utf-8') as f:
            f.writelines(f'[{how}]\npattern = \\.s{i}$\nxFilesFactor = 0\naggregationMethod = {how}\n'
                         for i, how in enumerate(AGGREGATIONS))
        self.server = carat.Carat(self.settings())
        self.server.environment = {'CARAT_KILL_POINTS': self.points.path}
        self.kills = 0
        self.backups = 0
        self.acked_at_backup = None

    def path(self, name):
        return os.path.join(self.dir, name)

    def settings(self, schemas='schemas'):
        return (*SETTINGS, f'retention.schemas={self.path(schemas)}', f'retention.aggregation={self.path("aggregation")}',
                f'backup.dir={self.path("backup")}', 'backup.interval=0s', 'backup.keep=2')

    def rules(self, old, name='schemas', rest=ALL):
        with open(self.path(name), 'w', encoding='utf-8') as f:
            f.write(SCHEMAS.format(old=old, all=rest))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.server.process and self.server.process.poll() is None:
            self.server.kill9()
        for c in getattr(self, 'clients', ()):
            c.ended = True
        shutil.rmtree(self.server.dir, ignore_errors=True)
        shutil.rmtree(self.dir, ignore_errors=True)

    # --- load

    def begin(self):
        self.server.start()
        now = int(time.time())
        port = self.server.http_port
        self.spread, self.names = Spread(port, 'k', self.random.random(), now), Names(port, 'n', 0, now - 7200)
        self.clients = [self.spread, self.names]
        for c in self.clients:
            c.start()

    def pause(self):
        for c in self.clients:
            c.posting.acquire()

    def resume(self):
        for c in self.clients:
            c.posting.release()

    # --- kills

    def passes_for(self, name):
        """Mostly the first pass, sometimes a later one, as they come by."""
        seen = self.points.passes(name) // (self.kills + 1)
        return self.random.randint(1, max(1, min(30, seen)))

    def wait_for_death(self, name, passes, server=None):
        server = server or self.server
        try:
            code = server.process.wait(REACH_S)
        except subprocess.TimeoutExpired:
            raise Failed(f'{name}: not reached {passes} times in {REACH_S} s') from None
        finally:
            self.points.disarm()
        if code != -9:
            raise Failed(f'{name}: the server ended with {code}\n{server.log()[-2000:]}')
        self.kills += 1

    def kill_at(self, name, trigger=None, most=None):
        """Under load; `trigger` gets the work going."""
        passes = min(self.passes_for(name), most or 1000)
        self.points.arm(name, passes)
        if trigger:
            trigger()
        self.wait_for_death(name, passes)

    def kill_at_start(self, name):
        self.points.arm(name, 1)
        self.server.spawn()
        self.wait_for_death(name, 1)

    def come_back(self):
        """The next start, and everything that must hold then. With half a chance it dies once or twice more."""
        while self.random.random() < 0.2:
            self.server.spawn()
            time.sleep(self.random.uniform(0, 0.3))
            self.server.kill9()
            self.kills += 1
        left = self.files()
        self.pause()
        try:
            self.server.start()
            self.check(left)
        finally:
            self.resume()

    # --- what must hold

    def files(self):
        """{path: (inode, time)} of what looks half done."""
        found = {}
        named = self.packs_named()
        for top, _, names in os.walk(self.server.data):
            for name in names:
                path = os.path.join(top, name)
                pack = name.endswith('.pack') and top.endswith('cold') and int(name[:16], 16) not in named
                if name.endswith('.tmp') or pack or '/snapshots/' in path:
                    with contextlib.suppress(FileNotFoundError):  # a server is at work
                        at = os.stat(path)
                        found[path] = at.st_ino, at.st_mtime_ns
        return found

    def packs_named(self):
        path = os.path.join(self.server.data, 'cold', 'manifest')
        if not os.path.exists(path):
            return set()
        with open(path, 'rb') as f:
            b = f.read()
        return {struct.unpack_from('<Q', b, 32 + 80 * i)[0] for i in range(struct.unpack_from('<I', b, 12)[0])}

    def check(self, left):
        c = self.carat
        try:
            c.wait_for('left over files to go', lambda: not left.items() & self.files().items(), 5)
        except AssertionError:
            raise Failed(f'left over: {sorted(left.items() & self.files().items())}') from None
        bad = [b for client in self.clients for b in client.verify(self.server)]
        for metric in ('carat_points_orphaned_total', 'carat_writer_corrupt_records_total', 'carat_warm_corrupt_parts_total',
                       'carat_cold_corrupt_parts_total', 'carat_stream_quarantined_bytes_total',
                       'carat_reader_incomplete_total', 'carat_mover_errors_total', 'carat_writer_flush_errors_total'):
            value = self.server.metric(metric)
            if value:
                bad.append(f'{metric} is {value:g}')
        self.raise_if(bad)
        self.good('cold', 'verify', '--data', self.server.data)
        if self.random.random() < VERIFY_SHARE:
            self.good('verify', '--url', self.server.url(''))

    def raise_if(self, bad):
        if bad:
            raise Failed('\n'.join(bad[:10]) + f'\n{len(bad)} in all\n{self.server.log()[-3000:]}')

    def good(self, *command):
        r = subprocess.run([self.carat.BINARY, *command], capture_output=True, text=True, timeout=COMMAND_S)
        if r.returncode:
            raise Failed(f'carat {" ".join(command)}: exit code {r.returncode}\n{r.stdout}{r.stderr}')
        return r.stdout

    def check_rollups(self):
        """Of a copy after a clean stop, under rules that keep the base for a minute: reads find coarse archives only."""
        c = self.carat
        self.pause()
        try:
            if self.server.stop() != 0:
                raise Failed(f'no clean stop\n{self.server.log()[-2000:]}')
            for step, rest in ((10, '1s:60s,10s:20d,60s:60d'), (60, '1s:60s,10s:2min,60s:60d')):
                copy = self.path('copy')
                shutil.copytree(self.server.data, copy)
                self.rules(LONG, 'coarse', rest)
                with c.Carat(self.settings('coarse'), data=copy) as other:
                    self.raise_if(self.spread.verify_rollups(other, step))
                shutil.rmtree(copy)
            self.server.start()
            self.check({})
        finally:
            self.resume()

    # --- rules and expiry

    def reload(self, old):
        self.rules(old)
        self.server.process.send_signal(self.carat.signal.SIGHUP)

    def apply(self, old):
        self.rules(old)
        self.post_job(kind='retention-apply')

    def kill_while_applying(self, name):
        """What the base archive drops must stay in the coarser one, once it is there; killed before, between and after."""
        c, server = self.carat, self.server
        self.reload(LONG)
        old = Old(server.http_port, f'old{self.kills}', self.random.random(), int(time.time()))
        c.wait_for('the rules', old.post_once, 10)
        moved = server.metric('carat_mover_removed_parts_total')
        for _ in range(20):
            old.post_once()
        c.wait_for('some of them in cold', lambda: server.metric('carat_mover_removed_parts_total') > moved)
        self.pause()
        self.raise_if(old.verify(server))  # all is applied
        c.wait_for('an empty hot tier', lambda: server.metric('carat_hot_windows') == 0)
        self.resume()
        self.kill_at(name, lambda: self.apply(SHORT), 1)
        self.come_back()
        c.wait_for('what was begun to be finished', lambda: not json.loads(self.server.get('/api/v1/retention')[1])['unfinished'])
        self.pause()
        bad = old.verify_rollups(self.server, 20)
        self.resume()
        self.raise_if(bad)

    # --- backups

    def back_up(self, armed=None):
        environment = dict(os.environ, CARAT_KILL_POINTS=self.command_points.path)
        return subprocess.run([self.carat.BINARY, 'backup', self.path('backup'), '--keep', '2', '--url', self.server.url('')],
                              capture_output=True, text=True, timeout=COMMAND_S, env=environment if armed else None)

    def kill_snapshot(self, name):
        self.kill_at(name, lambda: subprocess.Popen(
            [self.carat.BINARY, 'backup', self.path(f'other{self.kills}'), '--url', self.server.url('')],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL), 1)
        self.come_back()

    def kill_backup(self, name):
        passes = self.random.randint(1, 3) if name == 'backup.file_copied' else 1
        if self.random.random() < 0.3:
            self.kill_own_backup(name, passes)
            return
        if name == 'backup.small_file_temp' and self.random.random() < 0.5:
            shutil.rmtree(self.path('backup'), ignore_errors=True)
        for _ in range(6):  # generations to be forgotten come with the third
            self.command_points.arm(name, passes)
            r = self.back_up(armed=True)
            if r.returncode == -9:
                break
            if r.returncode:
                raise Failed(f'{name}: carat backup: {r.stderr}')
        else:
            raise Failed(f'{name}: not reached')
        self.command_points.disarm()
        self.kills += 1
        if any(n.startswith('manifest-') and n.endswith('.json') for n in os.listdir(self.path('backup'))):
            self.good('backup', '--verify', self.path('backup'))
        self.whole_backup()

    def kill_own_backup(self, name, passes):
        """The server with its own backup; the points of small files and of the manifest are those of its snapshot, too."""
        def trigger():
            for _ in range(4):  # generations to be forgotten come with the third
                self.post_job(kind='backup')
        self.points.arm(name, passes)
        trigger()
        self.wait_for_death(name, passes)
        self.come_back()
        self.whole_backup()

    def whole_backup(self):
        """One that is not killed, after which there is nothing that no generation names."""
        with self.spread.posting:
            acked = dict(self.spread.acked)
        self.carat.wait_for('a backup', lambda: self.back_up().returncode == 0, 20)
        named = set()
        for name in os.listdir(self.path('backup')):
            if name.startswith('manifest-') and name.endswith('.json'):
                with open(self.path('backup/' + name), encoding='utf-8') as f:
                    named |= {f'{n["stored"]:012}/{n["path"]}' for n in json.load(f)['files']}
            elif name not in ('BACKUP', 'lock', 'files'):
                raise Failed(f'left over in the backup: {name}')
        top = self.path('backup/files')
        there = {os.path.relpath(os.path.join(d, f), top) for d, _, files in os.walk(top) for f in files}
        self.raise_if([f'no generation names {f}' for f in there - named] + [f'{f} is missing' for f in named - there])
        self.acked_at_backup = acked

    def kill_restore(self, name):
        c, to = self.carat, self.path('restored')
        if not self.acked_at_backup:
            self.whole_backup()
        environment = dict(os.environ, CARAT_KILL_POINTS=self.command_points.path)
        self.command_points.arm(name, self.random.randint(1, 5) if name == 'restore.file_copied' else 1)
        r = subprocess.run([c.BINARY, 'restore', self.path('backup'), '--to', to], capture_output=True, text=True,
                           timeout=COMMAND_S, env=environment)
        self.command_points.disarm()
        if r.returncode != -9:
            raise Failed(f'{name}: not reached: carat restore ended with {r.returncode}\n{r.stderr}')
        self.kills += 1
        whole = os.path.exists(os.path.join(to, 'FORMAT'))
        try:
            if whole:
                self.read_restored(to)
            else:
                with c.Carat(self.settings(), data=to):
                    raise Failed('a server took half a restore')
        except c.Refused:
            pass
        if os.path.exists(os.path.join(to, 'RESTORING')) == whole:
            raise Failed(f'RESTORING is {"still" if whole else "not"} there')
        if whole:
            shutil.rmtree(to)
        self.good('restore', self.path('backup'), '--to', to)
        self.read_restored(to)
        shutil.rmtree(to)

    def read_restored(self, to):
        with self.carat.Carat(self.settings(), data=to) as other:
            seen = self.spread.read(other)
            self.raise_if([f'restored: {k} is {seen.get(k)}, not {v} or later' for k, v in self.acked_at_backup.items()
                           if seen.get(k, -1) < v])
            self.good('verify', '--url', other.url(''))

    # --- second writers

    def post_job(self, server=None, **request):
        try:
            status, body = (server or self.server).post_json('/api/v1/jobs', request)
        except (OSError, http.client.HTTPException):
            return  # it may die before it answers
        if status != 202:
            raise Failed(f'job refused: {status} {body}')

    def kill_rebuild(self, name):
        self.kill_at(name, lambda: self.post_job(kind='rebuild'), 5)
        self.come_back()

    def kill_mend(self, name):
        """Warm is lost, the stream still has everything."""
        c = self.carat
        settings = [s for s in self.settings() if not s.startswith('stream.keep')] + ['stream.keep=1d', 'cold.after=9d']
        with c.Carat(settings) as server:
            server.environment = {'CARAT_KILL_POINTS': self.points.path}
            client = Spread(server.http_port, 'k', self.random.random(), int(time.time()))
            for _ in range(30):
                client.post_once()
            server.restart()
            if server.stop():
                raise Failed(f'no clean stop\n{server.log()[-2000:]}')
            shutil.rmtree(os.path.join(server.data, 'warm'))
            server.start()
            self.points.arm(name, self.random.randint(1, 5) if name != 'mend.synced' else 1)
            self.post_job(server, **{'kind': 'replay', 'from': 'oldest'})
            self.wait_for_death(name, 1, server)
            server.start()
            self.good('replay', '--from', 'oldest', '--url', server.url(''))
            self.raise_if(client.verify(server))
            self.good('verify', '--url', server.url(''))
            if server.stop():
                raise Failed(f'no clean stop\n{server.log()[-2000:]}')
            self.rules(LONG, 'coarse', '1s:60s,10s:20d,60s:60d')
            with c.Carat(self.settings('coarse'), data=server.data) as other:
                self.raise_if(client.verify_rollups(other, 10))

    def kill_while_healing(self, name):
        """A pack of roll-ups is damaged, and written again by a repair."""
        c = self.carat
        with c.Carat(self.settings()) as server:
            client = Spread(server.http_port, 'k', self.random.random(), int(time.time()))
            for _ in range(60):
                client.post_once()

            def packs():
                rows = [line.split() for line in self.good('cold', 'ls', '--data', server.data).splitlines()[1:]]
                return [os.path.join(server.data, 'cold', row[0] + '.pack') for row in rows if row[1] == '10s']
            c.wait_for('a pack of roll-ups', packs)
            if server.stop():
                raise Failed(f'no clean stop\n{server.log()[-2000:]}')
            with open(packs()[0], 'r+b') as f:
                f.seek(28)
                at = 32 + int.from_bytes(f.read(4), 'little') + 1  # in the body of the first run
                f.seek(at)
                byte = f.read(1)[0]
                f.seek(at)
                f.write(bytes([byte ^ 1]))
            server.environment = {'CARAT_KILL_POINTS': self.points.path}
            self.points.arm(name, 1)
            server.start()
            self.post_job(server, kind='verify', repair=True)
            self.wait_for_death(name, 1, server)
            server.start()
            self.good('verify', '--repair', '--url', server.url(''))
            self.good('verify', '--url', server.url(''))
            self.raise_if(client.verify(server))

    def kill_first_start(self, name):
        c = self.carat
        with c.Carat(self.settings()) as server:
            pass
        server = c.Carat(self.settings())
        server.environment = {'CARAT_KILL_POINTS': self.points.path}
        theirs, self.server = self.server, server
        try:
            self.kill_at_start(name)
            left = self.files()
            server.start()
            c.wait_for('left over files to go', lambda: not left.items() & self.files().items(), 5)
            if server.post_points('h', [('custom.a', 60 * (int(time.time()) // 60), 1)]) != 200:
                raise Failed('no point is taken')
        finally:
            self.server = theirs
            server.__exit__()

    # --- all of it

    def test(self, name):
        """One kill at this point, and the look at what it left."""
        group = name.split('.')[0]
        if name in STARTED:
            self.kill_at(STARTED[name])
            self.kill_at_start(name)
            self.come_back()
        elif name.startswith('cold.heal_'):
            self.kill_while_healing(name)
        elif group in SCENARIOS:
            SCENARIOS[group](self, name)
        else:
            raise Failed(f'{name}: no scenario does what it belongs to')


def under_load(yard, name):
    yard.kill_at(name)
    yard.come_back()


def reloading(yard, name):
    yard.kill_at(name, lambda: yard.reload(LONG))
    yard.come_back()


# What does the work that the points of a group belong to.
SCENARIOS = dict.fromkeys(('stream', 'writer', 'flush', 'rollup', 'checkpoint', 'positions', 'catalog', 'move', 'cold'), under_load)
SCENARIOS |= {'rules': reloading, 'expire': Yard.kill_while_applying, 'history': Yard.kill_while_applying,
              'apply': Yard.kill_while_applying, 'snapshot': Yard.kill_snapshot, 'backup': Yard.kill_backup,
              'restore': Yard.kill_restore, 'rebuild': Yard.kill_rebuild, 'mend': Yard.kill_mend,
              'data_dir': Yard.kill_first_start}
ROLLUPS_EVERY = 12   # kills
VERIFY_SHARE = 0.4   # of the kills; it reads everything


def work(carat, names, seed, say):
    """Goes through the points; the number of those that held, and the complaints."""
    good, bad = 0, []
    with Yard(carat, seed, say) as yard:
        try:
            yard.begin()
            for i, name in enumerate(names):
                began = time.monotonic()
                yard.test(name)
                if (i + 1) % ROLLUPS_EVERY == 0:
                    yard.check_rollups()
                good += 1
                say(f'ok   {name} ({time.monotonic() - began:.1f} s)')
            yard.check_rollups()
        except Exception as e:  # also one of ours: the other worker goes on, and both are told
            bad.append(f'FAIL {names[good] if good < len(names) else "the end"}: {type(e).__name__}: {e}\n'
                       + ('' if isinstance(e, Failed) else traceback.format_exc() + yard.server.log()[-3000:]))
    return good, bad


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--binary', required=True)
    p.add_argument('--rounds', type=int, default=1)
    p.add_argument('--workers', type=int, default=2)
    p.add_argument('--seed', type=int, default=int.from_bytes(os.urandom(4), 'little'))
    p.add_argument('--count')
    p.add_argument('points', nargs='*', metavar='POINT')
    a = p.parse_args()
    os.environ['CARAT_BINARY'] = str(Path(a.binary).resolve())
    import carat
    print(f'seed {a.seed}')
    rng = random.Random(a.seed)
    names = [n for n in NAMES if not a.points or any(p in n for p in a.points)] * a.rounds
    rng.shuffle(names)
    lock = threading.Lock()

    def say(text):
        with lock:
            print(text, flush=True)

    results = [None] * a.workers

    def run(i, seed):
        results[i] = work(carat, names[i::a.workers], seed, say)

    threads = [threading.Thread(target=run, args=(i, rng.random())) for i in range(a.workers)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    good = sum(r[0] if r else 0 for r in results)
    bad = [b for r in results for b in (r[1] if r else ['FAIL a worker died'])]
    print('\n'.join(bad))
    if a.count:
        Path(a.count).write_text(f'{good} {len(bad)}\n')
    print(f'{good} passed, {len(bad)} failed')
    return 1 if bad else 0


sys.exit(main())
