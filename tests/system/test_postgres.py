"""The catalog in PostgreSQL, with the real server."""
import json
import os
import subprocess
import tempfile
import time
import unittest

import carat
from server_postgres import Postgres

NOW = int(time.time()) // 60 * 60


class CatalogInPostgres(unittest.TestCase):
    def test_points_go_in_and_out_and_survive_the_loss_of_the_database(self):
        with Postgres() as pg, carat.Carat(['catalog.backend=postgres', f'catalog.postgres={pg.conninfo}']) as c:
            self.assertEqual(c.post_points('h', [('custom.a', NOW, 1), ('custom.b', NOW, 2)]), 200)
            self.assertEqual(pg.sql('SELECT name FROM carat_series ORDER BY name'), ['host.h.custom.a', 'host.h.custom.b'])
            pg.kill9()
            # Known series go on; a new one is asked for again later.
            self.assertEqual(c.post_points('h', [('custom.a', NOW - 60, 3)]), 200)
            status, body = c.post_json('/api/v0/tsdb', [{'hostId': 'h', 'name': 'custom.new', 'time': NOW, 'value': 4}])
            self.assertEqual(status, 503)
            self.assertIn('catalog', json.loads(body)['error']['message'])
            c.graphite_send_later = c.graphite()
            c.graphite_send_later.sendall(f'waits.for.it 5 {NOW}\n'.encode())
            carat.wait_for('the point', lambda: c.value_at('host.h.custom.a', NOW - 60) == 3)
            pg.start()
            carat.wait_for('the new series', lambda: c.post_points('h', [('custom.new', NOW, 4)]) == 200)
            carat.wait_for('the line that waited', lambda: c.value_at('waits.for.it', NOW) == 5)
            c.graphite_send_later.close()
            c.kill9()
            c.start()
            for name, value in (('host.h.custom.a', 1), ('host.h.custom.b', 2), ('host.h.custom.new', 4), ('waits.for.it', 5)):
                self.assertEqual(c.value_at(name, NOW), value, name)

    def test_what_is_wrong_is_said_without_the_password(self):
        with tempfile.NamedTemporaryFile('w', prefix='carat-secret-') as f:
            f.write('hunter2\n')
            f.flush()
            os.chmod(f.name, 0o600)
            cases = [(['catalog.backend=postgress'], 'expected sqlite or postgres'),
                     (['catalog.backend=postgres', 'catalog.postgres=host=/nowhere password=hunter2'], 'postgres_password_file'),
                     (['catalog.backend=postgres', 'catalog.postgres=host=/nowhere', f'catalog.postgres_password_file={f.name}'],
                      'PostgreSQL')]
            for settings, words in cases:
                with self.assertRaises(carat.Refused) as e, carat.Carat(settings):
                    pass
                self.assertIn(words, str(e.exception))
                self.assertNotIn('hunter2', str(e.exception))
            r = subprocess.run([carat.BINARY, 'serve', '--print-config', '--set', f'catalog.postgres_password_file={f.name}'],
                               capture_output=True, text=True, timeout=30)
            self.assertNotIn('hunter2', r.stdout + r.stderr)
