"""Search a space for a good readout and few operations; Optuna alone cannot prune such a study."""

import optuna
import torch

from prescreen import Training, load_task
from prescreen.integrations.optuna import ReadoutPruner, objective


def main() -> None:
    torch.set_num_threads(1)  # small networks do not gain from more
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        directions=["maximize", "minimize"],
        sampler=optuna.samplers.NSGAIISampler(population_size=8, seed=0),
        # A poor but cheap cell may be Pareto-optimal: bound how often such a trial is pruned.
        pruner=ReadoutPruner(max_false_prune=0.3),
    )
    search = objective(
        "nas_bench_201",
        load_task("digits"),
        Training(steps=30),
        value="ahead/expected_agreement",
        costs=["flops"],
        limits={"parameters": 50_000},
    )
    study.optimize(search, n_trials=20)
    states = [trial.state.name for trial in study.trials]
    print(f"{states.count('COMPLETE')} trials completed, {states.count('PRUNED')} pruned")
    for trial in sorted(study.best_trials, key=lambda trial: trial.values[1]):
        print(f"agreement {trial.values[0]:.3f}, {trial.values[1] / 1e6:.2f} MFLOPs")


if __name__ == "__main__":
    main()
