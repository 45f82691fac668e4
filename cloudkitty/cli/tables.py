# SPDX-License-Identifier: Apache-2.0
"""What commands print: a table for people, JSON for programs."""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import json
from typing import Any

TABLE, JSON = 'table', 'json'


def add_argument(parser: Any) -> None:
    """Have *parser* of a sub-command take ``--format``."""
    parser.add_argument('--format', choices=(TABLE, JSON), default=TABLE, help='Of what is printed; default: table.')


def render(columns: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> str:
    """Return *rows* as a table.

    :param columns: title of each to how it is aligned, ``l`` or ``r``.
    """
    # Here, for --help and --version need none of it.
    import prettytable

    table = prettytable.PrettyTable(list(columns))
    for title, side in columns.items():
        table.align[title] = 'r' if side == 'r' else 'l'
    table.add_rows([list(row) for row in rows])
    return str(table)


def to_json(value: Any) -> str:
    """Return *value* as JSON text."""
    return json.dumps(value, indent=2, ensure_ascii=False)
