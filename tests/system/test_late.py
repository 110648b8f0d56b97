"""What agents send after an outage: hours of points, newest and oldest mixed, some of it twice, beside the usual traffic."""
import json
import math
import random
import tempfile
import threading
import time
import unittest
import urllib.parse

import carat

RULES = '[all]\npattern = .*\nretentions = 60s:460d,5m:2y,1h:5y,1d:30y\n'
MINUTE, HOUR, DAY = 60, 3600, 86400
OUTAGE = 6 * 60  # minutes
BESIDE = 2 * 60  # minutes of usual traffic while it is sent
HOSTS, METRICS = 6, 5
CUT_OFF = 4      # of the hosts
SETTINGS = ('hot.flush_delay=0s', 'hot.flush_round=100ms', 'hot.jitter=0', 'stream.checkpoint_interval=1s', 'cold.after=1d',
            'cold.interval=500ms', 'query.coarse_from=10')
HOW = {'average': lambda v: math.fsum(v) / len(v), 'sum': math.fsum, 'min': min, 'max': max, 'last': lambda v: v[-1]}


class Agents:
    """Sends points and knows what must be read: the value of the last acknowledged request that had the slot."""

    def __init__(self, server, seed):
        self.server, self.random, self.points = server, random.Random(seed), {}

    def send(self, host, minutes):
        """All metrics of a host for these minutes in one request, which has to be acknowledged."""
        points = [(f'custom.m{m}', t, self.value(host, m, t)) for t in minutes for m in range(METRICS)]
        status = self.server.post_points(f'h{host}', points)
        assert status == 200, status
        for name, t, v in points:
            self.points.setdefault(f'host.h{host}.{name}', {})[t] = v

    def value(self, host, metric, t):
        """Quarters, so that sums are exact whatever their order."""
        return (hash((host, metric, t)) % 4000) / 4


class Late(unittest.TestCase):
    def setUp(self):
        self.seed = random.randrange(1 << 30)
        self.rules = tempfile.NamedTemporaryFile('w', suffix='.conf')
        self.rules.write(RULES)
        self.rules.flush()
        self.addCleanup(self.rules.close)

    def backlog(self, agents, begin):
        """Pieces of one to ten minutes of a host, in any order, an eighth of them once more somewhere later."""
        pieces = []
        for host in range(CUT_OFF):
            minutes = [begin + MINUTE * i for i in range(OUTAGE)]
            while minutes:
                n = agents.random.randint(1, 10)
                pieces.append((host, minutes[:n]))
                minutes = minutes[n:]
        pieces += [p for p in pieces if agents.random.randrange(8) == 0]
        agents.random.shuffle(pieces)
        return pieces

    def check(self, server, agents, begin, end):
        """Every point, and every slot of the coarse archives by every aggregation."""
        for name, points in agents.points.items():
            self.assertEqual(server.render(name, begin - 1, end - 1), {name: points}, f'{name}, seed {self.seed}')
            for step in (5 * MINUTE, HOUR):
                for how, f in HOW.items():
                    self.check_archive(server, name, points, step, how, f, begin, end)

    def check_archive(self, server, name, points, step, how, f, begin, end):
        query = [('target', f"alias(consolidateBy({name},'{how}'),'x')"), ('from', begin - 1), ('until', end - 1),
                 ('format', 'json'), ('meta', 1), ('maxDataPoints', (end - begin) // step), ('noCache', 1)]
        status, body = server.get('/render?' + urllib.parse.urlencode(query))
        self.assertEqual(status, 200, body)
        line = json.loads(body)[0]
        self.assertEqual({s['step'] for s in line['meta']['spans']}, {step})
        want = {}
        for t, v in sorted(points.items()):
            want.setdefault(t // step * step, []).append(v)
        self.assertEqual({t: v for v, t in line['datapoints'] if v is not None}, {t: f(v) for t, v in want.items()},
                         f'{name}, {step} s, {how}, seed {self.seed}')

    def test_an_outage_replayed_beside_the_usual_traffic(self):
        now = int(time.time()) // DAY * DAY - DAY  # the end of the outage; older windows than today's are flushed at once
        begin, end = now - OUTAGE * MINUTE, now + BESIDE * MINUTE
        with carat.Carat([*SETTINGS, f'retention.schemas={self.rules.name}']) as c:
            agents = Agents(c, self.seed)
            for host in range(CUT_OFF, HOSTS):
                agents.send(host, [begin + MINUTE * i for i in range(OUTAGE)])
            backlog = self.backlog(agents, begin)
            failed = []

            def usual():
                try:
                    for i in range(BESIDE):
                        for host in range(HOSTS):
                            agents.send(host, [now + MINUTE * i])
                        newest = f'host.h{agents.random.randrange(HOSTS)}.custom.m0'
                        t = now + MINUTE * i
                        carat.wait_for('a new point', lambda: c.value_at(newest, t) == agents.points[newest][t])
                except Exception as e:
                    failed.append(e)

            traffic = threading.Thread(target=usual)
            traffic.start()
            for piece in backlog:
                agents.send(*piece)
            traffic.join()
            self.assertEqual(failed, [])
            self.check(c, agents, begin, end)  # whatever is in which tier by now
            carat.wait_for('windows to leave hot', lambda: c.metric('carat_hot_windows') == 0)
            self.check(c, agents, begin, end)
            c.kill9()
            c.start()
            self.check(c, agents, begin, end)
            self.assertEqual(c.metric('carat_points_rejected_total') or 0, 0)
