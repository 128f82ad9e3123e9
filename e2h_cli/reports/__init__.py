"""Results of a run as tables, figures and files.

A run in pandas:

    from e2h_cli.reports import read_accuracy, read_results

    accuracy = read_accuracy("runs/quickstart-tiny/rerank").to_pandas()  # per problem
    metrics = pandas.DataFrame(read_results("runs/quickstart-tiny").metrics)  # per group
"""

from e2h_cli.reports.result_files import read_accuracy, read_predictions, read_results
from e2h_cli.reports.results import Comparison, Metric, Results, problem_groups, summarise
from e2h_cli.reports.tables import ReportTable, result_tables

__all__ = [
    "Comparison",
    "Metric",
    "ReportTable",
    "Results",
    "problem_groups",
    "read_accuracy",
    "read_predictions",
    "read_results",
    "result_tables",
    "summarise",
]
