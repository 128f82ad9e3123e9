"""Results of a run as tables, figures and files, and the paper's numbers.

In pandas:

    from e2h_cli.reports import paper_table, read_accuracy, read_results

    accuracy = read_accuracy("runs/experiment-tiny/rerank").to_pandas()  # per problem
    metrics = pandas.DataFrame(read_results("runs/experiment-tiny").metrics)  # per group
    theirs = pandas.DataFrame(paper_table("curves"))
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "paper_numbers": ["paper_curves", "paper_table"],
        "result_files": ["read_accuracy", "read_predictions", "read_results"],
        "results": ["Comparison", "Metric", "Results", "problem_groups", "summarise"],
        "tables": ["ReportTable", "result_tables"],
    },
)
