"""Durable ingest while old data moves from warm to cold and small packs are merged, and without.

Weeks of old points are stored first. Then the same new points are taken as fast as they come, on copies of that data
directory: one whose mover has nothing to do, and one whose mover has all the old points to move. A run counts if the mover
was at work from its beginning to its end."""
import argparse
import os
import shutil
import subprocess
import threading
import time

import servers

OLD_DAYS, OLD_SERIES = 90, 700
NEVER = ('cold.after=10000d',)
MOVING = ('cold.after=1d',)


def wait_for(what, condition, seconds=600):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f'waited {seconds} s for {what}')
        time.sleep(0.2)


def fill(a):
    """A data directory with the old points in warm."""
    s = servers.Carat(a.binary, *NEVER, 'hot.flush_delay=0s', 'hot.jitter=0')
    s.start()
    start = int(time.time()) // 60 * 60 - (a.days + 5) * 86400
    servers.generate(a.generator, s, series=a.series, points=a.days * 1440, start=start, prefix='old')
    wait_for('an empty hot tier', lambda: servers.metric(s.metrics(), 'carat_hot_windows') == 0)
    s.stop()
    s.log.close()
    return s.dir


class Watch(threading.Thread):
    """What the mover does meanwhile; counts the looks at which it was not at work."""

    def __init__(self, s):
        super().__init__(daemon=True)
        self.s, self.looks, self.idle, self.ended = s, 0, 0, threading.Event()

    def run(self):
        while not self.ended.wait(0.25):
            self.looks += 1
            self.idle += not servers.metric(self.s.metrics(), 'carat_mover_busy')


def measure(a, filled, settings):
    """(points a second, seconds, bytes moved, bytes merged, share of the time the mover was idle, CPU seconds)"""
    s = servers.Carat(a.binary, *settings, *a.set)
    shutil.copytree(os.path.join(filled, 'data'), os.path.join(s.dir, 'data'))
    subprocess.run(['sync', '-f', s.dir], check=True)
    with s:
        before = s.metrics()
        watch = Watch(s)
        watch.start()
        cpu = s.cpu_seconds()
        n, seconds = servers.generate(a.generator, s, series=a.new_series, points=a.new_points,
                                      start=int(time.time()) // 60 * 60 - a.new_points * 60)
        cpu = s.cpu_seconds() - cpu
        watch.ended.set()
        after = s.metrics()
        watch.join()
        grown = [servers.metric(after, m) - servers.metric(before, m)
                 for m in ('carat_mover_moved_bytes_total', 'carat_cold_compacted_bytes_total')]
        return n / seconds, seconds, *grown, watch.idle / max(1, watch.looks), cpu


def main():
    p = argparse.ArgumentParser(prog='script/bench move', description=__doc__)
    p.add_argument('--binary', required=True, help=argparse.SUPPRESS)
    p.add_argument('--generator', required=True, help=argparse.SUPPRESS)
    p.add_argument('--runs', type=int, default=5)
    p.add_argument('--days', type=int, default=OLD_DAYS, help='of old points, a minute each')
    p.add_argument('--series', type=int, default=OLD_SERIES, help='that have them')
    p.add_argument('--new-series', type=int, default=100000)
    p.add_argument('--new-points', type=int, default=120)
    p.add_argument('--filled', metavar='DIR', help='keep the old points here, and find them here the next time')
    p.add_argument('--set', action='append', default=[], help='a setting for both')
    a = p.parse_args()
    filled = a.filled if a.filled and os.path.exists(a.filled) else fill(a)
    if a.filled and filled != a.filled:
        filled = shutil.move(filled, a.filled)
    rates = {'without': [], 'moving': []}
    print(f'{"":8} {"M points/s":>10} {"seconds":>8} {"moved MB":>9} {"merged MB":>9} {"idle":>6} {"CPU s":>6}')
    try:
        for _ in range(a.runs):
            for name, settings in (('without', NEVER), ('moving', MOVING)):  # in turn: the machine drifts
                rate, seconds, moved, merged, idle, cpu = measure(a, filled, settings)
                rates[name].append(rate / 1e6)
                print(f'{name:8} {rate / 1e6:10.2f} {seconds:8.2f} {moved / 1e6:9.1f} {merged / 1e6:9.1f} {idle:6.0%} {cpu:6.1f}',
                      flush=True)
                if name == 'moving' and idle > 0.1:
                    print('         the mover was done before the points were in: give it more to move (--days)')
    finally:
        if not a.filled:
            shutil.rmtree(filled, ignore_errors=True)
    for name, values in rates.items():
        print(f'{name:8} {"median":>6} %.2f, %.2f to %.2f' % servers.spread(values))
    print(f'ratio {servers.spread(rates["moving"])[0] / servers.spread(rates["without"])[0]:.2f}')


main()
