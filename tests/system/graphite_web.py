"""A real graphite-web over the points a test gives it: whisper files, its tag database, gunicorn. Needs the Debian packages
graphite-web, gunicorn and python3-whisper, and Debian's own interpreter (/usr/bin/python3), which has their modules."""
import hashlib
import os
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request

import carat

PYTHON = '/usr/bin/python3'
GUNICORN = '/usr/bin/gunicorn'
ADMIN = '/usr/bin/django-admin'
RETENTION_DAYS = 460
WORKERS = 2

# Reads "PATH STEP\n" and the points "VALUE TIME\n" up to an empty line.
WHISPER_WRITER = f"""
import os, sys, whisper
for head in sys.stdin:
    path, step = head.rstrip('\\n').rsplit(' ', 1)
    points = []
    for line in sys.stdin:
        if line == '\\n':
            break
        value, at = line.split()
        points.append((int(at), float(value)))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    whisper.create(path, [(int(step), {RETENTION_DAYS * 86400} // int(step))], xFilesFactor=0.5, aggregationMethod="average", sparse=True)
    whisper.update_many(path, points)
"""

SETTINGS = """
import inspect
if not hasattr(inspect, 'getargspec'):  # taken out of Python 3.11; /functions needs them
    inspect.getargspec = lambda f: inspect.getfullargspec(f)[:4]
    def formatargspec(args, varargs, varkw, defaults):
        first = len(args) - len(defaults or ())
        parts = [a if i < first else '%s=%r' % (a, defaults[i - first]) for i, a in enumerate(args)]
        return '(' + ', '.join(parts + (['*' + varargs] if varargs else [])) + ')'
    inspect.formatargspec = formatargspec
SECRET_KEY = 'test'
ALLOWED_HOSTS = ['*']
STORAGE_DIR = {dir!r}
CONF_DIR = {dir!r}
LOG_DIR = {dir!r}
WHISPER_DIR = {dir!r} + '/whisper'
INDEX_FILE = {dir!r} + '/index'
STANDARD_DIRS = [WHISPER_DIR]
CARBONLINK_HOSTS = []
TIME_ZONE = 'UTC'
DEFAULT_CACHE_DURATION = 0
FIND_CACHE_DURATION = 0
TAGDB_CACHE_DURATION = 0
DEBUG = True
LOG_ROTATION = False
DATABASES = {{'default': {{'NAME': {dir!r} + '/graphite.db', 'ENGINE': 'django.db.backends.sqlite3'}}}}
"""


def missing():
    """What is not installed, in words, or None."""
    for program in (PYTHON, GUNICORN, ADMIN):
        if not os.path.exists(program):
            return program + ' is not there'
    if subprocess.run([PYTHON, '-c', 'import graphite, whisper'], capture_output=True).returncode:
        return 'the Python modules graphite and whisper are not there'
    return None


def whisper_path(name):
    if ';' not in name:
        return name.replace('.', '/') + '.wsp'
    h = hashlib.sha256(name.encode()).hexdigest()
    return f'_tagged/{h[:3]}/{h[3:6]}/{h}.wsp'


class GraphiteWeb:
    """A context manager; `series` is {canonical name: (step in seconds, [(time, value)])}."""

    def __init__(self, series):
        self.series = series
        self.process = None
        self.port = None

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix='carat-graphite-web-')
        try:
            self._files()
            self._serve()
            self._tags()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)
        shutil.rmtree(self.dir, ignore_errors=True)

    def environment(self):
        return dict(os.environ, PYTHONPATH=self.dir, GRAPHITE_SETTINGS_MODULE='local_settings',
                    DJANGO_SETTINGS_MODULE='graphite.settings', PYTHONWARNINGS='ignore')

    def _files(self):
        text = []
        for name, (step, points) in self.series.items():
            text.append(f'{self.dir}/whisper/{whisper_path(name)} {step}\n')
            text += [f'{v!r} {t}\n' for t, v in points]
            text.append('\n')
        subprocess.run([PYTHON, '-c', WHISPER_WRITER], input=''.join(text), text=True, check=True)

    def _serve(self):
        with open(self.dir + '/local_settings.py', 'w', encoding='utf-8') as f:
            f.write(SETTINGS.format(dir=self.dir))
        subprocess.run([ADMIN, 'migrate', '--run-syncdb'], env=self.environment(), check=True, capture_output=True)
        self.port = carat.free_port()
        with open(self.dir + '/stderr', 'wb') as log:
            self.process = subprocess.Popen(
                [GUNICORN, '--bind', f'127.0.0.1:{self.port}', '--workers', str(WORKERS), '--timeout', '15', '--chdir', self.dir,
                 'graphite.wsgi:application'], env=self.environment(), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        carat.wait_for('graphite-web to answer', self._up, 60)

    def _up(self):
        assert self.process.poll() is None, open(self.dir + '/stderr', encoding='utf-8').read()
        try:
            with urllib.request.urlopen(self.url('/version'), timeout=5) as a:
                return a.status == 200
        except OSError:
            return False

    def _tags(self):
        paths = [name for name in self.series if ';' in name]
        if paths:
            body = urllib.parse.urlencode([('path', p) for p in paths]).encode()
            urllib.request.urlopen(self.url('/tags/tagMultiSeries'), body, timeout=60).close()

    def url(self, path=''):
        return f'http://127.0.0.1:{self.port}{path}'
