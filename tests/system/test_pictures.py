"""Charts from /render, as a chat or a mail would fetch them."""
import time
import unittest
import urllib.parse
import xml.etree.ElementTree
import zlib

import carat

NOW = int(time.time()) // 60 * 60


def pixels(png):
    """(width, height, distinct bytes of the first half) of an 8-bit PNG."""
    assert png[:8] == b'\x89PNG\r\n\x1a\n', png[:40]
    at, data, size = 8, b'', None
    while at < len(png):
        n, kind = int.from_bytes(png[at:at + 4], 'big'), png[at + 4:at + 8]
        body = png[at + 8:at + 8 + n]
        assert zlib.crc32(kind + body) == int.from_bytes(png[at + 8 + n:at + 12 + n], 'big')
        if kind == b'IHDR':
            size = int.from_bytes(body[:4], 'big'), int.from_bytes(body[4:8], 'big')
        data += body if kind == b'IDAT' else b''
        at += 12 + n
    return (*size, len(set(zlib.decompress(data))))


class Pictures(unittest.TestCase):
    def test_png_and_svg(self):
        with carat.Carat() as c:
            c.graphite_send(''.join(f'web.cpu {k % 60} {NOW - 60 * k}\n' for k in range(300)))
            carat.wait_for('the points', lambda: c.value_at('web.cpu', NOW) == 0)
            def get(**arguments):
                return c.get('/render?' + urllib.parse.urlencode({'target': 'web.cpu', 'from': '-5h', **arguments}))
            status, png = get(format='png', width=400, height=200, title='CPU')
            self.assertEqual(status, 200)
            self.assertEqual(pixels(png)[:2], (400, 200))
            self.assertGreater(pixels(png)[2], 5)  # not an empty sheet
            self.assertEqual(pixels(get()[1])[:2], (330, 250))  # Graphite's own size without a format
            status, svg = get(format='svg', hideLegend='false')
            self.assertEqual((status, xml.etree.ElementTree.fromstring(svg).tag.split('}')[1]), (200, 'svg'))
            for wrong in ({'width': '9'}, {'bgcolor': 'nocolour'}, {'graphType': 'pie'}, {'yMin': 'low'}):
                status, body = get(format='png', **wrong)
                self.assertEqual(status, 400, wrong)
                self.assertIn(next(iter(wrong)).encode(), body)
