"""The mechanical rules of CONTRIBUTING.md; each rule is one case. Ends with "N passed, N failed".

usage: check.py [--count FILE] [RULE...]"""
import argparse
import concurrent.futures
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
MAX_COLUMNS = {'.c': 120, '.h': 120}  # clang-format keeps code to 110; strings may stick out
MAX_COLUMNS_ELSE = 150
# Lists of requests, one a line.
MAY_BE_WIDE = {'tests/system/graphite_requests.py', 'tests/system/graphite_compare.py'}
MAX_LINES = 800

# A folder's files may include headers of their own folder and of those listed. Downward only: every folder
# stands below those it may use.
BASE = {'base'}
DATA = BASE | {'model'}
MAY_INCLUDE = {
    'base': set(),
    'aws': BASE,
    'model': BASE,
    'codec': DATA,
    'pg': BASE,
    'redis': BASE,
    'catalog': DATA | {'pg'},
    'lease': BASE | {'pg'},
    'stream': DATA,
    'hot': DATA | {'codec', 'redis'},
    'warm': DATA | {'aws', 'codec'},
    'cold': DATA | {'aws', 'codec', 'warm'},
    'mover': DATA | {'codec', 'warm', 'cold'},
    'ingest': DATA | {'catalog', 'stream'},
    'writer': DATA | {'codec', 'catalog', 'stream', 'hot', 'warm'},
    'erase': DATA | {'codec', 'catalog', 'stream', 'warm', 'cold', 'writer'},
    'backup': DATA | {'catalog', 'stream', 'warm'},
    'reader': DATA | {'codec', 'catalog', 'hot', 'warm'},
    'draw': BASE,
    'query': DATA | {'draw', 'catalog', 'reader'},
    'cost': BASE,
    'http': DATA | {'backup', 'catalog', 'cost', 'ingest', 'reader', 'query'},
    'agent': DATA | {'ingest'},
    'watch': DATA | {'catalog', 'ingest'},
    'server': DATA | {
        'watch', 'backup', 'cold', 'erase', 'mover', 'codec', 'catalog', 'stream', 'hot', 'warm', 'ingest', 'writer',
        'reader', 'query', 'http', 'agent', 'lease', 'aws',
    },
    'cli': DATA | {'watch', 'cost', 'agent', 'backup', 'codec', 'cold', 'query', 'server'},
    '.': {'cli'},
}
# Headers of one backend: for the folder they are in, for src/server, and for tests.
BACKEND = re.compile(r'^(stream/stream|hot/hot|warm/warm|catalog/store|cold/object|lease/kv)'
                     r'_(mem|log|rocksdb|sqlite|fault|redis|postgres|jetstream|kinesis|dynamodb|s3)\.h$')
# Only implementers see these.
IMPL = re.compile(r'_impl\.h$')
# A composite implements the interface of the folder above it.
MAY_IMPLEMENT = {('src/cold/warm_tiered.c', 'warm/warm_impl.h')}

BANNED = {
    'strcpy': 'snprintf or memcpy', 'strcat': 'struct buf', 'sprintf': 'snprintf', 'vsprintf': 'vsnprintf',
    'strtok': 'strsep', 'gets': 'fgets', 'alloca': 'an array or the heap', 'time': 'base/clock.h',
    'rand': 'a generator with a seed', 'srand': 'a generator with a seed', 'atof': 'strtod',
}
CALL = re.compile(r'(?<![\w.>])(' + '|'.join(BANNED) + r')\s*\(')
MAY_CALL = {('src/base/clock.c', 'time')}
INCLUDE = re.compile(r'^#include "([^"]+)"', re.M)


def files(*patterns):
    """Files of the repository, also new ones, without what .gitignore names."""
    out = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard', '--', *patterns], cwd=ROOT, check=True,
                         capture_output=True, text=True).stdout
    return sorted({f for f in out.splitlines() if (ROOT / f).is_file()})


def text(path):
    return (ROOT / path).read_text(encoding='utf-8')


def code(path):
    """The text with comments and strings blanked, lines kept."""
    blank = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
    return blank.sub(lambda m: re.sub(r'[^\n]', ' ', m.group()), text(path))


def folder(path):
    parts = path.split('/')
    return parts[1] if len(parts) > 2 else '.'


def run(command):
    r = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return r.returncode, r.stdout + r.stderr


def parallel(commands):
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(run, commands))


def headers_alone(compiler):
    """Every header compiles by itself."""
    headers = files('src/*.h')
    flags = ['-x', 'c', '-std=gnu11', '-D_GNU_SOURCE', '-DCARAT_VERSION="0"', '-Wall', '-Wextra', '-Werror',
             '-Wno-unused-parameter', '-Wno-unused-function', '-Isrc', '-fsyntax-only']
    pragma = ['-Wno-pragma-once-outside-header'] if compiler == 'clang' else []
    results = parallel([[compiler, *flags, *pragma, h] for h in headers])
    return [f'{h}: {out.strip().splitlines()[0]}' for h, (rc, out) in zip(headers, results) if rc]


def headers_alone_gcc():
    """Every header compiles alone with gcc."""
    return headers_alone('gcc')


def headers_alone_clang():
    """Every header compiles alone with clang."""
    return headers_alone('clang')


def include_direction():
    """Folders include downward only, by the table above."""
    bad = []
    for f in files('src/*.c', 'src/*.h'):
        here = folder(f)
        for inc in INCLUDE.findall(text(f)):
            there = inc.split('/')[0]
            if '/' not in inc:
                bad.append(f'{f}: "{inc}" has no folder')
            elif here not in MAY_INCLUDE:
                bad.append(f'{f}: folder {here} is not in the table')
            elif there != here and there not in MAY_INCLUDE[here]:
                bad.append(f'{f}: {here} may not include {inc}')
    return bad


