"""Voting over N samples, accuracy with intervals, and metrics of reward models.

| module | contents |
| --- | --- |
| voting | step scores to one score, N samples to one answer |
| sample_groups | the samples of a problem as arrays; accuracy as a function of N |
| measurements | voting methods, the answers they choose, their accuracy per problem |
| statistics | pass@k, best-of-n, intervals, paired tests |
| score_tables, labelled_scores | tables of scores as arrays, with labels |
| rm_metrics, rm_report | metrics of a reward model; all of them by group of problems |
| agreement | agreement of reward models with one another and with the outcome |
| benchmark_metrics | ProcessBench and PRMBench |
| memorization | whether a generator writes the rest of a question |
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "agreement": ["agreements", "agrees_more", "said_of"],
        "benchmark_metrics": ["prmbench_metrics", "processbench_metrics"],
        "measurements": ["Measurement", "measure", "predictions", "voting_methods"],
        "memorization": ["cut", "rouge_l", "writes_exactly"],
        "rm_metrics": ["balanced_accuracy", "calibration", "roc_auc", "roc_curve"],
        "rm_report": ["reward_metrics"],
        "sample_groups": ["SampleGroup", "group_samples"],
        "score_tables": ["aggregate_scores"],
        "statistics": [
            "best_of_n_accuracy",
            "compare",
            "holm",
            "mean_and_spread",
            "mean_interval",
            "paired_test_over_runs",
            "pass_at_k",
            "wilson_interval",
        ],
        "voting": ["aggregate", "best_of_n", "vote_accuracy", "weighted_vote"],
    },
)
