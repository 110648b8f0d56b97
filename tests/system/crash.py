"""Kills the server at random moments while clients post, and reads back every acknowledged point.

A client owns a host and posts in order, so for each slot it knows which value must be there: the last
acknowledged one, or one of those sent after it whose answer never came. Anything else is lost, stale or invented.

usage: crash.py --binary build/carat [--crashes N] [--clients N] [--seed N] [--count FILE]"""
import argparse
import http.client
import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

SERIES = 8        # of a client
POINTS = 16       # of a post
APPLY_S = 10      # a point is readable so long after its answer at the latest
OVERWRITES = 0.25  # share of points that go to a slot written before
# Small bounds, so that a run of a minute rolls segments, flushes windows and trims the stream.
SETTINGS = ('stream.segment_size=1M', 'stream.keep=1s', 'stream.tail=256K', 'hot.flush_delay=1s', 'hot.max_unflushed=5s',
            'hot.flush_round=500ms', 'stream.checkpoint_interval=500ms')


class Client(threading.Thread):
    """Posts until told to stop; holds still, with no post under way, while paused."""

    def __init__(self, port, number, seed, oldest):
        super().__init__(daemon=True)
        self.port, self.host, self.oldest = port, f'crash{number}', oldest
        self.random = random.Random(seed)
        self.sent = 0        # also the next unique value
        self.next_slot = [0] * SERIES
        self.acked = {}      # (series, slot) -> value
        self.unsure = {}     # (series, slot) -> values sent after that, without an answer
        self.posts = self.refused = 0
        self.posting = threading.Lock()
        self.ended = False
        self.connection = None

    def pick(self):
        """A series and a slot number: mostly the next one, sometimes an earlier one again."""
        series = self.random.randrange(SERIES)
        if self.next_slot[series] and self.random.random() < OVERWRITES:
            return series, self.random.randrange(self.next_slot[series])
        self.next_slot[series] += 1
        return series, self.next_slot[series] - 1

    def post_once(self):
        points = {}
        for _ in range(POINTS):
            self.sent += 1
            points[self.pick()] = self.sent
        body = json.dumps([{'hostId': self.host, 'name': f'custom.s{s}', 'time': self.time_of(k), 'value': v}
                           for (s, k), v in points.items()])
        status = self.exchange(body)
        self.posts += 1
        if status == 200:
            self.acked.update(points)
            for key in points:
                self.unsure.pop(key, None)
        else:
            self.refused += status is not None
            for key, value in points.items():
                self.unsure.setdefault(key, []).append(value)
        return status == 200

    def exchange(self, body):
        """The status; None if there was no answer."""
        try:
            if not self.connection:
                self.connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=30)
            self.connection.request('POST', '/api/v0/tsdb', body, {'Content-Type': 'application/json'})
            answer = self.connection.getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException):
            self.connection.close()
            self.connection = None
            return None

    def time_of(self, slot):
        return self.oldest + 60 * slot

    def run(self):
        while not self.ended:
            with self.posting:
                good = self.post_once()
            time.sleep(0.0005 if good else 0.05)

    # --- what must be there

    def compare(self, server):
        """Reads everything of this client: what was seen, and a list of complaints."""
        until = self.time_of(max(self.next_slot)) + 60
        got = server.render(f'host.{self.host}.custom.*', self.oldest - 60, until)
        seen = {(int(name.rsplit('.s', 1)[1]), (t - self.oldest) // 60): v for name, points in got.items()
                for t, v in points.items()}
        bad = []
        for key in self.acked.keys() | self.unsure.keys() | seen.keys():
            allowed = ([self.acked[key]] if key in self.acked else [None]) + self.unsure.get(key, [])
            if seen.get(key) not in allowed:
                bad.append(f'{self.host} series {key[0]} slot {key[1]}: read {seen.get(key)}, allowed {allowed}')
        return seen, bad

    def verify(self, server):
        """A list of complaints that stay. The last points before the pause may need a moment to be applied."""
        until = time.monotonic() + APPLY_S
        seen, bad = self.compare(server)
        while bad and time.monotonic() < until:
            time.sleep(0.1)
            seen, bad = self.compare(server)
        # What was read once must not change again: an unsure slot is settled from here on.
        for key in self.unsure:
            if seen.get(key) is not None:
                self.acked[key] = seen[key]
        self.unsure.clear()
        return bad


def known_settings(carat):
    """Those of SETTINGS whose key this build has."""
    text = subprocess.run([carat.BINARY, 'serve', '-c', '/dev/null', '--print-config'], capture_output=True, text=True,
                          check=True).stdout
    keys, section = set(), ''
    for line in text.splitlines():
        if line.startswith('['):
            section = line.strip('[]')
        elif '=' in line and not line.startswith(';'):
            keys.add(f'{section}.{line.split("=")[0].strip()}')
    return [s for s in SETTINGS if s.split('=')[0] in keys]


def crash(server, rng):
    """Kill at a random moment; now and then again while it recovers."""
    time.sleep(rng.uniform(0.1, 2.0))
    server.kill9()
    kills = 1
    while rng.random() < 0.25:
        server.spawn()
        time.sleep(rng.uniform(0, 0.5))
        server.kill9()
        kills += 1
    server.start()
    return kills


def campaign(carat, a):
    """(crashes survived, complaints)"""
    rng = random.Random(a.seed)
    oldest = int(time.time()) // 60 * 60 - 300 * 86400
    kills = 0
    with carat.Carat(known_settings(carat)) as server:
        clients = [Client(server.http_port, i, rng.random(), oldest) for i in range(a.clients)]
        for c in clients:
            c.start()
        while kills < a.crashes:
            kills += crash(server, rng)
            for c in clients:
                c.posting.acquire()
            bad = [b for c in clients for b in c.verify(server)]
            points = sum(len(c.acked) for c in clients)
            print(f'after {kills} kills: {points} slots acknowledged, {len(bad)} wrong', flush=True)
            if bad:
                return kills, bad
            for c in clients:
                c.posting.release()
        for c in clients:
            c.ended = True
        for c in clients:
            c.join()
        server.restart()
        bad = [b for c in clients for b in c.verify(server)]
        print(f'{sum(c.posts for c in clients)} posts, {sum(c.refused for c in clients)} refused, after a clean restart '
              f'{len(bad)} wrong')
        if not all(c.acked for c in clients):
            bad.append('a client never had a post acknowledged')
    return kills, bad


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--binary', required=True)
    p.add_argument('--crashes', type=int, default=15)
    p.add_argument('--clients', type=int, default=4)
    p.add_argument('--seed', type=int, default=int.from_bytes(os.urandom(4), 'little'))
    p.add_argument('--count')
    a = p.parse_args()
    os.environ['CARAT_BINARY'] = str(Path(a.binary).resolve())
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    import carat
    print(f'seed {a.seed}')
    try:
        kills, bad = campaign(carat, a)
    except (AssertionError, carat.Refused, OSError) as e:
        kills, bad = 0, [f'{type(e).__name__}: {e}']
    print('\n'.join(bad[:20]))
    if a.count:
        Path(a.count).write_text(f'{0 if bad else kills} {1 if bad else 0}\n')
    print(f'{0 if bad else kills} passed, {1 if bad else 0} failed')
    return 1 if bad else 0


sys.exit(main())
