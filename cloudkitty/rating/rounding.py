# SPDX-License-Identifier: Apache-2.0
"""Rounding of many prices at a time, at a fraction of the cost of rounding each."""

from collections.abc import Sequence
import contextlib
import decimal
from decimal import Decimal

from cloudkitty import amount

#: The arithmetic of amounts, in which a result of :data:`amount.LIMIT` or more is an error by itself.
CONTEXT = amount.CONTEXT.copy()
CONTEXT.Emax = amount.LIMIT.adjusted() - 1

#: While a sum stays below this, 60 digits reach beyond the last digit that a price may have.
_SUM_LIMIT = Decimal(10) ** (amount.CONTEXT.prec - amount.DIGITS - 2)
#: Complains about every digit that is cut off, zeros included.
_STRICT = amount.CONTEXT.copy()
_STRICT.traps[decimal.Rounded] = True


def local() -> contextlib.AbstractContextManager[decimal.Context]:
    """Return a context manager in which Decimals are worked with as prices: 60 digits, below 10**24."""
    return decimal.localcontext(CONTEXT)


def quantise_all(prices: Sequence[Decimal]) -> Sequence[Decimal]:
    """Return each of *prices* as :func:`amount.quantise` gives it.

    Most prices have few digits, and the exponent of a sum is the lowest of its terms': so one addition a price tells
    whether there is anything to round. The prices must come from arithmetic in :func:`local`, which has bounded them.
    """
    quantum = amount.QUANTUM
    # Where the last one is to be rounded, most are.
    if prices and prices[-1].quantize(quantum) == prices[-1]:
        if len(prices) == 1:
            return prices
        try:
            total = sum(prices, amount.ZERO)
            # Not for 0: that may be the sum of what has too many digits, and has none itself.
            if total and abs(total) < _SUM_LIMIT:
                total.quantize(quantum, context=_STRICT)
                return prices
        except (decimal.Rounded, decimal.Overflow):
            pass
    return [price if (rounded := price.quantize(quantum)) == price else rounded for price in prices]
