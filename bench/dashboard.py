"""A dashboard: 20 panels over the last six hours of 10,000 series (200 hosts of 50), points still coming in. Each figure is the time
of all 20 requests, one after the other on one connection that stays open, answers read in full."""
import argparse
import http.client
import json
import time
import urllib.parse

import servers

SERIES, POINTS = 10000, 360
HOST = 'servers.host-000042.cpu'
FLEET = 'servers.*.cpu.7.percentage'
ROW = 'servers.host-00004[0-9].cpu.3.percentage'
# A host's page, a row of hosts, and the fleet: what people have on their walls (aliases, rates, tops, sums, comparisons with before).
PANELS = [
    f'{HOST}.0.percentage',
    f'aliasByNode({HOST}.[0-9].percentage,3)',
    f'alias(sumSeries({HOST}.*.percentage),"sum")',
    f'alias(averageSeries({HOST}.*.percentage),"mean")',
    f'movingAverage({HOST}.1.percentage,10)',
    f'perSecond({HOST}.2.percentage)',
    f'scale(nonNegativeDerivative({HOST}.3.percentage),60)',
    f'summarize({HOST}.4.percentage,"10min","avg")',
    f'timeShift({HOST}.5.percentage,"1h")',
    f'asPercent({HOST}.6.percentage,{HOST}.7.percentage)',
    f'keepLastValue({HOST}.8.percentage)',
    f'aliasByNode(highestAverage({HOST}.*.percentage,5),3)',
    f'aliasByNode({ROW},1)',
    f'groupByNode(servers.host-00004[0-9].cpu.[0-4].percentage,1,"average")',
    f'alias(maxSeries({ROW}),"max")',
    f'aliasByNode(currentAbove({ROW},50),1)',
    f'sumSeries({FLEET})',
    f'averageSeries({FLEET})',
    f'aliasByNode(highestCurrent({FLEET},10),1)',
    f'percentileOfSeries({FLEET},95)',
]


def load(connection, paths):
    """Seconds and points of all panels."""
    points = 0
    begun = time.perf_counter()
    bodies = []
    for path in paths:
        connection.request('GET', path)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise SystemExit(f'{path}: {answer.status} {body[:300]}')
        bodies.append(body)
    seconds = time.perf_counter() - begun
    for body in bodies:
        points += sum(p[0] is not None for line in json.loads(body) for p in line['datapoints'])
    return seconds, points


def main():
    p = argparse.ArgumentParser(prog='script/bench dashboard', description=__doc__)
    p.add_argument('--binary', required=True, help=argparse.SUPPRESS)
    p.add_argument('--generator', required=True, help=argparse.SUPPRESS)
    p.add_argument('--runs', type=int, default=30)
    p.add_argument('--panels', action='store_true', help='the time of each panel, too')
    p.add_argument('--set', action='append', default=[], help='a setting for carat')
    a = p.parse_args()
    until = int(time.time()) // 60 * 60
    with servers.Carat(a.binary, *a.set) as s:
        servers.generate(a.generator, s, series=SERIES, points=POINTS, start=until - (POINTS - 1) * 60)
        s.settle()
        connection = http.client.HTTPConnection('127.0.0.1', s.http)
        form = {'from': until - POINTS * 60, 'until': until, 'format': 'json', 'maxDataPoints': 1000}
        paths = ['/render?' + urllib.parse.urlencode({'target': panel, **form}) for panel in PANELS]
        first, points = load(connection, paths)
        print(f'first      {first * 1000:8.1f} ms, {points} points')
        times = [load(connection, paths)[0] * 1000 for _ in range(a.runs)]
        print('again      %8.1f ms median, %.1f to %.1f, %d times' % (*servers.spread(times), a.runs))
        if a.panels:
            for panel, path in zip(PANELS, paths):
                times = [load(connection, [path])[0] * 1000 for _ in range(a.runs)]
                print('%8.2f ms %s' % (servers.spread(times)[0], panel))


main()
