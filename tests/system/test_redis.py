"""Carat with its hot tier on a real Redis Cluster: points in and out, and what the cluster can do to them meanwhile."""
import os
import random
import signal
import subprocess
import threading
import time
import unittest

import carat
import crash
import server_redis

NOW = int(time.time()) // 60 * 60
# Small bounds, so that windows leave and come within the test.
SMALL = ['hot.flush_delay=1s', 'hot.max_unflushed=3s', 'hot.flush_round=500ms', 'stream.checkpoint_interval=500ms',
         'redis.timeout=1s']
LONG = bool(os.environ.get('CARAT_LONG'))


class Load:
    """Clients that post all the time, each knowing what must be read; a context manager that checks it at the end."""

    def __init__(self, server, clients=2):
        self.server = server
        oldest = NOW - 60 * 86400  # more slots than a run can fill: what is ahead of the clock is not rendered
        self.clients = [crash.Client(server.http_port, f'crash{i}', random.random(), oldest) for i in range(clients)]

    def __enter__(self):
        for c in self.clients:
            c.start()
        self.progress('the first posts')
        return self

    def __exit__(self, kind, *rest):
        for c in self.clients:
            c.ended = True
        for c in self.clients:
            c.join()
        if kind is None:
            self.check()
        elif os.environ.get('CARAT_KEEP_LOG'):
            with open(os.environ['CARAT_KEEP_LOG'], 'w', encoding='utf-8') as f:
                f.write(self.server.log())

    def check(self):
        """Everything acknowledged is read, and nothing else."""
        for c in self.clients:
            c.posting.acquire()
        try:
            carat.wait_for('reads to be complete', self.complete, 60)
            bad = [b for c in self.clients for b in c.verify(self.server)]
        finally:
            for c in self.clients:
                c.posting.release()
        assert not bad, f'{len(bad)} wrong: ' + '; '.join(bad[:5])

    def complete(self):
        """Everything can be read: no node is away, nothing is still to be applied."""
        return self.server.get('/readyz')[0] == 200 and all(
            self.server.get(f'/render?target=host.{c.host}.custom.*&from={c.oldest}&format=json')[0] == 200 for c in self.clients)

    def progress(self, what, seconds=30):
        """Until every client has had another answer, and all of it so far is readable."""
        before = [len(c.acked) for c in self.clients]
        carat.wait_for(what, lambda: all(len(c.acked) > b + 50 for c, b in zip(self.clients, before)), seconds)
        wanted = self.server.metric('carat_points_synced_total')
        carat.wait_for(what + ' to be readable', lambda: self.server.metric('carat_points_applied_total') >= wanted and
                       self.server.get('/readyz')[0] == 200, seconds)


