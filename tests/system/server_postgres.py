"""A PostgreSQL server of a test's own, on a socket in a directory of its own."""
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent.parent / 'servers/postgres.sh'


class Postgres:
    """A context manager; `conninfo` is what libpq needs."""

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix='carat-pg-')
        os.chmod(self.dir, 0o755)
        self.conninfo = f'host={self.dir} dbname=carat user=carat'
        self.start()
        return self

    def __exit__(self, *exc):
        self._run('stop', check=False)
        shutil.rmtree(self.dir, ignore_errors=True)

    def _run(self, verb, check=True):
        subprocess.run([SCRIPT, verb, self.dir], check=check, timeout=60, stdout=subprocess.DEVNULL,
                       stderr=None if check else subprocess.DEVNULL)

    def start(self):
        self._run('start')

    def kill9(self):
        self._run('kill')

    def settings(self):
        """Of a carat that uses it."""
        return ['catalog.backend=postgres', f'catalog.postgres={self.conninfo}']

    def environment(self):
        """Of a test program."""
        return {'CARAT_TEST_POSTGRES': self.conninfo}

    def sql(self, text):
        """Rows of text."""
        r = subprocess.run(['psql', '-X', '-A', '-t', '-c', text, self.conninfo], check=True, timeout=30,
                           capture_output=True, text=True)
        return r.stdout.split()
