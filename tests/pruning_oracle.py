"""The decision over readings in the plainest words, without sorting, caching or clever counting."""

import math

import numpy as np
from scipy.stats import spearmanr

from prescreen.comparison import compare
from prescreen.pruning import Halving, Improvement
from prescreen.pruning.ends import Ends
from prescreen.pruning.outlook import outlook


class Oracle:
    """A host for ``recordings.replay``; it keeps what it is told and works all out every time."""

    def __init__(self, rule, guard, panel):
        self.rule, self.guard = rule, guard
        self.signs = np.array([1 if higher else -1 for higher in panel.higher_is_better])
        self.names = panel.names
        self.of_network = np.array(panel.of_network)
        self.told, self.architectures, self.objectives = {}, {}, {}

    def begin(self, number):
        pass

    def pruned(self, number):
        pass

    def ends(self, number, objective):
        last = list(self.told[number].values())[-1]
        if objective is not None and not self.diverged(last):
            self.objectives[number] = objective

    def read(self, number, step, values, architecture):
        row = np.array([values[name] for name in self.names]) * self.signs
        self.told.setdefault(number, {})[step] = row
        self.architectures[number] = architecture or f"unknown {number}"
        return self.decides(number, step)

    def diverged(self, row):
        trained = row[~self.of_network]
        return len(trained) > 0 and bool(np.isnan(trained).all())

    def compared(self):
        """The readings that decide: columns that count for no one are left out altogether."""
        rows = [
            row
            for number, readings in self.told.items()
            for row in readings.values()
            if number in self.objectives or not self.diverged(row)
        ]
        undefined = np.isnan(rows).any(axis=0) if rows else np.zeros(len(self.names), bool)
        kept = self.kept = ~(undefined & self.of_network)
        return {
            number: {
                step: self.worst(row, self.tied(number, row))[kept]
                for step, row in readings.items()
            }
            for number, readings in self.told.items()
        }

    def worst(self, row, tied):
        """A model that has failed loses to every other."""
        return np.nan_to_num(tied, nan=-math.inf, neginf=-math.inf) if self.diverged(row) else tied

    def tied(self, number, row):
        """The first of a trial's architecture says what all of it have."""
        for other in sorted(self.told):
            if self.architectures[other] != self.architectures[number]:
                continue
            for step in sorted(self.told[other]):
                if not self.diverged(self.told[other][step]):
                    of_network = self.of_network
                    if self.architectures[number].startswith("unknown"):
                        return row
                    return np.where(of_network, self.told[other][step], row)
        return row

    def decides(self, number, step):
        before = [one for one in self.told[number] if one < step]
        warm, interval = self.guard.n_warmup_steps, self.guard.interval_steps
        checks = [
            check for check in range(warm, step + 1, interval) if check > max(before, default=-1)
        ]
        if not checks:
            return False
        if self.diverged(self.told[number][step]):
            return True
        compared = self.compared()
        if isinstance(self.rule, Improvement):
            return self.is_unlikely(compared, number, step)
        complete = {m: compared[m] for m in self.objectives}
        here = {m: rows[step] for m, rows in complete.items() if step in rows}
        if isinstance(self.rule, Halving):
            group = self.rungs(compared)
            if group[number].get(self.rule.rung(step), (None,))[0] != step:
                return False
            rung = self.rule.rung(step)
            group = {m: rows[rung][1] for m, rows in group.items() if rung in rows}
            scores = {m: score(row, without(group, m)) for m, row in group.items()}
            own = scores[number]
        else:
            known = []
            for one, row in compared[number].items():
                if there := [rows[one] for rows in complete.values() if one in rows]:
                    known.append(score(row, there))
            own = max(known, default=1.0)
            group = {**here, number: compared[number][step]}
            scores = {m: score(row, without(group, m)) for m, row in group.items()}
        if not self.wants(own, [scores[m] for m in scores if m != number]):
            return False
        if len(here) < self.guard.n_startup_trials:
            return False
        if self.guard.min_agreement is not None and (
            self.agreement(complete, step) < self.guard.min_agreement
        ):
            return False
        if self.guard.max_false_prune is None:
            return True
        if not isinstance(self.rule, Halving):
            scores = {m: score(row, without(here, m)) for m, row in here.items()}
        ran = [m for m in scores if m in self.objectives]
        would = [m for m in ran if self.wants(scores[m], [scores[o] for o in scores if o != m])]
        best = sorted(ran, key=lambda m: -self.objectives[m])
        best = best[: max(1, math.ceil(self.guard.best_share * len(ran)))]
        false = len(set(would) & set(best))
        return (false + 1) / (len(would) + 1) <= self.guard.max_false_prune

    def is_unlikely(self, compared, number, step):
        """Comparison and regression have tests of their own; here is told what they are given."""
        standing = {}
        for other, rows in compared.items():
            until = [one for one in rows if one <= step]
            arrived = other in self.objectives or max(rows) >= step
            if until and arrived and not self.diverged(self.told[other][max(until)]):
                standing[other] = rows[max(until)]
        if not self.objectives:
            return False
        rows = np.array([*standing.values()])
        rows = np.where(np.isnan(rows).any(axis=0), 0.0, rows)
        known = [self.architectures[other] for other in standing]
        names = ["" if one.startswith("unknown") else one for one in known]
        flags = self.of_network[self.kept]
        if step == 0 and flags.any():  # before training no head says anything
            rows, flags = rows[:, flags], flags[flags]
        told = {"all": compare(rows, flags.tolist(), names).scores}
        if step > 0:
            told |= {f"{n}": rows[:, n] for n in range(len(flags)) if not flags[n]}
        ends = Ends.of({other: (end,) for other, end in self.objectives.items()})
        seen = outlook(np.array([*standing]), told, ends)
        started = seen is not None and len(seen.completed) >= self.guard.n_startup_trials
        if not started or seen.contradicted:
            return False
        chance, mean = seen.chances[[*seen.trials].index(number)], seen.chances.mean()
        if chance > 0.999999 * mean:
            return False
        if self.rule.max_regret is None:
            return chance <= self.rule.max_false_prune * mean
        return chance * seen.gain <= self.rule.max_regret * mean

    def rungs(self, compared):
        """Of every trial, rung -> the step and the reading with which it came there."""
        entered = {}
        for number, readings in compared.items():
            entered[number] = {}
            for step in sorted(readings):
                rung = self.rule.rung(step)
                if rung is None or self.diverged(self.told[number][step]):
                    continue
                if rung > max(entered[number], default=0):
                    entered[number][rung] = step, readings[step]
        return entered

    def wants(self, own, others):
        if isinstance(self.rule, Halving):
            go_on = max(1, (len(others) + 1) // self.rule.reduction_factor)
            return sum(other > own for other in others) >= go_on
        if not others:
            return False
        return own < np.percentile(others, 100 - self.rule.percentile) - 1e-12

    def agreement(self, complete, step):
        here = [m for m, rows in complete.items() if step in rows]
        for other in sorted({s for rows in complete.values() for s in rows} - {step}, reverse=True):
            shared = [m for m in here if other in complete[m]]
            if 2 * len(shared) >= len(here):
                orders = [
                    [score(rows[m], without(rows, m)) for m in shared]
                    for rows in ({m: complete[m][s] for m in shared} for s in (step, other))
                ]
                if len(shared) < 4 or any(len(set(order)) == 1 for order in orders):
                    return -1.0
                rho = np.clip(spearmanr(*orders).statistic, -1 + 1e-12, 1 - 1e-12)
                return math.tanh(math.atanh(rho) - 1 / math.sqrt(len(shared) - 3))
        return -1.0


def without(group, member):
    return [row for other, row in group.items() if other != member]


def score(row, others):
    """How many others a reading beats, a tie counting half, averaged over readouts and others.

    A readout that is not defined for one of them tells none of them apart.
    """
    if not len(others) or not len(row):
        return 1.0
    wins = []
    for one, *against in zip(row, *others, strict=True):
        if np.isnan([one, *against]).any():
            against = [one] * len(against)
        wins += [0.5 if one == other or np.isnan(one) else float(one > other) for other in against]
    return sum(wins) / len(wins)
