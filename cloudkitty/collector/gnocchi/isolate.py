# SPDX-License-Identifier: Apache-2.0
"""Asking in parallel, and halving what fails until the part that fails is alone."""

from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import TypeVar

from cloudkitty.collector.gnocchi import requests

Part = TypeVar('Part')
Result = TypeVar('Result')

#: A part may be larger than an equal share by this factor before it is halved.
UNEVEN = 1.25
#: So many requests of a round, all failed, end the search: the source is in trouble, not a part of what is asked.
HOPELESS = 4


class Runner:
    """Runs requests, as many at a time as the executor and the memory for their answers allow.

    :param executor: futurist executor; None runs one after the other.
    :param budget: of the weights of requests that run at a time; one that is heavier runs alone.
    """

    def __init__(self, executor: Any, budget: int) -> None:
        self._executor = executor
        self.budget = budget

    def map(
        self,
        function: Callable[[Part], Result],
        parts: Iterable[Part],
        weigh: Callable[[Part], int] = lambda part: 0,
    ) -> list[Result | requests.RequestFailed]:
        """Return what *function* returns for each of *parts*, or the RequestFailed that it raises, in their order."""

        def run(part: Part) -> Result | requests.RequestFailed:
            try:
                return function(part)
            except requests.RequestFailed as error:
                return error

        results: list[Result | requests.RequestFailed] = []
        for wave in self._waves(parts, weigh):
            if self._executor is None or len(wave) == 1:
                results += [run(part) for part in wave]
            else:
                futures = [self._executor.submit(run, part) for part in wave]
                results += [future.result() for future in futures]
        return results

    def _waves(self, parts: Iterable[Part], weigh: Callable[[Part], int]) -> Iterator[list[Part]]:
        wave: list[Part] = []
        total = 0
        for part in parts:
            weight = weigh(part)
            if wave and total + weight > self.budget:
                yield wave
                wave, total = [], 0
            wave.append(part)
            total += weight
        if wave:
            yield wave


def spread(
    parts: Iterable[Part],
    width: int,
    weigh: Callable[[Part], float],
    halve: Callable[[Part], Sequence[Part]],
    least: float,
) -> list[Part]:
    """Return what together is *parts*, the largest of them halved, so that *width* at a time are done together.

    :param least: what weighs less is left as it is.
    """
    known = list(parts)
    most = max(UNEVEN * sum(map(weigh, known)) / width, least)

    def cut(part: Part) -> list[Part]:
        smaller = halve(part) if weigh(part) > most else ()
        return [item for half in smaller for item in cut(half)] if smaller else [part]

    return [item for part in known for item in cut(part)]


def ask_all(
    runner: Runner,
    parts: Iterable[Part],
    ask: Callable[[Part], Result],
    split: Callable[[Part, requests.RequestFailed], Sequence[Part]],
    group: Callable[[Part], Hashable],
    weigh: Callable[[Part], int] = lambda part: 0,
    pieces: Mapping[Any, int] | None = None,
) -> list[tuple[Part, Result | requests.RequestFailed]]:
    """Return (part, what *ask* returned or the RequestFailed it raised) of everything that was asked in the end.

    :param split: returns what to ask in the place of a part that failed, smaller or changed; nothing, to leave it.
    :param group: parts of one group are judged together: where none of them succeeds they are not split any more.
    :param pieces: by group, into how many each part was made before, for no failure: so many more must fail.
    """
    done: list[tuple[Part, Result | requests.RequestFailed]] = []
    level = list(parts)
    while level:
        answers = list(zip(level, runner.map(ask, level, weigh), strict=True))
        groups: dict[Hashable, list[tuple[Part, Result | requests.RequestFailed]]] = {}
        for part, result in answers:
            groups.setdefault(group(part), []).append((part, result))
        level = []
        for key, members in groups.items():
            most = HOPELESS * (pieces or {}).get(key, 1)
            hopeless = len(members) >= most and all(_is_trouble(result) for _, result in members)
            for part, result in members:
                smaller: Sequence[Part] = ()
                if isinstance(result, requests.RequestFailed):
                    # Asked even when hopeless: it takes note of what was too big.
                    smaller = split(part, result)
                if smaller and not (hopeless and len(smaller) > 1):
                    level += smaller
                else:
                    done.append((part, result))
    return done


def _is_trouble(result: object) -> bool:
    return isinstance(result, requests.RequestFailed) and result.refusal in (
        requests.Refusal.TOO_BIG,
        requests.Refusal.TROUBLE,
        requests.Refusal.AWAY,
        requests.Refusal.METRICS,
    )
