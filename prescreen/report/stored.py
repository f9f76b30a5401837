"""Stored: an Optuna study in its storage."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from prescreen.checks import require
from prescreen.report.data import Findings
from prescreen.text import first_line

_SQLITE = "sqlite:///"


def of_stored_study(storage: str, name: str | None) -> Findings:
    """What a report shows of a study in a storage.

    Args:
        storage: a URL such as ``sqlite:///study.db``, or the file of a journal storage.
        name: of the study; None if the storage has but one.

    Raises:
        ValueError: there is no such storage, or no such study in it.
        ImportError: Optuna is not installed.
    """
    try:
        import optuna
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise ImportError(
            "the report of a study needs the 'optuna' extra: pip install 'prescreen[optuna]'"
        ) from error
    from prescreen.report.of_study import of_study

    file = storage.removeprefix(_SQLITE) if storage.startswith(_SQLITE) else storage
    if "://" not in storage or storage.startswith(_SQLITE):  # Optuna would make a new one
        require("storage", "a file that is there, or a URL", storage, Path(file).is_file())
    with ExitStack() as at_end:
        try:
            if "://" in storage:
                database = optuna.storages.RDBStorage(storage)
                at_end.callback(database.engine.dispose)
                at_end.callback(database.remove_session)
                opened: optuna.storages.BaseStorage = database
            else:
                opened = optuna.storages.JournalStorage(JournalFileBackend(file))
            names = optuna.get_all_study_names(opened)
        except Exception as error:  # storages raise many kinds
            raise ValueError(
                f"`storage` must be one that Optuna can open, got {storage!r} ({first_line(error)})"
            ) from None
        chosen = names[0] if name is None and len(names) == 1 else name
        listed = ", ".join(names) or "none that are there"
        require("study", f"one of {listed}", name, chosen in names)
        return of_study(optuna.load_study(study_name=chosen, storage=opened), stored=True)
