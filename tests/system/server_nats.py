"""Real NATS servers with JetStream for a test: one, or a cluster of three, on free loopback ports."""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import urllib.request

import carat

START_S = 30


class Node:
    def __init__(self, nats, number, peers):
        self.dir = os.path.join(nats.dir, f'n{number}')
        self.name = f'n{number}'
        self.client, self.http, self.route = (carat.free_port() for _ in range(3))
        self.peers = peers
        self.process = None

    def spawn(self):
        """Starts it, with what it had stored."""
        os.makedirs(self.dir, exist_ok=True)
        config = [f'server_name: {self.name}', f'listen: 127.0.0.1:{self.client}', f'http: 127.0.0.1:{self.http}',
                  'jetstream { store_dir: "%s/js", max_mem: 64M, max_file: 2G }' % self.dir]
        if len(self.peers) > 1:
            routes = ', '.join(f'nats://127.0.0.1:{n.route}' for n in self.peers)
            config.append('cluster { name: carat, listen: 127.0.0.1:%d, routes: [%s] }' % (self.route, routes))
        path = os.path.join(self.dir, 'conf')
        with open(path, 'w', encoding='utf-8') as f:
            f.write('\n'.join(config) + '\n')
        with open(os.path.join(self.dir, 'log'), 'ab') as log:
            self.process = subprocess.Popen(['nats-server', '-c', path], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        return self

    def monitor(self, path):
        """The server's own JSON; None if it does not answer."""
        try:
            with urllib.request.urlopen(f'http://127.0.0.1:{self.http}{path}', timeout=5) as r:
                return json.load(r)
        except OSError:
            return None

    def kill(self, sig=signal.SIGKILL):
        self.process.send_signal(sig)
        if sig in (signal.SIGKILL, signal.SIGTERM):
            self.process.wait()

    @property
    def running(self):
        return self.process and self.process.poll() is None


class Nats:
    """A context manager; leaves no process and no file."""

    def __init__(self, nodes=1):
        self.dir = tempfile.mkdtemp(prefix='carat-nats-')
        self.nodes = []
        for i in range(nodes):
            self.nodes.append(Node(self, i, self.nodes))

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
        carat.wait_for('NATS to be ready', self.ready)
        return self

    def ready(self):
        """Every server answers, and in a cluster they have chosen one of them for JetStream's own matters."""
        infos = [n.monitor('/jsz') for n in self.nodes]
        if not all(infos):
            return False
        if len(self.nodes) == 1:
            return True
        metas = [i.get('meta_cluster', {}) for i in infos]
        return all(m.get('leader') and m.get('cluster_size') == len(self.nodes) for m in metas)

    def urls(self):
        return ','.join(f'nats://127.0.0.1:{n.client}' for n in self.nodes)

    def leader_of(self, stream):
        """The server that takes this stream's messages; None if there is none now."""
        for n in self.nodes:
            if not n.running:
                continue
            info = n.monitor('/jsz?accounts=true&streams=true') or {}
            for account in info.get('account_details', []):
                for s in account.get('stream_detail', []):
                    if s['name'] == stream and s.get('cluster', {}).get('leader', n.name) == n.name:
                        return n
        return None

    def settings(self):
        """Of a carat that uses it."""
        return ['stream.backend=jetstream', 'jetstream.servers=' + self.urls()]

    def environment(self):
        """Of a test program."""
        return {'CARAT_TEST_NATS': self.urls(), 'CARAT_TEST_NATS_PIDS': ','.join(str(n.process.pid) for n in self.nodes)}


class NatsOfThree(Nats):
    def __init__(self):
        super().__init__(3)
