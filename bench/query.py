"""Reading back: one day of one-minute points of 5,000 series, everything flushed to disk and the server restarted before
it is asked. Each figure is the time of one HTTP request, answer read in full."""
import argparse
import json
import random
import re
import time
import urllib.parse

import servers

SERIES, POINTS = 5000, 1440


def name(i):
    return f'servers.host-{i // 50:06d}.cpu.{i % 50}.percentage'


class CaratQueries:
    """Graphite's render API."""

    def __init__(self, s, until):
        self.s, self.until = s, until

    def url(self, target, **more):
        q = {'target': target, 'from': self.until - POINTS * 60, 'until': self.until, 'format': 'json', **more}
        return f'{self.s.base}/render?' + urllib.parse.urlencode(q)

    def one(self, i):
        return self.url(name(i))

    def many(self):
        return self.url('servers.host-00000[0-9].cpu.*.percentage')

    def mean(self):
        return self.url('averageSeries(servers.*.cpu.*.percentage)')

    def sum(self):
        return self.url('sumSeries(servers.*.cpu.*.percentage)')

    def points(self, body):
        return sum(p[0] is not None for line in json.loads(body) for p in line['datapoints'])


class VictoriaQueries(CaratQueries):
    """The Prometheus range query, which is what victoria-metrics is made for."""

    def url(self, query, **more):
        q = {'query': query, 'start': self.until - (POINTS - 1) * 60, 'end': self.until, 'step': '60', 'nocache': '1'}
        return f'{self.s.base}/api/v1/query_range?' + urllib.parse.urlencode(q)

    def one(self, i):
        return self.url('{__name__="%s"}' % name(i))

    def many(self):
        return self.url('{__name__=~"servers[.]host-00000[0-9][.]cpu[.].*"}')

    def mean(self):
        return self.url('avg({__name__=~"servers[.].*"})')

    def sum(self):
        return self.url('sum({__name__=~"servers[.].*"})')

    def points(self, body):
        return sum(len(line['values']) for line in json.loads(body)['data']['result'])


def timed(url):
    start = time.perf_counter()
    body = servers.http_get(url)
    return time.perf_counter() - start, body


def measure(q, runs):
    rng = random.Random(7)
    rows = {}
    for what, make, count in (('1 series x 1,440', lambda: q.one(rng.randrange(SERIES)), 100 * runs),
                              ('500 series x 1,440', q.many, 5 * runs), ('mean of 5,000 x 1,440', q.mean, 3 * runs),
                              ('sum of 5,000 x 1,440', q.sum, 3 * runs)):
        times = []
        for _ in range(count):
            t, body = timed(make())
            times.append(t * 1000)
        rows[what] = (*servers.spread(times), q.points(body))
    return rows


def histogram_mean_ms(text, metric_name):
    n = servers.metric(text, metric_name + '_count')
    return servers.metric(text, metric_name + '_sum') / n * 1000 if n else 0


def main():
    p = argparse.ArgumentParser(prog='script/bench query', description=__doc__)
    p.add_argument('--binary', required=True, help=argparse.SUPPRESS)
    p.add_argument('--generator', required=True, help=argparse.SUPPRESS)
    p.add_argument('--peer', action='store_true', help='run victoria-metrics on the same data')
    p.add_argument('--runs', type=int, default=3)
    p.add_argument('--set', action='append', default=[], help='a setting for carat')
    a = p.parse_args()
    until = int(time.time()) // 60 * 60
    makers = [(lambda: servers.Carat(a.binary, *a.set), CaratQueries)]
    if a.peer:
        makers.append((servers.VictoriaMetrics, VictoriaQueries))
    print(f'{"server":17} {"query":22} {"median ms":>10} {"min":>8} {"max":>8} {"points":>9}')
    for make, queries in makers:
        with make() as s:
            servers.generate(a.generator, s, series=SERIES, points=POINTS, start=until - (POINTS - 1) * 60)
            s.settle()
            s.stop()
            s.start()
            s.settle()
            for what, (mid, low, high, points) in measure(queries(s, until), a.runs).items():
                print(f'{s.name:17} {what:22} {mid:10.2f} {low:8.2f} {high:8.2f} {points:9}', flush=True)
            if s.name == 'carat':
                print(f'{"":17} inside the server: a query {histogram_mean_ms(s.metrics(), "carat_query_duration_seconds"):.3f} ms, '
                      f'a series read {histogram_mean_ms(s.metrics(), "carat_reader_fetch_seconds"):.4f} ms (means)')
            size = s.disk_bytes()
            print(f'{s.name:17} {size / SERIES / POINTS:.3f} bytes a point on disk ({size / 1e6:.1f} MB)')


main()
