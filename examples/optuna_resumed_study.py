"""A study in SQLite that is stopped, and resumed by two worker processes."""

import multiprocessing
import tempfile

import optuna
import torch

from prescreen import Training, load_task
from prescreen.integrations.optuna import ReadoutPruner, objective


def work(url: str, trials: int, seed: int) -> None:
    """Run trials. All that pruning needs is in the storage: every worker decides alike."""
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=url,
        study_name="cells",
        load_if_exists=True,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=ReadoutPruner(),
    )
    search = objective(
        "nas_bench_201", load_task("digits"), Training(steps=20), value="ahead/expected_agreement"
    )
    study.optimize(search, n_trials=trials)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/study.db"
        work(url, trials=6, seed=0)
        print("stopped after", len(optuna.load_study(study_name="cells", storage=url).trials))
        spawn = multiprocessing.get_context("spawn")
        workers = [spawn.Process(target=work, args=(url, 6, seed)) for seed in (1, 2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        study = optuna.load_study(study_name="cells", storage=url)
        pruned = sum(trial.state.name == "PRUNED" for trial in study.trials)
        print(f"resumed to {len(study.trials)} trials, {pruned} of them pruned")
        print("best cell:", study.best_params)


if __name__ == "__main__":
    main()
