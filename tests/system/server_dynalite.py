"""dynalite, a server of the DynamoDB API, on loopback. Does not check signatures, knows no TTL and never throttles.

Node.js and the packages of tests/servers; script/bootstrap --test installs both."""
import os
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from carat import free_port, wait_for
from fault_proxy import FaultProxy

PROGRAM = Path(__file__).resolve().parent.parent / 'servers' / 'node_modules' / 'dynalite' / 'cli.js'


class Dynalite:
    """A context manager. Port and data stay the same over kill9() and start()."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix='carat-dynalite-')
        self.port = free_port()
        self.process = None

    @property
    def endpoint(self):
        return f'http://127.0.0.1:{self.port}'

    def environment(self):
        return {'CARAT_DYNAMODB': self.endpoint, 'AWS_ACCESS_KEY_ID': 'any', 'AWS_SECRET_ACCESS_KEY': 'anySECRET'}

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *exc):
        self.kill9()
        shutil.rmtree(self.dir, ignore_errors=True)

    def start(self):
        with open(os.path.join(self.dir, 'log'), 'ab') as log:
            self.process = subprocess.Popen(
                ['node', str(PROGRAM), '--host', '127.0.0.1', '--port', str(self.port), '--createTableMs', '0', '--deleteTableMs',
                 '0', '--updateTableMs', '0', '--path', os.path.join(self.dir, 'db')],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.dir)
        wait_for('dynalite', self.up)
        return self

    def up(self):
        if self.process.poll() is not None:
            with open(os.path.join(self.dir, 'log'), encoding='utf-8', errors='replace') as f:
                raise AssertionError('dynalite ended: ' + f.read()[-2000:])
        try:
            urllib.request.urlopen(self.endpoint, timeout=5).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def kill9(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        self.process = None


class FaultyDynalite(Dynalite):
    """The same behind a proxy that injects faults."""

    def __enter__(self):
        super().__enter__()
        self.proxy = FaultProxy(self.port, 'dynamodb', share=15)
        self.proxy.__enter__()
        return self

    def __exit__(self, *exc):
        if getattr(self, 'proxy', None):
            self.proxy.__exit__()
        super().__exit__()

    def environment(self):
        return {**super().environment(), 'CARAT_DYNAMODB': self.proxy.endpoint, 'CARAT_FAULTS': '1'}
