# SPDX-License-Identifier: Apache-2.0
"""Asking in parallel, and halving what fails until the part that fails is alone."""

from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import math
from typing import Any
from typing import Generic
from typing import TypeVar

from cloudkitty.clients import answers

Part = TypeVar('Part')
Result = TypeVar('Result')
#: What the requests of one client raise.
Failure = TypeVar('Failure', bound=answers.RequestFailed)

#: A part may be larger than an equal share by this factor before it is halved.
UNEVEN = 1.25
#: So many requests of a round, all failed, end the search: the source is in trouble, not a part of what is asked.
HOPELESS = 4


class Runner(Generic[Failure]):
    """Runs requests, as many at a time as the executor and the memory for their answers allow.

    :param executor: futurist executor; None runs one after the other.
    :param budget: of the weights of requests that run at a time; one that is heavier runs alone.
    :param failure: what a request raises that did not give data.
    """

    def __init__(self, executor: Any, budget: int, failure: type[Failure]) -> None:
        self._executor = executor
        self.failure = failure
        self.budget = budget

    def map(
        self,
        function: Callable[[Part], Result],
        parts: Iterable[Part],
        weigh: Callable[[Part], int] = lambda part: 0,
    ) -> list[Result | Failure]:
        """Return what *function* returns for each of *parts*, or the failure that it raises, in their order."""

        def run(part: Part) -> Result | Failure:
            try:
                return function(part)
            except self.failure as error:
                return error

        results: list[Result | Failure] = []
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
    runner: Runner[Failure],
    parts: Iterable[Part],
    ask: Callable[[Part], Result],
    split: Callable[[Part, Failure], Sequence[Part]],
    group: Callable[[Part], Hashable],
    weigh: Callable[[Part], int] = lambda part: 0,
    pieces: Mapping[Any, int] | None = None,
) -> list[tuple[Part, Result | Failure]]:
    """Return (part, what *ask* returned or the failure it raised) of everything that was asked in the end.

    :param split: returns what to ask in the place of a part that failed, smaller or changed; nothing, to leave it.
    :param group: parts of one group are judged together: where none of them succeeds they are not split any more.
    :param pieces: by group, into how many each part was made before, for no failure: so many more must fail.
    """
    done: list[tuple[Part, Result | Failure]] = []
    level = list(parts)
    while level:
        asked = list(zip(level, runner.map(ask, level, weigh), strict=True))
        groups: dict[Hashable, list[tuple[Part, Result | Failure]]] = {}
        for part, result in asked:
            groups.setdefault(group(part), []).append((part, result))
        level = []
        for key, members in groups.items():
            most = HOPELESS * (pieces or {}).get(key, 1)
            hopeless = len(members) >= most and all(_is_trouble(result) for _, result in members)
            for part, result in members:
                smaller: Sequence[Part] = ()
                if isinstance(result, runner.failure):
                    # Asked even when hopeless: it takes note of what was too big.
                    smaller = split(part, result)
                if smaller and not (hopeless and len(smaller) > 1):
                    level += smaller
                else:
                    done.append((part, result))
    return done


def _is_trouble(result: object) -> bool:
    return isinstance(result, answers.RequestFailed) and result.is_trouble


class Sizes:
    """How large requests may be, by what they are for: what was too big is halved, and doubled again when it works."""

    #: Of this size on there is no limit.
    NONE = 4096

    def __init__(self) -> None:
        self._most: dict[tuple[str, ...], int] = {}
        self._shrunk: set[tuple[str, ...]] = set()

    def most(self, key: tuple[str, ...]) -> float:
        """Return the largest size to try."""
        return self._most.get(key, math.inf)

    def shrink(self, key: tuple[str, ...], size: int) -> None:
        """Note that *size* was too big."""
        self._most[key] = int(max(1, min(self.most(key), size // 2)))
        self._shrunk.add(key)

    def grow(self) -> None:
        """Let grow what was not too big since the last call."""
        for key in set(self._most) - self._shrunk:
            self._most[key] *= 2
            if self._most[key] >= self.NONE:
                del self._most[key]
        self._shrunk.clear()
