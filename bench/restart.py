"""A start after kill -9: how long until points are taken, and until reads are complete.

The clock starts with the process. Points are taken when a POST of one is answered 200, which says that it is on disk. Reads are
complete when /readyz says so: everything that was acknowledged before the kill is applied again."""
import argparse
import json
import os
import signal
import time
import urllib.error
import urllib.request

import servers


def post(s, t):
    body = json.dumps([{'hostId': 'bench', 'name': 'custom.restart', 'time': t // 60 * 60, 'value': t}]).encode()
    r = urllib.request.Request(s.base + '/api/v0/tsdb', data=body, headers={'Content-Type': 'application/json'})
    try:
        with urllib.request.urlopen(r, timeout=10) as answer:
            return answer.status == 200
    except OSError:
        return False


def ready(s):
    try:
        servers.http_get(s.base + '/readyz', 10)
        return True
    except (OSError, urllib.error.HTTPError):
        return False


def until(condition, began):
    while not condition():
        if time.monotonic() - began > 300:
            raise SystemExit('not after 300 s')
        time.sleep(0.002)
    return time.monotonic() - began


def run(a):
    """(seconds to the first point, to complete reads, bytes of stream, MB resident)"""
    with servers.Carat(a.binary, *a.set) as s:
        servers.generate(a.generator, s, series=a.series, points=a.points)
        s.stop(signal.SIGKILL)
        stream = servers.tree_bytes(os.path.join(s.dir, 'data', 'stream'))
        s.wait_ready = lambda: None
        began = time.monotonic()
        s.start()
        taken = until(lambda: post(s, int(time.time())), began)
        complete = until(lambda: ready(s), began)
        applied = servers.metric(s.metrics(), 'carat_points_applied_total')
        return taken, complete, stream, s.rss_kb() / 1024, applied


def main():
    p = argparse.ArgumentParser(prog='script/bench restart', description=__doc__)
    p.add_argument('--binary', required=True, help=argparse.SUPPRESS)
    p.add_argument('--generator', required=True, help=argparse.SUPPRESS)
    p.add_argument('--series', type=int, default=1000000)
    p.add_argument('--points', type=int, default=10, help='of each series')
    p.add_argument('--runs', type=int, default=3)
    p.add_argument('--set', action='append', default=[], help='a setting for carat')
    a = p.parse_args()
    rows = []
    print(f'{"first point s":>13} {"complete s":>10} {"stream MB":>9} {"applied":>9} {"RSS MB":>7}')
    for _ in range(a.runs):
        taken, complete, stream, rss, applied = run(a)
        rows.append((taken, complete))
        print(f'{taken:13.2f} {complete:10.2f} {stream / 1e6:9.0f} {applied:9.0f} {rss:7.0f}', flush=True)
    for i, what in enumerate(('first point', 'complete')):
        print(f'{what}: median %.2f s, %.2f to %.2f' % servers.spread([r[i] for r in rows]))


main()
