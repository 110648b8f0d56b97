"""Points of many kinds for comparing with graphite-web, made from a seed: gaps, late starters, counters that wrap, negatives, tiny
and huge values, tags, odd names, two steps."""
import gzip
import random

HOURS = 36


def _walk(r, n, start, width, digits=2):
    v, out = start, []
    for _ in range(n):
        v += r.uniform(-width, width)
        out.append(round(v, digits))
    return out


def make(begin, seed=1):
    """{name: (step in seconds, [(time, value)])} for 36 hours from `begin`."""
    r = random.Random(seed)
    n, slow = HOURS * 60, HOURS * 12
    series = {}

    def add(name, values, step=60, lost=0.0, first=0):
        series[name] = (step, [(begin + i * step, float(v)) for i, v in enumerate(values) if i >= first and r.random() >= lost])

    for host in ('web-01', 'web-02', 'web-03', 'db-01'):
        for what, level in (('user', 35), ('system', 9), ('idle', 55)):
            add(f'servers.{host}.cpu.{what}', _walk(r, n, level, 2), lost=0.15 if (host, what) == ('web-03', 'user') else 0)
        add(f'servers.{host}.mem.used', [round(v) for v in _walk(r, n, 4e9, 3e7)])
        add(f'servers.{host}.mem.total', [8e9] * n)
    for disk in ('vda', 'vdb'):
        for way in ('reads', 'writes'):
            add(f'servers.db-01.disk.{disk}.{way}', [abs(round(v)) for v in _walk(r, n, 200, 15)])
    for room, lost, first in (('room1', 0.25, 0), ('room2', 0.03, 0), ('room3', 0.35, 0), ('cellar', 0, 1400), ('outside', 0, 0)):
        add(f'gauges.temp.{room}', _walk(r, n, 20, 0.4), lost=lost, first=first)
    add('gauges.queue.depth', [abs(round(v)) for v in _walk(r, n, 9, 2)])
    for name, rate, lost in (('api.requests', 40, 0), ('api.errors', 1, 0.1), ('api.bytes', 50000, 0), ('net.wrap32', 30000000, 0)):
        v, values = 0, []
        for i in range(n):
            v = 0 if name == 'api.errors' and i % 700 == 699 else (v + r.randrange(rate + 1)) % 2 ** 32
            values.append(v)
        add('counters.' + name, values, lost=lost)
    add('edge.zero', [0] * n)
    add('edge.const', [42] * n)
    add('edge.neg', _walk(r, n, -5, 0.5))
    add('edge.alt', [1 if i % 2 else -1 for i in range(n)])
    add('edge.bool', [r.randrange(2) for _ in range(n)])
    add('edge.ramp', range(n))
    add('edge.square', [100 if i // 30 % 2 else 0 for i in range(n)])
    add('edge.unit', [round(r.random(), 4) for _ in range(n)])
    add('edge.small', [r.random() * 1e-9 for _ in range(n)])
    add('edge.large', [r.random() * 1e18 for _ in range(n)])
    add('edge.sparse', [r.randrange(20) for _ in range(n)], lost=0.94)
    series['edge.single'] = (60, [(begin + 43800, 7.0)])
    for i in (1, 2, 10, 11):
        add(f'nat.s{i}.v', [i + k % 7 for k in range(n)])
    for name in ('10.20', 'UPPER.v', 'colon:x.v', 'eq=1.v', 'paren(1).v', 'pct%.v', 'with_under-dash.v'):
        add('odd.' + name, _walk(r, n, 10, 0.1, 1))
    for name, lost in (('a.load', 0), ('a.temp', 0.2), ('b.count', 0), ('b.load', 0), ('c.load', 0)):
        add('slow.' + name, [abs(v) for v in _walk(r, slow, 3, 0.2)], step=300, lost=lost)
    for dc in ('paris', 'tokyo'):
        for host in 'abc':
            add(f'cpu.load;dc={dc};host={host}', _walk(r, n, 1, 0.05, 3), lost=0.3 if (dc, host) == ('paris', 'c') else 0)
    for disk in ('vda', 'vdb'):
        for host in 'ab':
            add(f'disk.used;disk={disk};host={host};mount=/data.{disk}', [round(v) for v in _walk(r, n, 970000, 5000)])
    for code, env in ((200, 'dev-1'), (200, 'prod'), (404, 'prod'), (500, 'prod')):
        add(f'http.requests;code={code};env={env}', [abs(round(v)) for v in _walk(r, n, 5000, 60)])
    add('lonely;only=one', _walk(r, n, 3, 0.2))
    return series


def load(path):
    """The same from lines "name value time", gzip or plain; slow.* has a step of 300 s, everything else 60 s."""
    series = {}
    with (gzip.open if path.endswith('.gz') else open)(path, 'rt', encoding='utf-8') as f:
        for line in f:
            name, value, at = line.rsplit(' ', 2)
            series.setdefault(name, (300 if name.startswith('slow.') else 60, []))[1].append((int(at), float(value)))
    return series


def begin_of(series):
    return min(points[0][0] for _, points in series.values())


def lines(series):
    return ''.join(f'{name} {v!r} {t}\n' for name, (_, points) in series.items() for t, v in points)
