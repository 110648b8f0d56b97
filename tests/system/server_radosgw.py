"""Ceph's S3 gateway on loopback: one monitor, one store in memory, one gateway. Checks signatures (version 4) and knows
conditional puts.

Debian's packages radosgw, ceph-mon and ceph-osd. The store is in memory: what was put is gone when the store ends."""
import contextlib
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid

from carat import free_port, wait_for

ACCESS_KEY = 'RGWACCESSKEY'
SECRET_KEY = 'rgwSECRETrgwSECRET'
START_S = 90

CONF = """[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{v2},v1:127.0.0.1:{v1}]
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon warn on pool no redundancy = false
osd objectstore = memstore
memstore device bytes = 2147483648
public network = 127.0.0.0/8
cluster network = 127.0.0.0/8
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind port min = {low}
ms bind port max = {high}
run dir = {dir}
admin socket = {dir}/$name.asok
log file = {dir}/$name.log
mon data = {dir}/mon
osd data = {dir}/osd
keyring = {dir}/keyring
pid file = {dir}/$name.pid
setuser match path =

[client.rgw.a]
keyring = {dir}/keyring
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw dns name = localhost
"""


class Radosgw:
    """A context manager."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix='carat-rgw-')
        self.port = free_port()
        self.processes = []

    @property
    def endpoint(self):
        return f'http://127.0.0.1:{self.port}'

    def environment(self):
        return {'CARAT_S3': self.endpoint, 'CARAT_S3_CONDITIONAL': '1', 'AWS_ACCESS_KEY_ID': ACCESS_KEY,
                'AWS_SECRET_ACCESS_KEY': SECRET_KEY}

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *exc):
        for p in reversed(self.processes):  # the gateway first, else it waits for the others
            p.terminate()
            try:
                p.wait(10)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def ceph_environment(self):
        return {'PATH': '/usr/sbin:/usr/bin:/sbin:/bin', 'LANG': 'C.UTF-8', 'CEPH_ARGS': f'--conf {self.dir}/ceph.conf'}

    def run(self, *command, seconds=60):
        r = subprocess.run(command, cwd=self.dir, env=self.ceph_environment(), capture_output=True, text=True, timeout=seconds)
        if r.returncode:
            raise AssertionError(f'{command}: {r.stderr[-2000:]}')
        return r.stdout

    def spawn(self, *command):
        with open(os.path.join(self.dir, 'out'), 'ab') as log:
            self.processes.append(subprocess.Popen(command, cwd=self.dir, env=self.ceph_environment(), stdout=log, stderr=log,
                                                   stdin=subprocess.DEVNULL))

    def start(self):
        fsid, v2, v1 = str(uuid.uuid4()), free_port(), free_port()
        low = free_port()
        with open(os.path.join(self.dir, 'ceph.conf'), 'w', encoding='utf-8') as f:
            f.write(CONF.format(fsid=fsid, v2=v2, v1=v1, low=low, high=low + 50, dir=self.dir, port=self.port))
        os.makedirs(os.path.join(self.dir, 'osd'))
        tool = ('ceph-authtool', 'keyring', '--gen-key')
        self.run('ceph-authtool', '--create-keyring', 'keyring', '--gen-key', '-n', 'mon.', '--cap', 'mon', 'allow *')
        self.run(*tool, '-n', 'client.admin', '--cap', 'mon', 'allow *', '--cap', 'osd', 'allow *', '--cap', 'mgr', 'allow *')
        self.run(*tool, '-n', 'osd.0', '--cap', 'mon', 'allow profile osd', '--cap', 'osd', 'allow *')
        self.run(*tool, '-n', 'client.rgw.a', '--cap', 'mon', 'allow rw', '--cap', 'osd', 'allow rwx')
        self.run('monmaptool', '--create', '--fsid', fsid, '--addv', 'a', f'[v2:127.0.0.1:{v2},v1:127.0.0.1:{v1}]', 'monmap')
        self.run('ceph-mon', '--mkfs', '-i', 'a', '--monmap', 'monmap', '--keyring', 'keyring')
        self.spawn('ceph-mon', '-i', 'a', '-f')
        osd = str(uuid.uuid4())
        self.retry(lambda: self.run('ceph', '--connect-timeout', '10', 'osd', 'new', osd))
        self.run('ceph-osd', '-i', '0', '--mkfs', '--osd-uuid', osd)
        self.spawn('ceph-osd', '-i', '0', '-f')
        self.run('radosgw-admin', 'user', 'create', '--uid=t', '--display-name=t', f'--access-key={ACCESS_KEY}',
                 f'--secret={SECRET_KEY}', seconds=START_S)
        self.spawn('radosgw', '-n', 'client.rgw.a', '-f')
        wait_for('radosgw', self.up, START_S)
        return self

    @staticmethod
    def retry(action, seconds=30):
        until = time.monotonic() + seconds
        while True:
            try:
                return action()
            except AssertionError:
                if time.monotonic() > until:
                    raise

    def up(self):
        if any(p.poll() is not None for p in self.processes):
            raise AssertionError('Ceph ended: ' + self.log())
        with contextlib.suppress(urllib.error.HTTPError):
            try:
                urllib.request.urlopen(self.endpoint, timeout=5).close()
            except urllib.error.HTTPError:
                raise
            except OSError:
                return False
        return True

    def log(self):
        with open(os.path.join(self.dir, 'out'), encoding='utf-8', errors='replace') as f:
            return f.read()[-4000:]
