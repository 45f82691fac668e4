# SPDX-License-Identifier: Apache-2.0
"""Bugs to plant, each of a kind that must never get into the service: the laboratory has to find them."""

import dataclasses
import random
import time


def plant(name, kind):
    """Plant the bug *name* into this process, which is a ``processor`` or an ``api``; None: none."""
    if name and kind == 'processor':
        BUGS[name]()


def compare_clocks_only():
    """A scope whose clock stands where it stood is taken for unchanged."""
    from cloudkitty.db import scopes
    from cloudkitty.storage import transaction

    lock = transaction.lock

    def lock_anyway(session, commit):
        epochs = scopes.lock(session, [change.state.guard_id for change in commit.changes])
        changes = [
            dataclasses.replace(
                change,
                state=dataclasses.replace(change.state, epoch=epochs.get(change.state.guard_id, change.state.epoch)),
            )
            for change in commit.changes
        ]
        return lock(session, dataclasses.replace(commit, changes=changes))

    transaction.lock = lock_anyway


def commit_clock_first():
    """The clock is committed before the points."""
    from cloudkitty.storage import transaction
    from cloudkitty.storage.sqlalchemy import commit as commits

    write, lock, finish = commits.write, transaction.lock, transaction.finish

    def write_in_two(database, memory, commit, *arguments):
        def run(session):
            taken = lock(session, commit)
            finish(session, commit, taken.guards)
            return taken

        if not any(change.moves_clock for change in commit.changes) or commit.steps:
            return write(database, memory, commit, *arguments)
        taken = database.repeat(run)
        time.sleep(0.1)
        changes = [change for change in commit.changes if change.state.scope.id in taken.guards]
        transaction.lock = lambda session, commit: taken
        transaction.finish = lambda *arguments: None
        try:
            return write(database, memory, dataclasses.replace(commit, changes=changes), *arguments)
        finally:
            transaction.lock, transaction.finish = lock, finish

    commits.write = write_in_two


def forget_roll_up():
    """What a correction changes is not added to the month."""
    from cloudkitty.storage.sqlalchemy import commit as commits

    merge = commits._merge_months

    def forget(session, edit, deltas):
        return ([], []) if edit.takes_out is not None else merge(session, edit, deltas)

    commits._merge_months = forget


def lock_unsorted():
    """Guards are locked in whatever order they come."""
    import sqlalchemy

    from cloudkitty.db import scopes

    def lock(session, ids):
        wanted = list(set(ids))
        random.shuffle(wanted)
        result = {}
        for number in wanted:
            query = sqlalchemy.select(scopes.Guard.id, scopes.Guard.epoch).where(scopes.Guard.id == number)
            result.update((row[0], row[1]) for row in session.execute(query.with_for_update()))
            time.sleep(0.2)
        return result

    scopes.lock = lock


def repair_with_todays_rules():
    """What failed is priced by the rules of the day on which it is mended."""
    from cloudkitty.processor import known_cells

    known_cells.Past.rule_set = lambda self, cell: None


BUGS = {
    'clock-only': compare_clocks_only,
    'clock-first': commit_clock_first,
    'forgotten-roll-up': forget_roll_up,
    'unsorted-locks': lock_unsorted,
    'todays-rules': repair_with_todays_rules,
}
