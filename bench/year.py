"""460 days of one-minute points, read back over a year with maxDataPoints=1000, and whole as JSON: once from warm alone, once
with everything but the last days in cold packs. Each figure is the time of one HTTP request, answer read in full, after a
restart and one request that is not counted."""
import argparse
import http.client
import json
import time
import urllib.parse

import servers

DAY, DAYS = 86400, 460
YEAR = 365 * DAY
READ = 5  # a gauge of two decimals: neither constant nor true doubles
FAST = ('hot.flush_delay=1s', 'hot.flush_round=200ms', 'hot.jitter=0', 'hot.max_unflushed=1s')


class Client:
    """One connection, as a dashboard keeps it."""

    def __init__(self, server):
        self.connection = http.client.HTTPConnection('127.0.0.1', server.http)

    def get(self, **query):
        path = '/render?' + urllib.parse.urlencode({'format': 'json', **query})
        start = time.perf_counter()
        self.connection.request('GET', path)
        answer = self.connection.getresponse()
        body = answer.read()
        took = time.perf_counter() - start
        if answer.status != 200:
            raise SystemExit(f'{path}: {answer.status} {body[:300]}')
        return took * 1000, body


def name(i):
    return f'servers.host-{i // 50:06d}.cpu.{i % 50}.percentage'


def measure(where, server, until, runs):
    client = Client(server)
    ranges = (('a year, maxDataPoints=1000', until - YEAR, {'maxDataPoints': 1000}),
              ('a year, average of every point', until - YEAR, {'maxDataPoints': 1000, 'target': f'scale({name(READ)},1)'}),
              ('30 days, maxDataPoints=1000', until - 30 * DAY, {'maxDataPoints': 1000}),
              ('460 days, every point', until - DAYS * DAY, {}))
    for what, start, more in ranges:
        query = {'target': name(READ), 'from': start, 'until': until, **more}
        _, body = client.get(**query, meta=1)
        line = json.loads(body)[0]
        times = [client.get(**query)[0] for _ in range(runs)]
        steps = {(s['step'], '+'.join(s['tiers'])) for s in line['meta']['spans']}
        points = sum(p[0] is not None for p in line['datapoints'])
        print(f'{where:6} {what:32} {servers.spread(times)[0]:8.2f} {min(times):8.2f} {max(times):8.2f} {points:8} {steps}', flush=True)


def wait(what, condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f'{what}: not after {seconds} s')
        time.sleep(0.1)


def mover_rests(server):
    before = servers.metric(server.metrics(), 'carat_cold_added_parts_total')
    time.sleep(3)
    return servers.metric(server.metrics(), 'carat_cold_added_parts_total') == before


def main():
    p = argparse.ArgumentParser(prog='script/bench year', description=__doc__)
    p.add_argument('--binary', required=True, help=argparse.SUPPRESS)
    p.add_argument('--generator', required=True, help=argparse.SUPPRESS)
    p.add_argument('--series', type=int, default=6, help='series in the store, one of which is read')
    p.add_argument('--runs', type=int, default=30)
    p.add_argument('--set', action='append', default=[], help='a setting for carat')
    a = p.parse_args()
    until = int(time.time()) // 60 * 60
    with servers.Carat(a.binary, *FAST, 'cold.after=1000d', *a.set) as s:
        servers.generate(a.generator, s, series=a.series, points=DAYS * 1440 - 10, start=until - (DAYS * 1440 - 11) * 60)
        wait('everything in warm', lambda: servers.metric(s.metrics(), 'carat_hot_windows') <= a.series)
        s.stop()
        s.start()
        print(f'{"tier":6} {"request":32} {"median ms":>8} {"min":>8} {"max":>8} {"points":>8} step, tiers')
        measure('warm', s, until, a.runs)
        s.stop()
        s.settings = (*FAST, 'cold.after=1d', 'cold.interval=1s', *a.set)
        s.start()
        wait('everything old in cold', lambda: servers.metric(s.metrics(), 'carat_cold_points') > a.series * (DAYS - 12) * 1440)
        wait('the mover is done', lambda: mover_rests(s))
        s.stop()
        s.start()
        measure('cold', s, until, a.runs)


main()
