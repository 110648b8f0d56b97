"""What a new user does: a first metric in and out by every door, a restart, a stop."""
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

import carat

ROOT = Path(__file__).resolve().parent.parent.parent
NOW = int(time.time()) // 60 * 60


class FirstMetric(unittest.TestCase):
    def test_graphite_tcp(self):
        with carat.Carat() as c:
            c.graphite_send(f'servers.web.load 1.5 {NOW}\n')
            carat.wait_for('the point', lambda: c.value_at('servers.web.load', NOW) == 1.5)
            self.assertEqual(c.metric('carat_points_received_total'), 1)

    def test_graphite_udp(self):
        with carat.Carat() as c:
            c.udp_send(f'a.udp 7 {NOW}\nb.udp 8 {NOW}\n')
            carat.wait_for('the points', lambda: c.value_at('a.udp', NOW) == 7 and c.value_at('b.udp', NOW) == 8)

    def test_mackerel_json(self):
        with carat.Carat() as c:
            status, body = c.post_json('/api/v0/tsdb', [{'hostId': 'h1', 'name': 'loadavg1', 'time': NOW, 'value': 0.1}])
            self.assertEqual((status, json.loads(body)), (200, {'success': True}))
            carat.wait_for('the point', lambda: c.value_at('host.h1.loadavg1', NOW) == 0.1)
            status, body = c.get(f'/api/v0/hosts/h1/metrics?name=loadavg1&from={NOW}&to={NOW}')
            self.assertEqual((status, json.loads(body)), (200, {'metrics': [{'time': NOW, 'value': 0.1}]}))

    def test_carat_query_shows_it(self):
        with carat.Carat() as c:
            c.graphite_send(f'q.value 42.25 {NOW - 60}\n')
            carat.wait_for('the point', lambda: c.value_at('q.value', NOW - 60) == 42.25)
            for form, wanted in (('table', '42.25'), ('chart', 'q.value'), ('json', '"q.value"'), ('csv', 'q.value,')):
                r = subprocess.run([carat.BINARY, 'query', 'q.value', '--url', c.url(''), '--format', form],
                                   capture_output=True, text=True, timeout=30)
                self.assertEqual((r.returncode, r.stderr), (0, ''))
                self.assertIn(wanted, r.stdout)
            r = subprocess.run([carat.BINARY, 'query', 'nosuch(a)', '--url', c.url('')], capture_output=True, text=True, timeout=30)
            self.assertEqual(r.returncode, 1)
            self.assertIn('the server says:', r.stderr)

    def test_readme_example(self):
        """The curl lines of the README, on the ports of this test."""
        readme = (ROOT / 'README.md').read_text()
        block = re.search(r'```sh\n((?:(?!```).)*?curl(?:(?!```).)*)```', readme, re.S).group(1)
        with carat.Carat() as c:
            script = block.replace(':8012', f':{c.http_port}').replace('/2003', f'/{c.graphite_port}')
            script = script.replace('script/server', 'true')
            script = re.sub(r'\bbuild/carat query\b', f'{carat.BINARY} query --url {c.url("")}', script)
            carat.wait_for('an answer with the point', lambda: '21.5' in subprocess.run(
                ['bash', '-c', script], capture_output=True, text=True, timeout=30, cwd=c.dir).stdout)


class Life(unittest.TestCase):
    def test_restart_keeps_points(self):
        with carat.Carat() as c:
            for i in range(50):
                self.assertEqual(c.post_points('h', [(f'custom.n{i}', NOW - 60 * k, i + k) for k in range(5)]), 200)
            for _ in range(2):
                c.restart()
                for i in (0, 17, 49):
                    got = c.render(f'host.h.custom.n{i}', NOW - 600, NOW + 60)[f'host.h.custom.n{i}']
                    self.assertEqual(got, {NOW - 60 * k: i + k for k in range(5)})

    def test_kill9_keeps_acknowledged_points(self):
        with carat.Carat() as c:
            self.assertEqual(c.post_points('h', [('custom.a', NOW, 5)]), 200)
            c.kill9()
            c.start()
            self.assertEqual(c.value_at('host.h.custom.a', NOW), 5)

    def test_sigterm_and_sigint_stop_cleanly(self):
        for sig in (carat.signal.SIGTERM, carat.signal.SIGINT):
            with carat.Carat() as c:
                c.graphite_send(f'a.b 1 {NOW}\n')
                idle = c.graphite()  # an open connection does not hold it up
                self.assertEqual(c.stop(sig), 0, c.log())
                idle.close()

    def test_status_pages(self):
        with carat.Carat() as c:
            self.assertEqual(c.get('/healthz')[0], 200)
            self.assertEqual(c.get('/readyz')[0], 200)
            self.assertEqual(c.get('/nothing/here')[0], 404)
            self.assertIn('message', json.loads(c.get('/nothing/here')[1])['error'])

    def test_metrics_are_as_documented(self):
        """Every carat_* name in doc/operation.md is there, and every one that is there is in it. Those of other
        backends are shown only with them."""
        documented = set(re.findall(r'`(carat_\w+)', (ROOT / 'doc/operation.md').read_text()))
        with carat.Carat(['agent.enabled=true', 'watch.store=true']) as c:
            c.graphite_send(f'a.b 1 {NOW}\n')
            carat.wait_for('the point', lambda: c.value_at('a.b', NOW) == 1)
            shown = set(re.findall(r'^# TYPE (carat_\w+)', c.get('/metrics')[1].decode(), re.M))
        documented = {n for n in documented if not n.startswith(('carat_aws_', 'carat_redis_', 'carat_s3_', 'carat_dynamodb_',
                                                                 'carat_jetstream_', 'carat_kinesis_', 'carat_leases_',
                                                                 'carat_stream_reconnects_', 'carat_stream_retries_', 'carat_stream_unknown_'))}
        self.assertEqual((sorted(documented - shown), sorted(shown - documented)), ([], []))

    def test_script_server_as_a_new_user_runs_it(self):
        with tempfile.TemporaryDirectory(prefix='carat-clone-') as tmp:
            clone = os.path.join(tmp, 'carat')
            listed = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard'], cwd=ROOT, check=True,
                                    capture_output=True, text=True).stdout.splitlines()
            for f in listed:
                if (ROOT / f).is_file():
                    os.makedirs(os.path.dirname(os.path.join(clone, f)), exist_ok=True)
                    shutil.copy2(ROOT / f, os.path.join(clone, f))
            http, graphite = carat.free_port(), carat.free_port()
            with open(os.path.join(tmp, 'log'), 'wb') as log:
                p = subprocess.Popen([clone + '/script/server', '--set', f'http.listen=127.0.0.1:{http}', '--set',
                                      f'graphite.listen=127.0.0.1:{graphite}'], cwd=clone, stdout=log, stderr=log)
            try:
                c = carat.Carat()
                c.process, c.http_port, c.log_path = p, http, os.path.join(tmp, 'log')
                carat.wait_for('script/server to be ready', lambda: c._up('/readyz'), 300)
                self.assertTrue(os.path.isdir(clone + '/data'))
                p.terminate()
                self.assertEqual(p.wait(carat.STOP_S), 0)
            finally:
                p.kill()
                p.wait()
                shutil.rmtree(c.dir)
