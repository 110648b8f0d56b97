"""A whole deployment on loopback: PostgreSQL, NATS, Redis Cluster, and a process of Carat for each role.

usage: cluster.py --binary build/carat [--demo] [--once [SECONDS]] [--kill] [--ingest N] [--writers N] [--readers N]

Runs until Ctrl-C. --once posts for a while, reads every acknowledged point back from every reader and ends."""
import argparse
import contextlib
import itertools
import math
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import carat
import clients
import server_nats
import server_postgres
import server_redis

PARTITIONS = 4
# Warm and cold are on the disk of each process, so what is written must stay in Redis.
LOCAL_TIERS = ('server.local_tiers=true', 'hot.flush_delay=400d', 'hot.max_unflushed=400d')


class Cluster(contextlib.ExitStack):
    """The servers, and any number of carats beside them; leaves nothing behind."""

    def __init__(self, *more, nats=1):
        super().__init__()
        try:
            self.pg = self.enter_context(server_postgres.Postgres())
            self.nats = self.enter_context(server_nats.Nats(nats))
            self.redis = self.enter_context(server_redis.RedisCluster())
        except BaseException:
            self.close()
            raise
        self.settings = [*self.pg.settings(), *self.nats.settings(), *self.redis.settings(), *LOCAL_TIERS,
                         f'stream.partitions={PARTITIONS}', 'stream.checkpoint_interval=500ms', *more]

    def carat(self, roles):
        return self.enter_context(carat.Carat([*self.settings, f'server.roles={roles}']))


def held(writer):
    """Partitions a writer has a lease of."""
    return writer.metric('carat_leases_held') or 0


class Deployment(Cluster):
    def __init__(self, a):
        super().__init__('writer.lease=4s', nats=3)
        try:
            self.ingest = [self.carat('ingest') for _ in range(a.ingest)]
            self.writers = [self.carat('writer') for _ in range(a.writers)]
            self.mover = self.carat('mover')
            self.readers = [self.carat('reader') for _ in range(a.readers)]
            carat.wait_for('every partition to have a writer', lambda: sum(map(held, self.writers)) == PARTITIONS)
        except BaseException:
            self.close()
            raise

    def describe(self):
        say(f'PostgreSQL   {self.pg.conninfo}')
        say(f'NATS         {self.nats.urls()}')
        say(f'Redis        {" ".join(self.redis.addresses())}')
        for name, list_ in (('ingest', self.ingest), ('writer', self.writers), ('mover', [self.mover]), ('reader', self.readers)):
            for c in list_:
                more = f', Graphite lines at 127.0.0.1:{c.graphite_port}' if name == 'ingest' else ''
                say(f'{name:12} {c.url("")}{more}')
        say(f'see          {carat.BINARY} topology --url {self.readers[0].url("")}')

    # --- kills, one a turn

    def kill_writer(self):
        victim = random.choice(self.writers)
        say('kill -9 of a writer')
        victim.kill9()
        if len(self.writers) > 1:
            carat.wait_for('its partitions to be taken over',
                           lambda: sum(held(w) for w in self.writers if w is not victim) == PARTITIONS)
        victim.start()

    def kill_redis(self):
        before = self.redis.masters
        victim = random.choice(before)
        say('kill -9 of a Redis master')
        victim.kill()
        carat.wait_for('a replica in its place', lambda: len(self.redis.masters) == len(before))
        victim.spawn()
        self.redis.wait_ready(60)

    def kill_nats(self):
        victim = self.nats.leader_of('carat') or random.choice(self.nats.nodes)
        say('kill -9 of the NATS server that leads the stream')
        victim.kill()
        carat.wait_for('another leader', lambda: self.nats.leader_of('carat'), 60)
        victim.spawn()
        carat.wait_for('NATS to be ready', self.nats.ready)


def say(text):
    print(text, flush=True)


class Show(threading.Thread):
    """A demonstration: 20 hosts with 10 metrics each, a point a second, until told to stop."""

    def __init__(self, doors):
        super().__init__(daemon=True)
        self.doors = doors
        self.stopped = threading.Event()
        self.acked = self.refused = 0

    def run(self):
        for turn in itertools.count():
            if self.stopped.wait(1):
                return
            now = int(time.time())
            for h in range(20):
                points = [(f'custom.demo.m{m}', now, 50 + 40 * math.sin(now / 60 + h + m)) for m in range(10)]
                try:
                    good = self.doors[(turn + h) % len(self.doors)].post_points(f'demo{h:02}', points) == 200
                except OSError:
                    good = False
                self.acked += len(points) * good
                self.refused += len(points) * (not good)


def run_until_stopped(k, demo):
    show = Show(k.ingest) if demo else None
    if show:
        say(f'posting      host.demo*.custom.demo.*: {k.readers[0].url("/render?target=host.demo00.custom.demo.*&format=svg&from=-5min")}')
        show.start()
    say('Ctrl-C ends everything')
    stop = threading.Event()
    for s in (signal.SIGINT, signal.SIGTERM):
        signal.signal(s, lambda *_: stop.set())
    while not stop.wait(10):
        if show:
            say(f'{show.acked} points acknowledged, {show.refused} refused')
    if show:
        show.stopped.set()
        show.join()
    return 0


def read_back(readers, posting):
    """Complaints of the reader that has most, once waiting does not help any more."""
    until = time.monotonic() + 60
    while True:
        bad = max(([b for c in posting for b in c.verify(r)] for r in readers), key=len)
        if not bad or time.monotonic() > until:
            return bad


def run_once(k, a):
    oldest = int(time.time()) // 60 * 60 - 60 * 86400
    posting = [clients.Client(c.http_port, f'once{i}', random.random(), oldest) for i, c in enumerate(k.ingest * 2)]
    for c in posting:
        c.start()
    kills = [k.kill_writer, k.kill_redis, k.kill_nats] if a.kill else []
    until = time.monotonic() + a.once
    for kill in kills:
        time.sleep(a.once / 10)
        kill()
    time.sleep(max(0, until - time.monotonic()))
    for c in posting:
        c.ended = True
    for c in posting:
        c.join()
    bad = read_back(k.readers, posting)
    points = sum(len(c.acked) for c in posting)
    for b in bad[:10]:
        say(b)
    say(f'{sum(c.posts for c in posting)} posts, {sum(c.refused for c in posting)} of them refused')
    say(f'{points} acknowledged points, {max(points - len(bad), 0)} read back from each of {len(k.readers)} readers')
    return 1 if bad or not points else 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--binary', default=carat.BINARY)
    p.add_argument('--demo', action='store_true', help='post points all the time')
    p.add_argument('--once', nargs='?', type=float, const=20, metavar='SECONDS',
                   help='post so long, read everything back and end: 0 only if all was there')
    p.add_argument('--kill', action='store_true', help='with --once: kill a writer, a Redis master and the NATS leader meanwhile')
    for role in ('ingest', 'writers', 'readers'):
        p.add_argument(f'--{role}', type=int, default=2, choices=range(1, 9), metavar='N')
    a = p.parse_args()
    carat.BINARY = str(Path(a.binary).resolve())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    say('starting PostgreSQL, three NATS servers, six Redis nodes and Carat')
    with Deployment(a) as k:
        k.describe()
        say(f'ready after {time.monotonic() - began:.1f} s')
        return run_once(k, a) if a.once else run_until_stopped(k, a.demo)


if __name__ == '__main__':
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except (AssertionError, carat.Refused, OSError) as e:
        print(f'cluster: {e}', file=sys.stderr)
        sys.exit(1)
