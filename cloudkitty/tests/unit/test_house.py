# SPDX-License-Identifier: Apache-2.0
"""Rules of the house that no other tool checks."""

import ast
import pathlib
import re

import pytest

import cloudkitty

ROOT = pathlib.Path(cloudkitty.__file__).parents[1]
MODULES = sorted((ROOT / 'cloudkitty').rglob('*.py'))
SCRIPTS = sorted(
    path for folder in ('tools', 'benchmarks', '.ci') for path in (ROOT / folder).glob('*') if path.is_file()
)
#: A sum, an average or an order of amounts by the database: on SQLite they would be floats, or texts.
PLAIN_SUM = re.compile(r'func\.(sum|avg|min|max)\(\s*[\w.]*\b(qty|price|rate|cost|level)\b')


def name_of(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize('path', MODULES + SCRIPTS, ids=name_of)
def test_every_source_file_names_its_licence(path):
    lines = path.read_text().splitlines()
    assert '# SPDX-License-Identifier: Apache-2.0' in lines[: 2 if lines[0].startswith('#!') else 1]


@pytest.mark.parametrize(
    'path', [path for path in MODULES if 'tests' not in path.parts and path.stat().st_size > 100], ids=name_of
)
def test_every_module_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_amounts_are_summed_by_the_exact_sum_only():
    assert [name_of(path) for path in MODULES if PLAIN_SUM.search(path.read_text())] == []
