"""Starting Carat and its peers for a measurement, each on free loopback ports in a directory of its own."""
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def http_get(url, timeout=60):
    with urllib.request.urlopen(url, timeout=timeout) as r:
        return r.read()


def metric(text, name):
    """Sum of all lines of a metric in Prometheus text (labels ignored unless given in name)."""
    total, found = 0.0, False
    for line in text.splitlines():
        if line.startswith(name) and (line[len(name)] in ' {' if '{' not in name else True):
            total += float(line.rsplit(' ', 1)[1])
            found = True
    return total if found else None


class Server:
    """A server process with an HTTP port, a Graphite text port and a data directory that is removed at the end."""
    name = '?'

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix='carat-bench-')
        self.http, self.graphite = free_port(), free_port()
        self.process = None

    def command(self):
        raise NotImplementedError

    def start(self):
        self.log = open(os.path.join(self.dir, 'log'), 'ab')
        self.process = subprocess.Popen(self.command(), stdout=self.log, stderr=self.log)
        self.wait_ready()
        return self

    def wait_ready(self, timeout=60):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            try:
                http_get(self.base + self.ready_path, 2)
                return
            except OSError:
                if self.process.poll() is not None:
                    raise SystemExit(f'{self.name} ended at start; its log: {self.dir}/log')
                time.sleep(0.02)
        raise SystemExit(f'{self.name} is not ready after {timeout} s')

    @property
    def base(self):
        return f'http://127.0.0.1:{self.http}'

    def metrics(self):
        return http_get(self.base + '/metrics').decode()

    def rss_kb(self):
        with open(f'/proc/{self.process.pid}/status') as f:
            return int(re.search(r'VmRSS:\s+(\d+)', f.read()).group(1))

    def cpu_seconds(self):
        with open(f'/proc/{self.process.pid}/stat') as f:
            fields = f.read().rsplit(') ', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def settle(self, timeout=60):
        """Waits until what came in is worked off in the background, too: a second with little processor time."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            before = self.cpu_seconds()
            time.sleep(1)
            if self.cpu_seconds() - before < 0.1:
                return

    def stop(self, sig=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(sig)
            self.process.wait(60)

    def close(self):
        self.stop()
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.close()


class Carat(Server):
    name = 'carat'
    ready_path = '/readyz'

    def __init__(self, binary, *settings):
        super().__init__()
        self.binary, self.settings = binary, settings

    def command(self):
        c = [self.binary, 'serve']
        base = [f'data.dir={self.dir}/data', f'http.listen=127.0.0.1:{self.http}',
                f'graphite.listen=127.0.0.1:{self.graphite}', 'agent.enabled=false', 'watch.store=false']
        for s in base + list(self.settings):
            c += ['--set', s]
        return c

    def points_in(self):
        return metric(self.metrics(), 'carat_points_applied_total') or 0

    def disk_bytes(self):
        return tree_bytes(os.path.join(self.dir, 'data', 'warm')) + tree_bytes(os.path.join(self.dir, 'data', 'catalog'))


class VictoriaMetrics(Server):
    name = 'victoria-metrics'
    ready_path = '/health'

    def command(self):
        return ['/usr/bin/victoria-metrics', f'-storageDataPath={self.dir}/vm', f'-httpListenAddr=127.0.0.1:{self.http}',
                f'-graphiteListenAddr=127.0.0.1:{self.graphite}', '-search.latencyOffset=0s', '-retentionPeriod=100y']

    def points_in(self):
        return metric(self.metrics(), 'vm_rows_inserted_total{type="graphite"}') or 0

    def disk_bytes(self):
        return tree_bytes(os.path.join(self.dir, 'vm'))


def tree_bytes(path):
    return sum(os.path.getsize(os.path.join(d, f)) for d, _, files in os.walk(path) for f in files)


def generate(generator, server, **options):
    """Runs the load generator; returns (points, seconds until the server has them all in)."""
    before = server.points_in()
    args = [generator, '--port', str(server.graphite)]
    for k, v in options.items():
        args += [f'--{k}', str(v)]
    out = json.loads(subprocess.run(args, check=True, stdout=subprocess.PIPE).stdout)
    end = time.monotonic() + 300
    while server.points_in() - before < out['points']:
        if time.monotonic() > end:
            raise SystemExit(f'{server.name}: {server.points_in() - before:.0f} of {out["points"]} points after 300 s')
        time.sleep(0.005)
    return out['points'], time.clock_gettime(time.CLOCK_MONOTONIC) - out['started']


def spread(values):
    return statistics.median(values), min(values), max(values)
