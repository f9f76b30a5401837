"""Search a space with Ray Tune; trials with poor readings are stopped, also after a restore."""

import os
import tempfile

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import optuna
import ray
from prescreen.search_spaces import nas_bench_201
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from prescreen import Training
from prescreen.integrations.ray import (
    Halving,
    PrunedSearch,
    ReadoutCallback,
    ReadoutScheduler,
    trainable,
)


def main() -> None:
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    scheduler = ReadoutScheduler(Halving(grace_period=5, reduction_factor=2), min_agreement=None)
    search = OptunaSearch(
        nas_bench_201.sample,
        metric="prescreen/score",
        mode="max",
        sampler=optuna.samplers.TPESampler(seed=0),
    )
    tuner = tune.Tuner(
        trainable("nas_bench_201", "digits", Training(steps=20)),
        tune_config=tune.TuneConfig(
            metric="prescreen/score",
            mode="max",
            search_alg=PrunedSearch(search),
            scheduler=scheduler,
            num_samples=10,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            storage_path=tempfile.mkdtemp(),
            callbacks=[ReadoutCallback(scheduler)],
            verbose=0,
        ),
    )
    results = tuner.fit()
    print(f"{len(scheduler.stopped)} of {len(results)} trials stopped by their readings")
    best = results.get_best_result()
    print("best cell:", nas_bench_201.name(best.config), best.metrics["prescreen"])
    ray.shutdown()


if __name__ == "__main__":
    main()
