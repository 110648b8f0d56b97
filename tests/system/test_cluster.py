"""Roles in processes of their own, with PostgreSQL, Redis Cluster and NATS between them."""
import json
import os
import random
import signal
import subprocess
import sys
import time
import unittest

import carat
import clients
from cluster import PARTITIONS, Cluster, held

LONG = bool(os.environ.get('CARAT_LONG'))


def topology(server):
    """The exit code without --json, and the answer."""
    command = [carat.BINARY, 'topology', '--url', server.url('')]
    code = subprocess.run(command, stdout=subprocess.DEVNULL, timeout=30).returncode
    r = subprocess.run([*command, '--json'], check=True, capture_output=True, text=True, timeout=30)
    return code, json.loads(r.stdout)


def applying(writer):
    return writer.metric('carat_writer_partitions')


class Load:
    """Clients that post to one process and know what another must answer."""

    def __init__(self, door, reader):
        self.reader = reader
        oldest = int(time.time()) // 60 * 60 - 60 * 86400
        self.clients = [clients.Client(door.http_port, f'lease{i}', random.random(), oldest) for i in range(3)]

    def __enter__(self):
        for c in self.clients:
            c.start()
        self.progress()
        return self

    def __exit__(self, *exc):
        for c in self.clients:
            c.ended = True
        for c in self.clients:
            c.join()

    def progress(self):
        before = [len(c.acked) for c in self.clients]
        carat.wait_for('more posts', lambda: all(len(c.acked) > b + 50 for c, b in zip(self.clients, before)))

    def wrong(self):
        return [b for c in self.clients for b in c.verify(self.reader)]

    def check(self):
        """Everything acknowledged can be read, once, soon: the writers may have some of it still to apply."""
        for c in self.clients:
            c.posting.acquire()
        try:
            carat.wait_for('all to be readable', lambda: not self.wrong(), 20)
        except AssertionError:
            raise AssertionError('; '.join(self.wrong()[:5])) from None
        finally:
            for c in self.clients:
                c.posting.release()


class TwoWriters(unittest.TestCase):
    def share(self, a, b):
        carat.wait_for('two writers to share', lambda: held(a) == held(b) == PARTITIONS / 2)

    def test_partitions_are_taken_over(self):
        with Cluster('writer.lease=2s') as k:
            door, reader = k.carat('ingest'), k.carat('reader')
            a, b = k.carat('writer'), k.carat('writer')
            with Load(door, reader) as load:
                self.share(a, b)
                load.check()
                carat.wait_for('all to be well', lambda: topology(reader)[0] == 0, 20)
                told = topology(reader)[1]
                self.assertEqual(sorted(p['roles'] for p in told['processes']), ['ingest', 'reader', 'writer', 'writer'])
                self.assertEqual([p['partition'] for p in told['partitions']], list(range(PARTITIONS)))
                self.assertEqual({p['url'] for p in told['partitions']}, {a.url(''), b.url('')})
                a.kill9()
                carat.wait_for('its partitions to be taken over', lambda: held(b) == PARTITIONS, 10)
                self.assertEqual({p['url'] for p in topology(door)[1]['partitions']}, {b.url('')})
                load.progress()
                load.check()
                a.start()
                self.share(a, b)
                load.progress()
                # One that stops in order hands over at once.
                self.assertEqual(b.stop(), 0, b.log())
                carat.wait_for('all partitions', lambda: held(a) == PARTITIONS, 3)
                load.progress()
                load.check()

    @unittest.skipUnless(LONG, 'takes long')
    def test_a_writer_that_hangs_does_no_harm(self):
        with Cluster('writer.lease=2s') as k:
            door, reader = k.carat('ingest'), k.carat('reader')
            a, b = k.carat('writer'), k.carat('writer')
            with Load(door, reader) as load:
                self.share(a, b)
                load.progress()
                a.process.send_signal(signal.SIGSTOP)
                carat.wait_for('its partitions to be taken over', lambda: held(b) == PARTITIONS, 10)
                load.progress()
                a.process.send_signal(signal.SIGCONT)
                self.share(a, b)
                load.progress()
                load.check()

    @unittest.skipUnless(LONG, 'takes long')
    def test_the_database_is_away_for_longer_than_a_lease(self):
        with Cluster('writer.lease=2s') as k:
            door, reader = k.carat('ingest'), k.carat('reader')
            a, b = k.carat('writer'), k.carat('writer')
            with Load(door, reader) as load:
                self.share(a, b)
                load.progress()
                k.pg.kill9()
                carat.wait_for('the writers to stop', lambda: applying(a) == applying(b) == 0)
                load.progress()  # the stream takes them
                k.pg.start()
                carat.wait_for('them to go on', lambda: applying(a) + applying(b) == PARTITIONS)
                load.progress()
                load.check()

    @unittest.skipUnless(LONG, 'takes long')
    def test_kills(self):
        with Cluster() as k:
            door, reader = k.carat('ingest'), k.carat('reader')
            writers = [k.carat('writer'), k.carat('writer')]
            with Load(door, reader) as load:
                for _ in range(4):
                    self.share(*writers)
                    random.shuffle(writers)
                    began = time.monotonic()
                    writers[0].kill9()
                    carat.wait_for('its partitions to be taken over', lambda: held(writers[1]) == PARTITIONS, 30)
                    print(f'# taken over in {time.monotonic() - began:.1f} s', flush=True)
                    load.progress()
                    load.check()
                    writers[0].start()


@unittest.skipUnless(LONG, 'takes long')
class Script(unittest.TestCase):
    def test_every_acknowledged_point_is_read_back(self):
        r = subprocess.run([sys.executable, os.path.join(os.path.dirname(__file__), 'cluster.py'), '--binary', carat.BINARY,
                            '--once', '20', '--kill'], capture_output=True, text=True, timeout=300)
        self.assertEqual(r.returncode, 0, r.stdout + r.stderr)
        self.assertRegex(r.stdout.splitlines()[-1], r'^(\d+) acknowledged points, \1 read back from each of 2 readers$')


if __name__ == '__main__':
    os.environ.setdefault('CARAT_BINARY', './build/carat')
    unittest.main()