def edges_have_no_cycle():
    """The table itself goes downward only."""
    order = list(MAY_INCLUDE)
    return [f'{a} may include {b}, which does not stand below it' for i, a in enumerate(order) for b in MAY_INCLUDE[a]
            if b not in order[:i] and a != '.']


def backends_by_name():
    """Only src/server and tests know backends by name; *_impl.h is for its own folder."""
    bad = []
    for f in files('src/*.c', 'src/*.h'):
        for inc in INCLUDE.findall(text(f)):
            own = inc.split('/')[0] == folder(f)
            if (BACKEND.search(inc) and not own and folder(f) != 'server') or (IMPL.search(inc) and not own and (f, inc) not in MAY_IMPLEMENT):
                bad.append(f'{f}: includes {inc}')
    return bad


def include_guards():
    """A header's guard is CARAT_FOLDER_FILE_H."""
    bad = []
    for f in files('src/*.h'):
        name = 'CARAT_' + re.sub(r'[/.]', '_', f[4:]).upper()
        if f'#ifndef {name}\n#define {name}\n' not in text(f) and '#ifndef' in text(f):
            bad.append(f'{f}: guard is not {name}')
    return bad


def banned_calls():
    """No unsafe or untestable libc calls in src."""
    bad = []
    for f in files('src/*.c', 'src/*.h'):
        for n, line in enumerate(code(f).splitlines(), 1):
            bad += [f'{f}:{n}: {c}(): use {BANNED[c]}' for c in CALL.findall(line) if (f, c) not in MAY_CALL]
    return bad


def kill_points():
    """The kill points of src and the list in killpoint.c have the same names."""
    listed = re.findall(r'^    "([a-z_.]+)",$', text('src/base/killpoint.c'), re.M)
    used = {n for f in files('src/*.c') for n in re.findall(r'\bKILL_POINT\("([^"]*)"\)', text(f))}
    bad = [f'src/base/killpoint.c: {n} is there twice' for n in set(listed) if listed.count(n) > 1]
    return bad + [f'src/base/killpoint.c: {n} is {"used nowhere" if n in listed else "missing"}' for n in used ^ set(listed)]


def asserts_stay_on():
    """No NDEBUG anywhere."""
    sources = files('*.c', '*.h', 'meson.build', '*/meson.build')
    return [f'{f}: NDEBUG' for f in sources if re.search(r'\bNDEBUG\b', text(f))]


def formatted():
    """clang-format has nothing to change."""
    sources = files('*.c', '*.h')
    results = parallel([['clang-format', '--dry-run', '--Werror', f] for f in sources])
    return [f'{f}: run clang-format -i' for f, (rc, _) in zip(sources, results) if rc]


def lines():
    """Lines are short, end in LF, and have no trailing space or tab."""
    bad = []
    for f in files('*.c', '*.h', '*.py', '*.md', '*.build', 'script/*', '.ci/*'):
        for n, line in enumerate(text(f).split('\n'), 1):
            unbreakable = f in MAY_BE_WIDE or f.endswith('.md') and ('|' in line or 'http' in line)  # tables, links
            if len(line) > MAX_COLUMNS.get(Path(f).suffix, MAX_COLUMNS_ELSE) and not unbreakable:
                bad.append(f'{f}:{n}: {len(line)} columns')
            if line != line.rstrip() or '\t' in line:
                bad.append(f'{f}:{n}: trailing space or tab')
        if not text(f).endswith('\n') and text(f):
            bad.append(f'{f}: no newline at the end')
    return bad


def long_files():
    """Reported, never a failure: files that may hold two ideas."""
    for f in files('src/*.c', 'src/*.h', 'tests/*.c', 'tests/*.py'):
        n = text(f).count('\n')
        if n > MAX_LINES:
            print(f'  note: {f} has {n} lines: two ideas?')
    return []


def scripts_parse():
    """bash and python accept every script."""
    shell = [f for f in files('script/*', '.ci/*')]
    bad = [f'{f}: {out.strip()}' for f, (rc, out) in zip(shell, parallel([['bash', '-n', f] for f in shell])) if rc]
    for f in files('*.py'):
        try:
            compile(text(f), f, 'exec')
        except SyntaxError as e:
            bad.append(f'{f}:{e.lineno}: {e.msg}')
    return bad


def doc_links():
    """Relative links in the docs lead to files."""
    bad = []
    for f in files('*.md'):
        for target in re.findall(r'\]\(([^)#\s]+)', text(f)):
            if not target.startswith(('http:', 'https:')) and not (ROOT / f).parent.joinpath(target).exists():
                bad.append(f'{f}: {target} is not there')
    return bad


RULES = [headers_alone_gcc, headers_alone_clang, include_direction, edges_have_no_cycle, backends_by_name, include_guards,
         banned_calls, kill_points, asserts_stay_on, formatted, lines, long_files, scripts_parse, doc_links]


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--count', help='write "PASSED FAILED" here')
    p.add_argument('rules', nargs='*', metavar='RULE')
    a = p.parse_args()
    failed = 0
    chosen = [r for r in RULES if not a.rules or r.__name__ in a.rules]
    for rule in chosen:
        bad = rule()
        failed += bool(bad)
        print(('FAIL' if bad else 'ok  '), rule.__name__)
        print(''.join(f'       {b}\n' for b in bad), end='')
    if a.count:
        Path(a.count).write_text(f'{len(chosen) - failed} {failed}\n')
    print(f'{len(chosen) - failed} passed, {failed} failed')
    return 1 if failed else 0


sys.exit(main())
