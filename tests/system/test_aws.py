"""Warm in a real server of DynamoDB's API and cold in a real server of S3's, under the real binary."""
import os
import time
import unittest

import carat
import server_dynalite
import server_swift

DAY = 86400
NOW = int(time.time()) // 60 * 60
OLD = NOW // DAY * DAY - 40 * DAY
FAST = ('hot.flush_delay=0s', 'hot.flush_round=100ms', 'hot.jitter=0', 'stream.checkpoint_interval=500ms', 'cold.interval=500ms',
        'disk.min_free=0')


def value(i, t):
    return (t // 60 * 7 + i) % 1009


class Environment:
    """Of this process, and so of the servers it starts."""

    def __init__(self, **values):
        self.values = values

    def __enter__(self):
        self.before = {k: os.environ.get(k) for k in self.values}
        os.environ.update(self.values)

    def __exit__(self, *exc):
        for k, v in self.before.items():
            if v is None:
                del os.environ[k]
            else:
                os.environ[k] = v


def send(c, names=3, start=OLD, points=480):
    """`points` minutes of each; what must be read back."""
    want = {}
    for i in range(names):
        want[f'web.n{i}'] = {start + 60 * k: value(i, start + 60 * k) for k in range(points)}
    c.graphite_send(''.join(f'{n} {v} {t}\n' for n, p in want.items() for t, v in p.items()))
    return want


def read(c, want):
    times = [t for p in want.values() for t in p]
    return c.render('web.n*', min(times) - 1, max(times))


class ColdOnS3(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.swift = server_swift.Swift().__enter__()
        cls.environment = Environment(AWS_ACCESS_KEY_ID=server_swift.ACCESS_KEY, AWS_SECRET_ACCESS_KEY=server_swift.SECRET_KEY)
        cls.environment.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.environment.__exit__()
        cls.swift.__exit__()

    def carat(self, *more):
        bucket = 'b' + self.id().rsplit('.', 1)[-1].replace('_', '-')
        return carat.Carat([*FAST, 'cold.backend=s3', f's3.endpoint={self.swift.endpoint}', f's3.bucket={bucket}', 's3.create_bucket=true',
                            *more])

    def test_old_points_move_to_the_bucket_and_are_read_from_there(self):
        with self.carat() as c:
            want = send(c)
            carat.wait_for('the points', lambda: read(c, want) == want)
            carat.wait_for('all of them in cold', lambda: c.metric('carat_mover_moved_parts_total') > 0 and
                           c.metric('carat_cold_packs') > 0, 60)
            self.assertEqual(read(c, want), want)
            c.kill9()
            c.start()
            self.assertEqual(read(c, want), want)
            late = {'web.n0': {OLD + 60 * 100: 5.5}}
            c.graphite_send(f'web.n0 5.5 {OLD + 60 * 100}\n')
            want['web.n0'].update(late['web.n0'])
            carat.wait_for('the late point', lambda: read(c, want) == want)
            self.assertNotIn(server_swift.SECRET_KEY, c.log())
            self.assertEqual(c.stop(), 0, c.log())

    def test_a_bucket_of_another_deployment_is_refused(self):
        with self.carat() as c:
            self.assertEqual(c.stop(), 0)
            with self.assertRaises(carat.Refused) as e, self.carat():
                pass
            self.assertIn('another', str(e.exception))

    def test_wrong_settings_are_told(self):
        for settings, words in ((['s3.bucket='], 's3.bucket is not set'), (['s3.style=odd'], 's3.style = odd: expected auto, path or host'),
                                (['s3.prefix=x'], 's3.prefix = x'), (['cold.backend=tape'], 'cold.backend = tape: expected files or s3')):
            with self.assertRaises(carat.Refused) as e, self.carat(*settings):
                pass
            self.assertIn(words, str(e.exception))


class WarmInDynamoDB(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = server_dynalite.Dynalite().__enter__()
        cls.environment = Environment(AWS_ACCESS_KEY_ID='any', AWS_SECRET_ACCESS_KEY='anySECRET')
        cls.environment.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.environment.__exit__()
        cls.server.__exit__()

    def carat(self, *more):
        table = self.id().rsplit('.', 1)[-1]
        return carat.Carat([*FAST, 'warm.backend=dynamodb', f'dynamodb.endpoint={self.server.endpoint}', f'dynamodb.table={table}', *more])

    def flushed(self, c):
        return c.metric('carat_hot_windows') == 0

    def test_windows_go_to_the_table_and_are_read_from_there(self):
        with self.carat('cold.after=1000d') as c:
            want = send(c)
            carat.wait_for('all of them in warm', lambda: read(c, want) == want and self.flushed(c), 60)
            c.kill9()
            c.start()
            carat.wait_for('the points', lambda: read(c, want) == want, 60)
            self.assertNotIn('anySECRET', c.log())
            self.assertEqual(c.stop(), 0, c.log())

    def test_from_the_table_to_cold(self):
        with self.carat() as c:
            want = send(c)
            carat.wait_for('all of them in cold', lambda: c.metric('carat_mover_moved_parts_total') > 0 and self.flushed(c), 60)
            carat.wait_for('the points', lambda: read(c, want) == want)
            c.restart()
            self.assertEqual(read(c, want), want)

    def test_the_service_goes_away_and_comes_back(self):
        with self.carat('cold.after=1000d', 'aws.timeout=2s') as c:
            want = send(c)
            carat.wait_for('all of them in warm', lambda: read(c, want) == want and self.flushed(c), 60)
            self.server.kill9()
            more = send(c, start=OLD + 480 * 60)  # still taken
            status, _ = c.get(f'/render?target=web.n0&from={OLD}&until={OLD + 600}&format=json')
            self.assertNotEqual(status, 200)  # never an answer that lacks points without a word
            self.server.start()
            for name, points in more.items():
                want[name].update(points)
            carat.wait_for('all of them in warm', lambda: self.flushed(c) and read(c, want) == want, 90)
            c.kill9()
            c.start()
            carat.wait_for('the points', lambda: read(c, want) == want, 60)

    def test_a_table_of_another_deployment_is_refused(self):
        with self.carat() as c:
            self.assertEqual(c.stop(), 0)
            with self.assertRaises(carat.Refused) as e, self.carat():
                pass
            self.assertIn('another', str(e.exception))


if __name__ == '__main__':
    unittest.main()
