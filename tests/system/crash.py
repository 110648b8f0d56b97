"""Kills the server at random moments while clients post, and reads back every acknowledged point.

clients.py tells what is compared.

usage: crash.py --binary build/carat [--crashes N] [--clients N] [--seed N] [--count FILE]"""
import argparse
import os
import random
import subprocess
import sys
import time
from pathlib import Path

from clients import Client

# Small bounds, so that a run of a minute rolls segments, flushes windows and trims the stream.
SETTINGS = ('stream.segment_size=1M', 'stream.keep=1s', 'stream.tail=256K', 'hot.flush_delay=1s', 'hot.max_unflushed=5s',
            'hot.flush_round=500ms', 'stream.checkpoint_interval=500ms')


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
        clients = [Client(server.http_port, f'crash{i}', rng.random(), oldest) for i in range(a.clients)]
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


if __name__ == '__main__':
    sys.exit(main())
