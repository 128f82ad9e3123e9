"""Results of a run as tables, figures and files.

A run in pandas:

    from e2h_cli.reports import read_accuracy, read_results

    accuracy = read_accuracy("runs/experiment-tiny/rerank").to_pandas()  # per problem
    metrics = pandas.DataFrame(read_results("runs/experiment-tiny").metrics)  # per group
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "result_files": ["read_accuracy", "read_predictions", "read_results"],
        "results": ["Comparison", "Metric", "Results", "problem_groups", "summarise"],
        "tables": ["ReportTable", "result_tables"],
    },
)
