"""Writes sigv4_vectors.h: what botocore signs, with a clock that stands still. Needs python3-botocore, no network.

usage: python3 tests/unit/sigv4_vectors.py >tests/unit/sigv4_vectors.h && clang-format -i tests/unit/sigv4_vectors.h"""
import datetime
import hashlib
import json
from urllib.parse import quote, unquote

import botocore.auth
import botocore.awsrequest
import botocore.credentials

KEY = ('AKIDEXAMPLE', 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY')
TIME = datetime.datetime(2015, 8, 30, 12, 36, 0)


class Frozen(datetime.datetime):
    now_is = TIME

    @classmethod
    def utcnow(cls):
        return cls.now_is


class Clock:
    """What botocore.auth takes for the module datetime; newer versions ask a function of their own."""
    datetime = Frozen


botocore.auth.datetime = Clock
botocore.auth.get_current_datetime = Frozen.utcnow

J = 'application/x-amz-json-1.0'
D = 'DynamoDB_20120810.'
# service, region, method, host, path, query, headers, body, token, time
CASES = [
    ('service', 'us-east-1', 'GET', 'example.amazonaws.com', '/', [], [], b'', None),
    ('service', 'us-east-1', 'POST', 'example.amazonaws.com', '/', [], [('content-type', 'text/plain')], b'Param1=value1', None),
    ('service', 'us-east-1', 'GET', 'example.amazonaws.com', '/', [('Param2', 'value2'), ('Param1', 'value1')], [], b'', None),
    ('service', 'us-east-1', 'GET', 'example.amazonaws.com', '/', [('a-b', '1'), ('ab', '2'), ('a', '3'), ('A', '4'), ('a b', '5')], [], b'', None),
    ('service', 'us-east-1', 'GET', 'example.amazonaws.com', '/a b/ሴ/c%20d', [], [], b'', None),
    ('service', 'us-east-1', 'GET', 'example.amazonaws.com', '/', [], [('My-Header1', '  a   b  c '), ('My-Header', 'x')], b'', None),
    ('dynamodb', 'eu-west-1', 'POST', 'dynamodb.eu-west-1.amazonaws.com', '/', [],
     [('content-type', J), ('x-amz-target', D + 'ListTables')], b'{}', None),
    ('dynamodb', 'us-east-1', 'POST', '127.0.0.1:8000', '/', [], [('content-type', J), ('x-amz-target', D + 'BatchWriteItem')],
     b'{"RequestItems":{"t":[]}}', 'FwoGZXIvYXdzEJr//////////wEaDEXAMPLE+token/with=signs'),
    ('kinesis', 'ap-northeast-1', 'POST', 'kinesis.ap-northeast-1.amazonaws.com', '/', [],
     [('content-type', 'application/x-amz-json-1.1'), ('x-amz-target', 'Kinesis_20131202.PutRecords')], bytes(range(256)) * 40, None),
    ('s3', 'us-east-1', 'GET', 'examplebucket.s3.amazonaws.com', '/test.txt', [], [('range', 'bytes=0-9')], b'', None),
    ('s3', 'us-east-1', 'PUT', 'examplebucket.s3.amazonaws.com', '/test$file.text', [],
     [('x-amz-storage-class', 'REDUCED_REDUNDANCY')], b'Welcome to Amazon S3.', None),
    ('s3', 'us-east-1', 'GET', 'examplebucket.s3.amazonaws.com', '/', [('lifecycle', '')], [], b'', None),
    ('s3', 'us-east-1', 'GET', 'examplebucket.s3.amazonaws.com', '/', [('max-keys', '2'), ('prefix', 'J')], [], b'', None),
    ('s3', 'us-east-1', 'GET', '127.0.0.1:9000', '/cold/a key/with+plus=equals:colon@at,comma;semi(paren)\'quote*star!', [], [], b'', None),
    ('s3', 'us-east-1', 'PUT', '127.0.0.1:9000', '/cold/köln/東京/~tilde-dash_under.dot', [], [], b'x', None),
    ('s3', 'us-east-1', 'GET', '127.0.0.1:9000', '/cold//double//slash/./dot/../dots', [], [], b'', None),
    ('s3', 'us-east-1', 'GET', '127.0.0.1:9000', '/cold/100%25/%2F', [], [], b'', None),
    ('s3', 'eu-central-1', 'GET', 'cold.s3.eu-central-1.amazonaws.com', '/', [('list-type', '2'), ('prefix', 'carat/a+b/é/'), (
        'continuation-token', '1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM='), ('delimiter', '/')], [], b'', None),
    ('s3', 'us-east-1', 'POST', '127.0.0.1:9000', '/cold/0000000000000001.pack', [('uploads', '')], [], b'', None),
    ('s3', 'us-east-1', 'PUT', '127.0.0.1:9000', '/cold/0000000000000001.pack', [('uploadId', 'VXBsb2FkIElE/+='), ('partNumber', '10')],
     [], b'part' * 1000, None),
    ('s3', 'us-east-1', 'PUT', '127.0.0.1:9000', '/cold/manifest-0000000000000001', [],
     [('if-none-match', '*'), ('x-amz-meta-test', 'a'), ('x-amz-meta-test-two', 'b')], b'm', 'session/token=='),
]


def c_string(b):
    if isinstance(b, str):
        b = b.encode()
    return '"' + ''.join(chr(c) if 32 <= c < 127 and c not in b'"\\?' else '\\%03o' % c for c in b) + '"'


def sign(case, when):
    service, region, method, host, path, query, headers, body, token = case
    Frozen.now_is = when
    safe = '/~'
    url = f'http://{host}{quote(path, safe=safe)}'
    if query:
        url += '?' + '&'.join(f'{quote(k, safe="-_.~")}={quote(v, safe="-_.~")}' for k, v in query)
    request = botocore.awsrequest.AWSRequest(method=method, url=url, headers=dict(headers, Host=host), data=body)
    credentials = botocore.credentials.Credentials(*KEY, token)
    kind = botocore.auth.S3SigV4Auth if service == 's3' else botocore.auth.SigV4Auth
    signer = kind(credentials, service, region)
    if service == 's3':
        request.context['payload_signing_enabled'] = True
        request.context['client_config'] = None
    signer.add_auth(request)
    assert unquote(request.url.split('?')[0].split(host, 1)[1]) == path
    return request.headers['Authorization']


def pairs(v):
    return '{' + ', '.join(f'{{{c_string(a)}, {c_string(b)}}}' for a, b in v) + '}' if v else '{{NULL, NULL}}'


print('/* Written by sigv4_vectors.py: what botocore answers. */')
print('#ifndef CARAT_TESTS_SIGV4_VECTORS_H\n#define CARAT_TESTS_SIGV4_VECTORS_H\n')
print('#include "aws/sigv4.h"\n')
print(f'#define VECTOR_ID {c_string(KEY[0])}\n#define VECTOR_SECRET {c_string(KEY[1])}\n')
print('''struct vector {
    const char *service, *region, *method, *host, *path;
    struct aws_pair query[8];
    struct aws_pair headers[8];
    size_t nquery, nheaders;
    const char *body_hash, *token;
    int64_t time_ms;
    const char *authorization;
};
static const struct vector vectors[] = {''')
TIMES = [TIME, datetime.datetime(2026, 2, 28, 23, 59, 59), datetime.datetime(2028, 2, 29, 0, 0, 1)]
for i, case in enumerate(CASES):
    when = TIME if i < 3 else TIMES[i % 3]
    service, region, method, host, path, query, headers, body, token = case
    ms = int(when.replace(tzinfo=datetime.timezone.utc).timestamp() * 1000) + 123 * (i % 2)
    print('{', ', '.join(c_string(x) for x in (service, region, method, host, path)), ',', pairs(query), ',', pairs(headers), ',',
          f'{len(query)}, {len(headers)},', c_string(hashlib.sha256(body).hexdigest()), ',', c_string(token) if token else 'NULL', ',',
          f'{ms}, {c_string(sign(case, when))}', '},')
print('};\n\n#endif')
