"""Writes a text file as a NUL-terminated C array. usage: embed.py INPUT OUTPUT NAME HEADER"""
import sys

source, target, name, header = sys.argv[1:]
with open(source, 'rb') as f:
    data = f.read()
with open(target, 'w', encoding='ascii') as f:
    f.write(f'#include "{header}"\n\nconst char {name}[] = {{')
    for i, byte in enumerate(data + b'\0'):
        f.write(('\n    ' if i % 16 == 0 else ' ') + f'{byte},')
    f.write('\n};\n')