class OnRedis(unittest.TestCase):
    """One cluster for all of them; each has keys of its own."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = server_redis.RedisCluster().__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.cluster.__exit__()

    def setUp(self):
        self.cluster.wait_ready()

    def carat(self, *more):
        return carat.Carat(settings=[*self.cluster.settings(), f'redis.prefix={self.id().rsplit(".", 1)[-1]}:', *SMALL, *more])

    def test_points_in_and_out_and_kill_9(self):
        with self.carat() as c:
            c.graphite_send(f'servers.web.load 1.5 {NOW}\n')
            carat.wait_for('the point', lambda: c.value_at('servers.web.load', NOW) == 1.5)
            self.assertGreater(c.metric('carat_redis_commands_total'), 0)
            with Load(c) as load:
                for _ in range(3):
                    load.progress('posts')
                    c.kill9()
                    c.start()
            self.assertEqual(c.stop(), 0, c.log())
            keys = [n.cli('--scan', '--pattern', 'test_points_in_and_out_and_kill_9:[0-9w]*') for n in self.cluster.masters]
            self.assertEqual([k[:200] for k in keys if k], [], 'a clean stop leaves no window in Redis')

    def test_kill_9_of_a_master_under_load(self):
        with self.carat() as c, Load(c) as load:
            victim = random.choice(self.cluster.masters)
            victim.kill()
            load.progress('posts after the failover')
            victim.spawn()
            self.cluster.wait_ready()
            load.progress('posts after its return')

    def test_a_master_that_comes_back_empty(self):
        with self.carat() as c, Load(c) as load:
            victim = random.choice(self.cluster.masters)
            victim.kill()
            victim.spawn()  # before anybody votes it out: it is the master again, with nothing in it
            load.progress('posts after its return')
            self.cluster.wait_ready()
            load.check()

    def test_moving_slots_under_load(self):
        with self.carat() as c, Load(c) as load:
            for host in ('host.crash0', 'host.crash1'):
                slot = int(self.cluster.nodes[0].cli('CLUSTER', 'KEYSLOT', '{%s}' % host))
                source = self.cluster.owner(slot)
                target = random.choice([n for n in self.cluster.masters if n is not source])
                self.cluster.move_slot(slot, source, target, pause=lambda: load.progress('posts in the middle of a move'))
            load.progress('posts after the moves')
            self.assertGreater(c.metric('carat_redis_asked_total'), 0)
            self.assertGreater(c.metric('carat_redis_moved_total'), 0)
            self.assertEqual(c.metric('carat_redis_lost_windows_total'), 0)

    @unittest.skipUnless(LONG, 'takes long')
    def test_resharding_under_load(self):
        with self.carat() as c, Load(c) as load:
            for _ in range(4):
                source, target = random.sample(self.cluster.masters, 2)
                r = subprocess.run(['redis-cli', '--cluster', 'reshard', f'127.0.0.1:{source.port}', '--cluster-from', source.id,
                                    '--cluster-to', target.id, '--cluster-slots', '4000', '--cluster-yes'], capture_output=True,
                                   text=True, timeout=300)
                self.assertEqual(r.returncode, 0, r.stdout[-2000:] + r.stderr)
            load.progress('posts after the move')
            self.assertEqual(c.metric('carat_redis_lost_windows_total'), 0)

    @unittest.skipUnless(LONG, 'takes long')
    def test_a_master_that_hangs(self):
        with self.carat() as c, Load(c) as load:
            victim = random.choice(self.cluster.masters)
            victim.kill(signal.SIGSTOP)
            try:
                load.progress('posts after the failover')
            finally:
                victim.kill(signal.SIGCONT)
            self.cluster.wait_ready()
            load.progress('posts after its return')

    def test_eviction_is_refused(self):
        node = self.cluster.masters[0]
        node.cli('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru')
        try:
            with self.assertRaises(carat.Refused) as e, self.carat():
                pass
        finally:
            node.cli('CONFIG', 'SET', 'maxmemory-policy', 'noeviction')
        self.assertIn(f'127.0.0.1:{node.port}', str(e.exception))
        self.assertIn('set maxmemory-policy noeviction', str(e.exception))

    def test_a_full_redis_slows_down_and_loses_nothing(self):
        with self.carat() as c, Load(c) as load:
            nodes = self.cluster.masters
            for n in nodes:
                n.cli('CONFIG', 'SET', 'maxmemory', 1)
            carat.wait_for('a refusal in the log', lambda: 'Redis is full' in c.log())
            for n in nodes:
                n.cli('CONFIG', 'SET', 'maxmemory', 0)
            load.progress('posts when there is room again')

    def test_reads_from_replicas_are_never_behind(self):
        with self.carat('redis.read_replicas=true') as c, Load(c) as load:
            for k in range(30):
                c.post_points('fresh', [('custom.x', NOW, k)])
                wanted = c.metric('carat_points_synced_total')
                carat.wait_for('the point to be applied', lambda: c.metric('carat_points_applied_total') >= wanted)
                self.assertEqual(c.value_at('host.fresh.custom.x', NOW), k)
            load.check()

    def test_wrong_settings_are_told(self):
        port = carat.free_port()
        plain = subprocess.Popen(['redis-server', '--port', str(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            probe = server_redis.Node(self.cluster, port)
            carat.wait_for('redis to answer', lambda: probe.cli('PING') == 'PONG')
            for settings, words in (([f'redis.nodes=127.0.0.1:{port}'], 'is not a node of a cluster'),
                                    (['redis.nodes=localhost'], 'localhost is not host:port'),
                                    (['hot.backend=elsewhere'], 'hot.backend = elsewhere: expected memory or redis')):
                with self.assertRaises(carat.Refused) as e, carat.Carat(settings=['hot.backend=redis', *settings]):
                    pass
                self.assertIn(words, str(e.exception))
        finally:
            plain.kill()
            plain.wait()


if __name__ == '__main__':
    threading.excepthook = lambda a: os._exit(1)
    unittest.main()
