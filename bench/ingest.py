"""Durable ingest of Graphite text over two TCP connections, the load generator on the same machine.

A point counts when the server reports it as in: for Carat after fdatasync and when it can be read."""
import argparse

import servers

SCALES = {'5k': (5000, 1440), '100k': (100000, 60), '1M': (1000000, 10)}


def main():
    p = argparse.ArgumentParser(prog='script/bench ingest', description=__doc__)
    p.add_argument('--binary', required=True, help=argparse.SUPPRESS)
    p.add_argument('--generator', required=True, help=argparse.SUPPRESS)
    p.add_argument('--peer', action='store_true', help='run victoria-metrics on the same load, in turn')
    p.add_argument('--scale', choices=SCALES, action='append', help='default: 100k; may be repeated')
    p.add_argument('--runs', type=int, default=3)
    p.add_argument('--shuffle', type=int, default=0, help='per mille of points sent up to an hour late')
    p.add_argument('--set', action='append', default=[], help='a setting for carat')
    a = p.parse_args()
    print(f'{"scale":6} {"server":17} {"M points/s":>10} {"min":>7} {"max":>7} {"CPU s":>7} {"RSS MB":>7} {"B/series":>9}')
    for scale in a.scale or ['100k']:
        series, points = SCALES[scale]
        makers = [lambda: servers.Carat(a.binary, *a.set)] + ([servers.VictoriaMetrics] if a.peer else [])
        results = {}
        for _ in range(a.runs):
            for make in makers:  # in turn, so that a drifting machine hits both alike
                with make() as s:
                    n, seconds = servers.generate(a.generator, s, series=series, points=points, shuffle=a.shuffle)
                    results.setdefault(s.name, []).append((n / seconds / 1e6, s.cpu_seconds(), s.rss_kb() / 1024))
        for name, rows in results.items():
            mid, low, high = servers.spread([r[0] for r in rows])
            cpu, rss = servers.spread([r[1] for r in rows])[0], servers.spread([r[2] for r in rows])[0]
            print(f'{scale:6} {name:17} {mid:10.2f} {low:7.2f} {high:7.2f} {cpu:7.1f} {rss:7.0f} '
                  f'{rss * 1048576 / series:9.0f}', flush=True)
        if a.peer:
            ratio = servers.spread([r[0] for r in results['carat']])[0] / servers.spread(
                [r[0] for r in results['victoria-metrics']])[0]
            print(f'{scale:6} ratio {ratio:.2f}')


main()
