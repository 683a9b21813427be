"""Every mutant."""

from collections.abc import Sequence

from faults.mutants.catalogue import claims, events, money, orders, power
from faults.mutants.mutant import Mutant

MUTANTS: Sequence[Mutant] = (*claims.MUTANTS, *events.MUTANTS, *money.MUTANTS, *orders.MUTANTS, *power.MUTANTS)
