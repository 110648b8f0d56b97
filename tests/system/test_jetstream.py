"""Carat with its stream on real NATS servers, and with Redis for hot beside it."""
import os
import random
import signal
import unittest

import carat
import server_nats
import server_redis
from test_redis import LONG, NOW, SMALL, Load


class OnOneServer(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.nats = server_nats.Nats().__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.nats.__exit__()

    def carat(self, *more):
        name = self.id().rsplit('.', 1)[-1]
        return carat.Carat(settings=[*self.nats.settings(), f'jetstream.stream={name}', *SMALL, *more])

    def test_points_in_and_out_and_kill_9(self):
        with self.carat('stream.partitions=2') as c:
            c.graphite_send(f'servers.web.load 1.5 {NOW}\n')
            carat.wait_for('the point', lambda: c.value_at('servers.web.load', NOW) == 1.5)
            with Load(c) as load:
                for _ in range(3):
                    load.progress('posts')
                    c.kill9()
                    c.start()
            self.assertEqual(c.stop(), 0, c.log())
            c.start()
            self.assertEqual(c.value_at('servers.web.load', NOW), 1.5)

    def test_kill_9_of_nats(self):
        with self.carat() as c, Load(c) as load:
            node = self.nats.nodes[0]
            node.kill()
            node.spawn()
            load.progress('posts after its return', 60)

    def test_nats_that_hangs_gives_errors_and_loses_nothing(self):
        with self.carat('jetstream.ack_timeout=1s') as c, Load(c) as load:
            node = self.nats.nodes[0]
            node.kill(signal.SIGSTOP)
            try:
                refused = sum(x.refused for x in load.clients)
                carat.wait_for('an error to the sender', lambda: sum(x.refused for x in load.clients) > refused)
            finally:
                node.kill(signal.SIGCONT)
            load.progress('posts after its return', 60)

    def test_wrong_settings_are_told(self):
        for settings, words in ((['jetstream.stream=a.b'], 'jetstream.stream = a.b'),
                                (['stream.backend=elsewhere'], 'stream.backend = elsewhere: expected log or jetstream')):
            with self.assertRaises(carat.Refused) as e, self.carat(*settings):
                pass
            self.assertIn(words, str(e.exception))


@unittest.skipUnless(LONG, 'takes long')
class Everything(unittest.TestCase):
    """NATS of three and Redis of six; whatever is killed, nothing is lost and nothing doubled."""

    def test_kills(self):
        with server_nats.Nats(3) as nats, server_redis.RedisCluster() as redis, carat.Carat(settings=[
                *nats.settings(), *redis.settings(), *SMALL, 'stream.partitions=2', 'jetstream.ack_timeout=30s']) as c, Load(c) as load:
            for turn in range(12):
                what = random.choice(('carat', 'redis', 'nats'))
                print(f'# kill {what}', flush=True)
                if what == 'carat':
                    c.kill9()
                    c.start()
                elif what == 'redis':
                    node = random.choice(redis.masters)
                    node.kill()
                    load.progress('posts after a Redis failover', 90)
                    node.spawn()
                    redis.wait_ready(60)
                else:
                    node = nats.leader_of('carat') or random.choice(nats.nodes)
                    node.kill()
                    load.progress('posts after a NATS failover', 90)
                    node.spawn()
                    carat.wait_for('NATS to be ready', nats.ready)
                load.progress(f'posts after kill {turn}', 90)
                load.check()


class Both(unittest.TestCase):
    def test_jetstream_and_redis(self):
        with server_nats.Nats() as nats, server_redis.RedisCluster() as redis, carat.Carat(settings=[
                *nats.settings(), *redis.settings(), *SMALL]) as c, Load(c) as load:
            load.progress('posts')
            c.kill9()
            c.start()
            random.choice(redis.masters).kill()
            load.progress('posts after a failover', 60)


if __name__ == '__main__':
    os.environ.setdefault('CARAT_BINARY', './build/carat')
    unittest.main()
