"""Voting over N samples, accuracy with intervals, and metrics of reward models.

| module | contents |
| --- | --- |
| voting | step scores to one score, N samples to one answer |
| sample_groups | the samples of a problem as arrays; accuracy as a function of N |
| measurements | voting methods, the answers they choose, their accuracy per problem |
| statistics | pass@k, best-of-n, bootstrap intervals, paired tests |
| score_tables, labelled_scores | tables of scores as arrays, with labels |
| rm_metrics, rm_report | metrics of a reward model; all of them by group of problems |
"""

from e2h_cli.evaluation.measurements import Measurement, measure, predictions, voting_methods
from e2h_cli.evaluation.rm_metrics import balanced_accuracy, calibration, roc_auc, roc_curve
from e2h_cli.evaluation.rm_report import reward_metrics
from e2h_cli.evaluation.sample_groups import SampleGroup, group_samples
from e2h_cli.evaluation.score_tables import aggregate_scores
from e2h_cli.evaluation.statistics import (
    best_of_n_accuracy,
    bootstrap_interval,
    bootstrap_weights,
    compare,
    pass_at_k,
)
from e2h_cli.evaluation.voting import aggregate, best_of_n, vote_accuracy, weighted_vote

__all__ = [
    "Measurement",
    "SampleGroup",
    "aggregate",
    "aggregate_scores",
    "balanced_accuracy",
    "best_of_n",
    "best_of_n_accuracy",
    "bootstrap_interval",
    "bootstrap_weights",
    "calibration",
    "compare",
    "group_samples",
    "measure",
    "pass_at_k",
    "predictions",
    "reward_metrics",
    "roc_auc",
    "roc_curve",
    "vote_accuracy",
    "voting_methods",
    "weighted_vote",
]
