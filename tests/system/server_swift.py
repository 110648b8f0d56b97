"""OpenStack Swift with its S3 API, on loopback: checks signatures (version 4), knows no conditional puts (501).

Debian's packages swift-proxy, swift-account, swift-container, swift-object and memcached. One zone, one replica, one
directory; needs extended attributes on its file system."""
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request

from carat import free_port, wait_for
from fault_proxy import FaultProxy

ACCESS_KEY = 'test:tester'
SECRET_KEY = 'swiftSECRETswift'
START_S = 40

STORE_CONF = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {dir}/etc
devices = {dir}/node
mount_check = false
log_level = ERROR
log_address = {dir}/no-syslog

[pipeline:main]
pipeline = {kind}-server

[app:{kind}-server]
use = egg:swift#{kind}
"""

PROXY_CONF = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {dir}/etc
log_level = ERROR
log_address = {dir}/no-syslog

[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache listing_formats bulk s3api tempauth slo proxy-server

[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
storage_domain = localhost
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = {secret} .admin
[filter:slo]
use = egg:swift#slo
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
"""

# The package's own in /etc/swift is what counts, where it is.
SWIFT_CONF = """[swift-hash]
swift_hash_path_suffix = carat-tests
"""


# What swift-ring-builder does, for all rings in one process.
RINGS = """
import sys
from swift.common.ring import RingBuilder
for kind, port in (a.split('=') for a in sys.argv[1:]):
    b = RingBuilder(4, 1, 1)
    b.add_dev({'region': 1, 'zone': 1, 'weight': 1, 'ip': '127.0.0.1', 'port': int(port), 'device': 'sdb1', 'meta': '',
               'replication_ip': '127.0.0.1', 'replication_port': int(port)})
    b.rebalance()
    b.get_ring().save(kind + '.ring.gz')
"""


class Swift:
    """A context manager. `port` stays the same over kill9() and start()."""
    kinds = ('account', 'container', 'object')

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix='carat-swift-')
        self.port = free_port()
        self.ports = {kind: free_port() for kind in (*self.kinds, 'memcached')}
        self.processes = []

    @property
    def endpoint(self):
        return f'http://127.0.0.1:{self.port}'

    def environment(self):
        """What a program needs to use it; the bucket does not exist yet."""
        return {'CARAT_S3': self.endpoint, 'CARAT_S3_CONDITIONAL': '0', 'AWS_ACCESS_KEY_ID': ACCESS_KEY,
                'AWS_SECRET_ACCESS_KEY': SECRET_KEY}

    def __enter__(self):
        try:
            self.configure()
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *exc):
        self.kill9()
        shutil.rmtree(self.dir, ignore_errors=True)

    def write(self, name, text):
        path = os.path.join(self.dir, 'etc', name)
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
        return path

    def run(self, *command):
        subprocess.run(command, check=True, cwd=os.path.join(self.dir, 'etc'), stdout=subprocess.DEVNULL, timeout=60,
                       env=self.process_environment())

    @staticmethod
    def process_environment():
        return {'PATH': '/usr/sbin:/usr/bin:/sbin:/bin', 'LANG': 'C.UTF-8'}

    def configure(self):
        os.makedirs(os.path.join(self.dir, 'etc'))
        os.makedirs(os.path.join(self.dir, 'node', 'sdb1'))
        values = {'dir': self.dir, 'user': subprocess.check_output(['id', '-un'], text=True).strip(), 'secret': SECRET_KEY}
        self.write('swift.conf', SWIFT_CONF)
        for kind in self.kinds:
            self.write(f'{kind}.conf', STORE_CONF.format(kind=kind, port=self.ports[kind], **values))
        self.run('/usr/bin/python3', '-c', RINGS, *(f'{kind}={self.ports[kind]}' for kind in self.kinds))
        self.write('proxy.conf', PROXY_CONF.format(port=self.port, memcached=self.ports['memcached'], **values))

    def spawn(self, *command):
        with open(os.path.join(self.dir, 'log'), 'ab') as log:
            self.processes.append(subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.dir,
                                                   env=self.process_environment(), start_new_session=True))

    def start(self):
        user = ['-u', 'root'] if os.geteuid() == 0 else []
        self.spawn('memcached', '-l', '127.0.0.1', '-p', str(self.ports['memcached']), '-U', '0', '-m', '16', *user)
        for kind in self.kinds:
            self.spawn(f'swift-{kind}-server', os.path.join(self.dir, 'etc', f'{kind}.conf'))
        self.spawn('swift-proxy-server', os.path.join(self.dir, 'etc', 'proxy.conf'))
        wait_for('Swift', self.up, START_S)
        return self

    def up(self):
        if any(p.poll() is not None for p in self.processes):
            raise AssertionError('Swift ended: ' + self.log())
        try:
            for port in (self.port, *(self.ports[k] for k in self.kinds)):
                path = '/healthcheck' if port == self.port else '/recon/version'
                with contextlib.suppress(urllib.error.HTTPError):
                    urllib.request.urlopen(f'http://127.0.0.1:{port}{path}', timeout=5).close()
            return True
        except OSError:
            return False

    def kill9(self):
        """All of it, as a machine that loses power would, but for its disks."""
        for p in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(p.pid, signal.SIGKILL)
            p.wait()
        self.processes = []

    def log(self):
        with open(os.path.join(self.dir, 'log'), encoding='utf-8', errors='replace') as f:
            return f.read()[-4000:]


class FaultySwift(Swift):
    """The same behind a proxy that injects faults."""

    def __enter__(self):
        super().__enter__()
        self.proxy = FaultProxy(self.port, 's3', share=10)
        self.proxy.__enter__()
        return self

    def __exit__(self, *exc):
        if getattr(self, 'proxy', None):
            self.proxy.__exit__()
        super().__exit__()

    def environment(self):
        return {**super().environment(), 'CARAT_S3': self.proxy.endpoint, 'CARAT_FAULTS': '1'}
