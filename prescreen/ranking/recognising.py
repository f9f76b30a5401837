"""Recognising: what candidates compute is found out by workers, before any of them is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing

from prescreen.failures import CandidateFailed
from prescreen.ranking.executors import Executor
from prescreen.ranking.formed import Formed
from prescreen.ranking.jobs import Job
from prescreen.ranking.journal import Journal
from prescreen.ranking.repeats import Repeat
from prescreen.screening import Plan
from prescreen.screening.form import Form, Forms
from prescreen.spaces.candidate import Candidate

Codes = Mapping[str, Mapping[str, str]]


def recognise(
    candidates: Sequence[Candidate],
    journal: Journal,
    codes: Codes,
    executor: Executor,
    plan: Plan,
    threads: int,
    go_on: Callable[[], bool],
) -> None:
    """Note what candidates compute, unless the journal knows it of the same code.

    A candidate that ends its process, or hangs, has no form, and is measured by itself.

    Args:
        candidates: that are to be compared.
        journal: where forms are noted.
        codes: what builds each candidate, by its key.
        executor: where.
        plan: how they are screened.
        threads: torch's CPU threads per candidate.
        go_on: whether there is time for more.
    """
    known = journal.forms
    left = [
        one
        for one in candidates
        if one.key not in known or known[one.key].code != codes.get(one.key, {})
    ]
    with closing(
        executor.measure([Job(Repeat(one)) for one in left], Forms(plan), threads)
    ) as happening:
        for index, event in happening:
            if isinstance(event, CandidateFailed):
                event = Form("", 0, str(event))
            if isinstance(event, Form):
                key = left[index].key
                journal.formed(key, Formed(event, codes.get(key, {})))
            if not go_on():
                return
