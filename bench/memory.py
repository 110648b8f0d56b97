"""Memory of a server that takes points of many series: resident, and of that the part that is not files (RssAnon)."""
import argparse
import re

import servers


def rss(s, field):
    with open(f'/proc/{s.process.pid}/status') as f:
        return int(re.search(rf'{field}:\s+(\d+)', f.read()).group(1)) * 1024


def main():
    p = argparse.ArgumentParser(prog='script/bench memory', description=__doc__)
    p.add_argument('--binary', required=True, help=argparse.SUPPRESS)
    p.add_argument('--generator', required=True, help=argparse.SUPPRESS)
    p.add_argument('--series', type=int, action='append', help='default: 1000, 100000, 1000000')
    p.add_argument('--points', type=int, action='append', help='of each series, one figure after the other; default: 10, 60')
    p.add_argument('--set', action='append', default=[], help='a setting for carat')
    a = p.parse_args()
    print(f'{"series":>8} {"points":>6} {"RSS MB":>7} {"anon MB":>7} {"hot MB":>7} {"catalog MB":>10} {"B/series":>8}')
    for series in a.series or [1000, 100000, 1000000]:
        with servers.Carat(a.binary, *a.set) as s:
            start = 1800000000 // 14400 * 14400 - 14400 * 400  # of a window
            given = 0
            for points in a.points or [10, 60]:
                servers.generate(a.generator, s, series=series, points=points - given, start=start + 60 * given)
                given = points
                text = s.metrics()
                mb = [x / 1048576 for x in (rss(s, 'VmRSS'), rss(s, 'RssAnon'), servers.metric(text, 'carat_hot_bytes'),
                                            servers.metric(text, 'carat_catalog_memory_bytes'))]
                print(f'{series:8} {points:6} {mb[0]:7.0f} {mb[1]:7.0f} {mb[2]:7.0f} {mb[3]:10.0f} {mb[0] * 1048576 / series:8.0f}',
                      flush=True)


main()
