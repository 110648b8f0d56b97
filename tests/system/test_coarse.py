"""Long ranges with maxDataPoints: read from the coarse archives, with the true sums and counts of the points."""
import json
import math
import random
import tempfile
import time
import unittest
import urllib.parse

import carat

RULES = '[all]\npattern = .*\nretentions = 60s:460d,5m:2y,1h:5y,1d:30y\n'
MINUTE, HOUR, DAY = 60, 3600, 86400
UNTIL = int(time.time()) // DAY * DAY
DAYS = 40
FROM = UNTIL - DAYS * DAY
SETTINGS = ('hot.flush_delay=1s', 'hot.flush_round=300ms', 'hot.jitter=0', 'cold.after=20d', 'cold.interval=1s')
HOW = {'average': lambda v: math.fsum(v) / len(v), 'sum': math.fsum, 'min': min, 'max': max, 'last': lambda v: v[-1]}


def make_points(rng):
    """Minutes with holes of every size, so that slots have different counts."""
    points, at = {}, FROM
    while at < UNTIL:
        for t in range(at, min(at + rng.randrange(60, 5 * DAY), UNTIL), MINUTE):
            points[t] = round(rng.gauss(100, 30), 2)
            at = t + MINUTE
        at += rng.choice((1, 7, 130, 1500)) * MINUTE
    return points


class Coarse(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.seed = random.randrange(1 << 30)
        rng = random.Random(cls.seed)
        cls.points = {name: make_points(rng) for name in ('web.a.load', 'web.b.load')}
        cls.rules = tempfile.NamedTemporaryFile('w', suffix='.conf')
        cls.rules.write(RULES)
        cls.rules.flush()
        cls.server = carat.Carat([*SETTINGS, f'retention.schemas={cls.rules.name}'])
        cls.addClassCleanup(cls.server.__exit__)
        cls.server.start()
        cls.server.graphite_send(''.join(f'{name} {v} {t}\n' for name, p in cls.points.items() for t, v in p.items()))
        carat.wait_for('windows in all tiers', lambda: cls.server.metric('carat_hot_windows') == 0 and
                       cls.server.metric('carat_cold_points') > 10000)

    def render(self, target, max_points, **more):
        arguments = [('target', target), ('from', FROM - 1), ('until', UNTIL - 1), ('format', 'json'),
                     ('maxDataPoints', max_points), *more.items()]
        status, body = self.server.get('/render?' + urllib.parse.urlencode(arguments))
        self.assertEqual(status, 200, body)
        return json.loads(body)

    def check(self, name, datapoints, width, how, factor=0):
        points = self.points[name]
        for i, (value, at) in enumerate(datapoints):
            inside = [points[t] for t in range(at, at + width, MINUTE) if t in points]
            enough = inside and len(inside) >= factor * width / MINUTE
            if i == len(datapoints) - 1 and at + width > UNTIL:
                continue
            self.assertEqual(value is not None, bool(enough), f'{name} at {at}, seed {self.seed}')
            if enough:
                self.assertAlmostEqual(value, HOW[how](inside), delta=1e-9 * sum(map(abs, inside)), msg=f'seed {self.seed}')

    def test_points_of_long_ranges_are_put_together_from_true_counts(self):
        for max_points, step in ((1000, 300), (500, HOUR), (100, HOUR), (20, DAY)):
            for how in HOW:
                line = self.render(f"alias(consolidateBy(web.a.load,'{how}'),'x')", max_points, meta=1)[0]
                self.assertEqual({s['step'] for s in line['meta']['spans']}, {step})
                self.assertLessEqual(len(line['datapoints']), max_points)
                self.assertGreater(len(line['datapoints']), max_points / 3)
                width = line['datapoints'][1][1] - line['datapoints'][0][1]
                self.assertEqual(width % step, 0)
                self.check('web.a.load', line['datapoints'], width, how)

    def test_average_is_the_default_and_files_factor_counts_points(self):
        for factor in (0, 0.5, 1):
            for line in self.render('web.*.load', 300, xFilesFactor=factor):
                width = line['datapoints'][1][1] - line['datapoints'][0][1]
                self.check(line['target'], line['datapoints'], width, 'average', factor)

    def test_functions_of_values_get_the_finest(self):
        for target in ('sumSeries(web.*.load)', 'scale(web.a.load,2)', "movingAverage(web.a.load,'1h')",
                       "consolidateBy(web.a.load,'first')", "group(consolidateBy(web.a.load,'max'),web.b.load)"):
            for line in self.render(target, 500, meta=1):
                self.assertEqual({s['step'] for s in line['meta']['spans']}, {MINUTE}, target)

    def test_meta_tells_what_each_answer_was_read_from(self):
        line = self.render('sumSeries(web.*.load)', 500, meta=1)[0]
        self.assertEqual(sum(s['series'] for s in line['meta']['spans']), 2)
        line = self.render('web.a.load', 500, meta=1)[0]
        spans = line['meta']['spans']
        self.assertEqual([(s['step'], s['series']) for s in spans], [(HOUR, 1)])
        self.assertEqual((spans[0]['from'], spans[-1]['until']), (FROM, UNTIL))
        self.assertIn('warm', spans[0]['tiers'])
        self.assertEqual(self.render('web.a.load', 100000, meta=1)[0]['meta']['spans'],
                         [{'from': FROM, 'until': UNTIL, 'step': MINUTE, 'tiers': ['warm', 'cold'], 'series': 1}])
        self.assertNotIn('meta', self.render('web.a.load', 500)[0])
        plain = self.render('web.a.load', 500)[0]
        del line['meta']
        self.assertEqual(line, plain)
        self.assertEqual(self.render("constantLine(5)", 500, meta=1)[0]['meta'], {'spans': []})
