"""Runs the real binary for a test: free ports, a data directory of its own, and what a client needs to talk to it."""
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

BINARY = os.environ.get('CARAT_BINARY', './build/carat')
START_S = 30
STOP_S = 10  # what SIGTERM promises


class Refused(Exception):
    """The server ended instead of becoming ready; the text is its stderr."""


def free_port():
    """A port that nothing had a moment ago, for TCP and UDP."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(('127.0.0.1', 0))
            with contextlib.suppress(OSError):
                udp.bind(tcp.getsockname())
                return tcp.getsockname()[1]


def wait_for(what, condition, seconds=START_S):
    """The first true value of condition(); AssertionError naming `what` after `seconds`."""
    until = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError(f'waited {seconds} s for {what}')
        time.sleep(0.02)


def read_metric(text, name):
    """Sum of a metric over all its label sets, or of one when `name` has braces; None if it is not there."""
    found = None
    for line in text.splitlines():
        key, _, value = line.rpartition(' ')
        if key == name or ('{' not in name and key.startswith(name + '{')):
            found = (found or 0) + float(value)
    return found


class Carat:
    """A server; a context manager that leaves nothing behind. start() raises Refused if it does not come up."""

    def __init__(self, settings=(), data=None, config=None):
        self.dir = tempfile.mkdtemp(prefix='carat-system-')
        self.data = data or os.path.join(self.dir, 'data')
        self.config = config
        self.settings = list(settings)
        self.log_path = os.path.join(self.dir, 'stderr')
        self.process = None
        self.environment = {}  # more of it for the process
        self.http_port = self.graphite_port = None

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *exc):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    # --- life

    def command(self):
        command = [BINARY, 'serve', '--set', f'data.dir={self.data}', '--set', f'http.listen=127.0.0.1:{self.http_port}',
                   '--set', f'graphite.listen=127.0.0.1:{self.graphite_port}', '--set', 'agent.enabled=false',
                   '--set', 'watch.store=false']
        if self.config:
            command += ['-c', self.config]
        for s in self.settings:
            command += ['--set', s]
        return command

    def spawn(self):
        """Starts the process on fresh ports (or those of the first start) and waits for nothing."""
        self.http_port = self.http_port or free_port()
        self.graphite_port = self.graphite_port or free_port()
        with open(self.log_path, 'ab') as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.dir, stdin=subprocess.DEVNULL,
                                            env={**os.environ, **self.environment})
        return self

    def start(self, ready=True):
        self.spawn()
        wait_for('the server to answer', lambda: self._up('/readyz' if ready else '/healthz'))
        return self

    def _up(self, path):
        if self.process.poll() is not None:
            raise Refused(self.log())
        try:
            return self.get(path, timeout=5)[0] == 200
        except OSError:
            return False

    def stop(self, sig=signal.SIGTERM):
        """The exit code; AssertionError if it takes longer than promised."""
        self.process.send_signal(sig)
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f'still running {STOP_S} s after signal {sig}') from None

    def kill9(self):
        self.process.kill()
        self.process.wait()

    def restart(self):
        assert self.stop() == 0, self.log()
        return self.start()

    def exit_code(self, seconds=START_S):
        return self.process.wait(seconds)

    def log(self):
        with open(self.log_path, encoding='utf-8', errors='replace') as f:
            return f.read()

    # --- HTTP

    def url(self, path):
        return f'http://127.0.0.1:{self.http_port}{path}'

    def request(self, method, path, body=None, timeout=30, headers=None):
        """(status, body bytes); OSError if there was no answer."""
        r = urllib.request.Request(self.url(path), data=body, method=method, headers=headers or {})
        try:
            with urllib.request.urlopen(r, timeout=timeout) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as e:
            with e:
                return e.code, e.read()

    def answer(self, path, headers=None):
        """An answer to GET with its headers: .status, .headers, .body."""
        connection = http.client.HTTPConnection('127.0.0.1', self.http_port, timeout=30)
        with contextlib.closing(connection):
            connection.putrequest('GET', path, skip_accept_encoding=True)
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            connection.endheaders()
            r = connection.getresponse()
            r.body = r.read()
            return r

    def get(self, path, timeout=30):
        return self.request('GET', path, timeout=timeout)

    def post_json(self, path, value, timeout=30):
        return self.request('POST', path, json.dumps(value).encode(), timeout, {'Content-Type': 'application/json'})

    def post_points(self, host, points, timeout=30):
        """Mackerel's door: points are (name, time, value); the status."""
        body = [{'hostId': host, 'name': n, 'time': t, 'value': v} for n, t, v in points]
        return self.post_json('/api/v0/tsdb', body, timeout)[0]

    def render(self, target, since, until, **more):
        """{target: {time: value}} of the points that are there."""
        arguments = [('target', t) for t in ([target] if isinstance(target, str) else target)]
        arguments += [('from', int(since)), ('until', int(until)), ('format', 'json'), *more.items()]
        status, body = self.get('/render?' + urllib.parse.urlencode(arguments), timeout=60)
        assert status == 200, (status, body)
        return {s['target']: {t: v for v, t in s['datapoints'] if v is not None} for s in json.loads(body)}

    def value_at(self, name, t):
        """The point of a 60 s series in the slot of t, or None."""
        slot = t // 60 * 60
        return self.render(name, slot - 1, slot + 59).get(name, {}).get(slot)

    def metric(self, name):
        status, body = self.get('/metrics')
        assert status == 200
        return read_metric(body.decode(), name)

    def rejected(self, reason):
        return self.metric('carat_points_rejected_total{reason="%s"}' % reason) or 0

    # --- Graphite

    def graphite(self):
        return socket.create_connection(('127.0.0.1', self.graphite_port), timeout=30)

    def graphite_send(self, text):
        with self.graphite() as s:
            s.sendall(text if isinstance(text, bytes) else text.encode())
            s.shutdown(socket.SHUT_WR)
            with contextlib.suppress(OSError):
                s.recv(1)  # until the server has read all and closes

    def udp_send(self, text):
        with socket.socket(type=socket.SOCK_DGRAM) as s:
            s.sendto(text.encode(), ('127.0.0.1', self.graphite_port))
