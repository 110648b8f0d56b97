"""Changed retention rules: check says what would change, apply changes stored data, and nothing read is ever wrong."""
import json
import os
import random
import signal
import subprocess
import time
import unittest

import carat

MINUTE, HOUR, DAY = 60, 3600, 86400
NOW = int(time.time()) // DAY * DAY  # points end at midnight, so that slots of all steps are whole
SPAN = 4 * DAY
OLD = 14 * DAY  # a day of points back there: whatever the date, it lies in a group of windows that moves to cold
SETTINGS = ('hot.flush_delay=1s', 'hot.flush_round=200ms', 'stream.checkpoint_interval=500ms', 'cold.after=1d', 'cold.interval=500ms',
            'disk.min_free=0')
BEFORE = '[web]\npattern = ^web\\.\nretentions = 60s:460d, 5m:2y, 1h:5y\n'
AFTER = '[web]\npattern = ^web\\.\nretentions = 60s:2d, 10m:2y, 1h:5y\n'


def cli(c, *arguments):
    r = subprocess.run([carat.BINARY, *arguments, '--url', c.url('')], capture_output=True, text=True, timeout=120)
    return r.returncode, r.stdout, r.stderr


def value(name, t):
    return (t // MINUTE * 7 + name * 13) % 101


def average(name, t, step):
    return sum(value(name, t + k) for k in range(0, step, MINUTE)) / (step // MINUTE)


class Rules:
    """A server with a schemas file of its own and five days of points of a few series, in warm and cold."""

    def __init__(self, text, names=3):
        self.names = names
        self.server = carat.Carat(SETTINGS)
        self.path = os.path.join(self.server.dir, 'storage-schemas.conf')
        self.server.settings.append(f'retention.schemas={self.path}')
        self.write(text)

    def __enter__(self):
        self.server.__enter__()
        return self

    def __exit__(self, *exc):
        self.server.__exit__(*exc)

    def write(self, text):
        with open(self.path, 'w', encoding='utf-8') as f:
            f.write(text)

    def fill(self):
        for i in range(self.names):
            times = [*range(NOW - OLD, NOW - OLD + DAY, MINUTE), *range(NOW - SPAN, NOW, MINUTE)]
            lines = [f'web.n{i} {value(i, t)} {t}\n' for t in times]
            self.server.graphite_send(''.join(lines))
        last = f'web.n{self.names - 1}'
        carat.wait_for('the last point', lambda: self.server.value_at(last, NOW - MINUTE) is not None)
        # All windows are over: when hot is empty everything is in warm or cold, roll-ups too.
        carat.wait_for('the windows to leave hot', lambda: self.server.metric('carat_hot_windows') == 0, 60)
        carat.wait_for('windows to move to cold', lambda: self.server.metric('carat_mover_moved_parts_total') > 0, 60)

    def state(self):
        return json.loads(self.server.get('/api/v1/retention')[1])['state']

    def check(self):
        code, out, err = cli(self.server, 'retention', 'check', '--json')
        assert code == 0, err
        return json.loads(out)

    def read(self, since, until):
        return self.server.render('web.*', since - 1, until - 1)


def wrong_after(r):
    """Complaints about what is read under AFTER."""
    bad = []
    for since, until in ((NOW - OLD, NOW - OLD + DAY), (NOW - SPAN + HOUR, NOW - 2 * DAY)):  # 60 s points are not kept so long
        got = r.read(since, until)
        for i in range(r.names):
            want = {t: average(i, t, 10 * MINUTE) for t in range(since, until, 10 * MINUTE)}
            have = got.get(f'web.n{i}', {})
            bad += [(i, t, want.get(t), have.get(t)) for t in want.keys() | have.keys()
                    if t not in want or t not in have or abs(want[t] - have[t]) > 1e-9]
    got = r.read(NOW - 2 * HOUR, NOW)
    for i in range(r.names):
        if got.get(f'web.n{i}') != {t: value(i, t) for t in range(NOW - 2 * HOUR, NOW, MINUTE)}:
            bad.append((i, 'recent'))
    return bad


def wrong_before(r):
    """Of what every set of rules here has: an hour's averages, whatever step they come on."""
    bad = []
    got = r.read(NOW - SPAN + HOUR, NOW - 2 * DAY)
    for i in range(r.names):
        have = got.get(f'web.n{i}', {})
        steps = sorted(have)
        step = steps[1] - steps[0] if len(steps) > 1 else 0
        if step not in (MINUTE, 5 * MINUTE, 10 * MINUTE, HOUR) or steps != list(range(NOW - SPAN + HOUR, NOW - 2 * DAY, step)):
            bad.append((i, 'step', step, len(steps)))
        else:
            bad += [(i, t, average(i, t, step), v) for t, v in have.items() if abs(average(i, t, step) - v) > 1e-9]
    return bad


class Retention(unittest.TestCase):
    def test_edit_check_apply_read_back(self):
        with Rules(BEFORE) as r:
            r.fill()
            self.assertEqual(r.check()['changing'], 0)
            r.write(AFTER)
            found = r.check()
            self.assertEqual((found['changing'], found['state']), (3, 'applied'))
            changes = {(c['what'], c['step']): c for c in found['groups'][0]['changes']}
            self.assertEqual(set(changes), {('shorter', 60), ('dropped', 300), ('added', 600)})
            self.assertEqual(changes['dropped', 300]['windows'], 15)  # five days of three series
            self.assertGreater(changes['shorter', 60]['windows'], 0)
            code, out, err = cli(r.server, 'retention', 'check')
            self.assertEqual(code, 0, err)
            for words in ('[web] 3 series, such as web.n0', '10m: archive added', '5m: archive dropped; deletes 15 windows',
                          '1m: kept shorter, 2d in place of 460d'):
                self.assertIn(words, out)
            # Asking changes nothing.
            self.assertEqual(wrong_before(r), [])
            self.assertEqual(r.state(), 'applied')
            code, out, err = cli(r.server, 'retention', 'apply')
            self.assertEqual(code, 0, err)
            self.assertIn('3 series brought to the rules in force', out)
            self.assertEqual(wrong_after(r), [])
            self.assertEqual((r.check()['changing'], r.state()), (0, 'applied'))
            self.assertEqual(cli(r.server, 'verify')[0], 0)
            r.server.restart()
            self.assertEqual(wrong_after(r), [])
            self.assertEqual(r.server.metric('carat_retention_unapplied'), 0)

    def test_reload_alone_deletes_nothing_and_says_so(self):
        with Rules(BEFORE) as r:
            r.fill()
            r.write(AFTER)
            r.server.process.send_signal(signal.SIGHUP)
            carat.wait_for('the new rules', lambda: 'carat retention apply' in r.server.log())
            self.assertEqual(r.state(), 'not applied')
            self.assertEqual(r.server.metric('carat_retention_unapplied'), 1)
            # The shorter keep counts for reads at once, with the archives that are there.
            self.assertEqual(wrong_before(r), [])
            self.assertEqual(sorted(r.read(NOW - SPAN + HOUR, NOW - 2 * DAY)['web.n0'])[1] - (NOW - SPAN + HOUR), 5 * MINUTE)
            time_of_rounds = r.server.metric('carat_mover_rounds_total')
            carat.wait_for('two rounds of the mover', lambda: r.server.metric('carat_mover_rounds_total') > time_of_rounds + 1)
            r.server.restart()
            self.assertEqual(r.state(), 'not applied')
            # And back: everything is still there.
            r.write(BEFORE)
            r.server.process.send_signal(signal.SIGHUP)
            carat.wait_for('the old rules', lambda: 'rules reloaded' in r.server.log().split('rules reloaded', 1)[1])
            self.assertEqual(r.check()['changing'], 0)
            self.assertEqual(r.read(NOW - SPAN + HOUR, NOW - 2 * DAY)['web.n1'],
                             {t: value(1, t) for t in range(NOW - SPAN + HOUR, NOW - 2 * DAY, MINUTE)})

    def test_killed_in_the_middle_it_is_finished(self):
        rng = random.Random(os.environ.get('CARAT_SEED', time.time_ns()))
        with Rules(BEFORE, names=12) as r:
            r.fill()
            r.write(AFTER)
            self.assertEqual(r.server.post_json('/api/v1/jobs', {'kind': 'retention-apply'})[0], 202)
            for k in range(3):
                time.sleep(rng.uniform(0, 0.1 * (k + 1)))
                r.server.kill9()
                r.server.start()
                self.assertEqual(wrong_before(r), [])
            carat.wait_for('the apply to be finished', lambda: r.state() in ('applied', 'not applied'), 60)
            if r.state() == 'not applied' or r.check()['changing']:  # killed before it was written down
                self.assertEqual(cli(r.server, 'retention', 'apply')[0], 0)
            self.assertEqual((r.check()['changing'], r.state()), (0, 'applied'))
            self.assertEqual(wrong_after(r), [])
            self.assertEqual(cli(r.server, 'verify')[0], 0)

    def test_bad_rules_say_where(self):
        with Rules(BEFORE) as r:
            r.write('[web]\npattern = ^web\\.\nretentions = 60s:1d, 90s:2d\n')
            for what in ('check', 'apply'):
                code, _, err = cli(r.server, 'retention', what)
                self.assertEqual(code, 1)
                self.assertIn(f'{r.path}:3: the precision of 90 s is not a multiple of the finer one, 60 s', err)
            self.assertEqual(r.state(), 'applied')
            bad = subprocess.run([carat.BINARY, 'retention', 'check', '--schemas', r.path], capture_output=True, text=True, timeout=30)
            self.assertEqual((bad.returncode, bad.stdout), (1, ''))
            self.assertIn(f'{r.path}:3:', bad.stderr)
            r.write(AFTER)
            good = subprocess.run([carat.BINARY, 'retention', 'check', '--schemas', r.path], capture_output=True, text=True, timeout=30)
            self.assertEqual((good.returncode, good.stderr), (0, ''))
            self.assertEqual(cli(r.server, 'retention')[0], 2)
            self.assertEqual(cli(r.server, 'retention', 'apply', '--json')[0], 2)

    def test_another_step_is_announced(self):
        with Rules('[web]\npattern = ^web\\.\nretentions = 60s:460d, 1h:5y\n') as r:
            r.fill()
            r.write('[web]\npattern = ^web\\.\nretentions = 10s:2d, 60s:460d, 1h:5y\n')
            code, out, err = cli(r.server, 'retention', 'check')
            self.assertEqual(code, 0, err)
            self.assertIn('10s: the step of new points, in place of 1m, from ', out)
            self.assertEqual(cli(r.server, 'retention', 'apply')[0], 0)
            self.assertEqual(r.check()['changing'], 0)
            # The old points stay, in their step.
            self.assertEqual(r.read(NOW - SPAN + HOUR, NOW)['web.n1'], {t: value(1, t) for t in range(NOW - SPAN + HOUR, NOW, MINUTE)})
            r.server.graphite_send(f'web.n1 5 {NOW}\nweb.new 7 {NOW}\n')
            carat.wait_for('new points', lambda: r.server.render('web.new', NOW - 10, NOW + 9).get('web.new'))
            self.assertEqual(r.server.render('web.n1', NOW - 1, NOW + 59)['web.n1'][NOW], 5)
            r.server.restart()
            self.assertEqual(r.read(NOW - SPAN + HOUR, NOW)['web.n2'], {t: value(2, t) for t in range(NOW - SPAN + HOUR, NOW, MINUTE)})
