# SPDX-License-Identifier: Apache-2.0
"""Reads the pages of the documentation: the commands that they print, and what these are to answer.

A block ``.. code-block:: console`` holds commands behind ``$`` (as root: ``#``), their further lines behind ``>`` or
after a backslash, and what they answer, where ``...`` stands for anything. A comment ``.. not run: why`` before a block
says why no test runs it.
"""

from collections.abc import Iterator
import csv
import dataclasses
import itertools
import pathlib
import re

import cloudkitty

ROOT = pathlib.Path(cloudkitty.__file__).parents[1]
DOCUMENTS = ROOT / 'doc/source'
PAGES = sorted(DOCUMENTS.rglob('*.rst'))

#: Pages whose commands a test runs, but for those that say why not.
RUN = (
    'quickstart.rst',
    'admin/install.rst',
    'admin/upgrade.rst',
    'user/client.rst',
    'user/hashmap.rst',
    'user/pyscripts.rst',
    'user/quotes.rst',
)
_NOT_RUN = '.. not run: '


@dataclasses.dataclass(frozen=True)
class Command:
    """A command of a page.

    :ivar line: number of its first line, from 1.
    :ivar answer: lines that the page says it prints.
    :ivar reason: why no test runs it; empty: one may.
    """

    page: str
    line: int
    text: str
    answer: tuple[str, ...]
    reason: str = ''


@dataclasses.dataclass(frozen=True)
class Block:
    """A literal block of a page: its language, lines without their indentation, and the number of the first."""

    kind: str
    line: int
    lines: tuple[str, ...]
    reason: str


def name_of(page: pathlib.Path) -> str:
    return str(page.relative_to(DOCUMENTS))


def list_blocks(page: pathlib.Path) -> Iterator[Block]:
    """Yield the code blocks of *page*."""
    lines = page.read_text().splitlines()
    reason = ''
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if line.strip().startswith(_NOT_RUN):
            reason = line.strip().removeprefix(_NOT_RUN)
        elif found := re.match(r'( *)\.\. code-block:: ([\w-]+)$', line):
            first = number + 1
            margin = len(lines[first]) - len(lines[first].lstrip())
            number = first
            while number < len(lines) and (not lines[number].strip() or lines[number].startswith(' ' * margin)):
                number += 1
            body = '\n'.join(text[margin:] for text in lines[first:number]).rstrip().splitlines()
            yield Block(found.group(2), first + 1, tuple(body), reason)
            reason = ''
        elif line.strip() and not line.startswith(' '):
            reason = ''


def list_commands(page: pathlib.Path) -> Iterator[Command]:
    """Yield the commands of *page*."""
    for block in list_blocks(page):
        if block.kind != 'console':
            continue
        commands: list[tuple[int, list[str], list[str]]] = []
        for number, line in enumerate(block.lines, block.line):
            if line.startswith(('$ ', '# ')):
                commands.append((number, [line[2:]], []))
            elif line == '>' or line.startswith('> '):
                commands[-1][1].append(line[2:])
            elif commands and commands[-1][1][-1].endswith('\\'):
                commands[-1][1].append(line)
            else:
                commands[-1][2].append(line)
        for number, words, answer in commands:
            # A remark behind a command is not its.
            text = re.sub(r' {2,}# .*$', '', '\n'.join(words))
            yield Command(name_of(page), number, text, tuple(answer), block.reason)


def list_tables(page: pathlib.Path) -> list[tuple[int, list[dict[str, str]]]]:
    """Return (number of its line, rows by column) of each ``csv-table`` of *page*."""
    found = []
    lines = page.read_text().splitlines()
    for number, line in enumerate(lines):
        if not line.startswith('.. csv-table::'):
            continue
        rest = lines[number + 1 :]
        end = rest.index('')
        options = dict(text.strip()[1:].split(': ', 1) for text in rest[:end])
        rows = [text.strip() for text in itertools.takewhile(str.strip, rest[end + 1 :])]
        header = next(csv.reader([options['header']], skipinitialspace=True))
        found.append((number, [dict(zip(header, row, strict=True)) for row in csv.reader(rows, skipinitialspace=True)]))
    return found
