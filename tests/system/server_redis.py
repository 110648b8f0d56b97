"""A real Redis Cluster for a test: six processes on free loopback ports, three masters and a replica for each."""
import os
import shutil
import signal
import subprocess
import tempfile

import carat

START_S = 30
NODE = ('--bind', '127.0.0.1', '--cluster-enabled', 'yes', '--cluster-config-file', 'nodes.conf', '--cluster-node-timeout', '500',
        '--repl-diskless-sync-delay', '0', '--repl-ping-replica-period', '1', '--cluster-allow-replica-migration', 'no',
        '--appendonly', 'no', '--save', '')


def free_port_pair():
    """A port whose bus port, 10000 above it, is free too."""
    while True:
        port = carat.free_port()
        if port + 10000 < 65536 and _is_free(port + 10000):
            return port


def _is_free(port):
    import socket
    with socket.socket() as s:
        try:
            s.bind(('127.0.0.1', port))
        except OSError:
            return False
    return True


class Node:
    def __init__(self, cluster, port):
        self.port = port
        self.dir = os.path.join(cluster.dir, str(port))
        self.process = None

    def spawn(self):
        """Starts it: with no data, but with its name and place in the cluster."""
        os.makedirs(self.dir, exist_ok=True)
        with open(os.path.join(self.dir, 'log'), 'ab') as log:
            self.process = subprocess.Popen(['redis-server', '--port', str(self.port), '--dir', self.dir, *NODE],
                                            stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        return self

    def cli(self, *arguments, timeout=10):
        r = subprocess.run(['redis-cli', '-h', '127.0.0.1', '-p', str(self.port), *map(str, arguments)], capture_output=True,
                           text=True, timeout=timeout)
        return r.stdout.strip()

    def info(self, section, key):
        for line in self.cli('INFO', section).splitlines():
            if line.startswith(key + ':'):
                return line.split(':', 1)[1]
        return None

    def kill(self, sig=signal.SIGKILL):
        self.process.send_signal(sig)
        if sig in (signal.SIGKILL, signal.SIGTERM):
            self.process.wait()

    @property
    def id(self):
        return self.cli('CLUSTER', 'MYID')

    @property
    def running(self):
        return self.process and self.process.poll() is None

    @property
    def is_master(self):
        return self.info('replication', 'role') == 'master'


class RedisCluster:
    """A context manager; leaves no process and no file."""

    def __init__(self, masters=3, replicas=1):
        self.dir = tempfile.mkdtemp(prefix='carat-redis-')
        self.replicas = replicas
        self.nodes = [Node(self, free_port_pair()) for _ in range(masters * (1 + replicas))]

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *exc):
        for n in self.nodes:
            if n.running:
                n.process.kill()
        for n in self.nodes:
            if n.process:
                n.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def start(self):
        for n in self.nodes:
            n.spawn()
        for n in self.nodes:
            carat.wait_for('redis to answer', lambda: n.cli('PING') == 'PONG')
        r = subprocess.run(['redis-cli', '--cluster', 'create', *self.addresses(), '--cluster-replicas', str(self.replicas),
                            '--cluster-yes'], capture_output=True, text=True, timeout=START_S)
        assert r.returncode == 0, r.stdout + r.stderr
        self.wait_ready()
        return self

    def wait_ready(self, seconds=START_S):
        """`create` returns before the cluster takes writes, and before replicas have what they need to take over."""
        carat.wait_for('the Redis Cluster to be ready', self.ready, seconds)

    def ready(self):
        return all(self._node_ready(n) for n in self.nodes if n.running)

    @staticmethod
    def _node_ready(n):
        if 'cluster_state:ok' not in n.cli('CLUSTER', 'INFO'):
            return False
        return n.is_master or n.info('replication', 'master_link_status') == 'up'

    def addresses(self):
        return [f'127.0.0.1:{n.port}' for n in self.nodes]

    @property
    def masters(self):
        return [n for n in self.nodes if n.running and n.is_master and self._slots(n)]

    @staticmethod
    def _slots(n):
        line = next((s for s in n.cli('CLUSTER', 'NODES').splitlines() if 'myself' in s), '')
        return line.split()[8:]

    def owner(self, slot):
        """The master that has a slot."""
        for n in self.masters:
            for part in self._slots(n):
                if part.startswith('['):
                    continue
                first, _, last = part.partition('-')
                if int(first) <= slot <= int(last or first):
                    return n
        raise AssertionError(f'nobody has slot {slot}')

    def move_slot(self, slot, source, target, pause=lambda: None):
        """What redis-cli --cluster reshard does for one slot; pause() is called when half of the keys have moved."""
        assert target.cli('CLUSTER', 'SETSLOT', slot, 'IMPORTING', source.id) == 'OK'
        assert source.cli('CLUSTER', 'SETSLOT', slot, 'MIGRATING', target.id) == 'OK'
        keys = source.cli('CLUSTER', 'GETKEYSINSLOT', slot, 100000).split()
        half = keys[:len(keys) // 2]
        for i in range(0, len(half), 100):
            source.cli('MIGRATE', '127.0.0.1', target.port, '', 0, 5000, 'KEYS', *half[i:i + 100])
        pause()
        while True:
            keys = source.cli('CLUSTER', 'GETKEYSINSLOT', slot, 100).split()
            if not keys:
                break
            source.cli('MIGRATE', '127.0.0.1', target.port, '', 0, 5000, 'KEYS', *keys)
        for n in (target, source, *self.masters):
            n.cli('CLUSTER', 'SETSLOT', slot, 'NODE', target.id)

    def settings(self):
        """Of a carat that uses it."""
        return ['hot.backend=redis', 'redis.nodes=' + ','.join(self.addresses()[:3])]

    def environment(self):
        """Of a test program: host:port:pid:directory of each node."""
        return {'CARAT_TEST_REDIS': ','.join(f'127.0.0.1:{n.port}:{n.process.pid}:{n.dir}' for n in self.nodes)}
