"""Our hyper-parameters beside those of the paper's Table 4."""

from __future__ import annotations

import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.reports import paper_table
from e2h_cli.reports.hyper_parameters import SettingsColumn, hyper_parameters, paper_settings
from e2h_cli.settings.sft import SftSettings
from e2h_cli.settings.train_rm import TrainRMSettings

# Learning rate, epochs, batch size, max length, precision (paper p.19).
TABLE_4 = {
    ("PRM800K", "SFT", "7b"): ("2e-5", 3, 128, 768, "bf16"),
    ("PRM800K", "PRM", "7b"): ("2e-5", 2, 128, 768, "bf16"),
    ("PRM800K", "ORM", "7b"): ("2e-5", 2, 128, 1024, "bf16"),
    ("PRM800K", "OPRM", "7b"): ("2e-5", 2, 128, 1024, "bf16"),
    ("MetaMath", "SFT", "7b"): ("8e-6", 3, 128, 1024, "fp32"),
    ("MetaMath", "PRM", "7b"): ("2e-5", 2, 128, 768, "bf16"),
    ("PRM800K", "SFT", "34b"): ("1e-5", 3, 128, 768, "bf16"),
    ("PRM800K", "PRM", "34b"): ("1e-5", 2, 128, 768, "bf16"),
    ("PRM800K", "ORM", "34b"): ("1e-5", 2, 128, 1024, "bf16"),
    ("PRM800K", "OPRM", "34b"): ("1e-5", 2, 128, 1024, "bf16"),
    ("MetaMath", "SFT", "34b"): ("5e-6", 3, 128, 768, "fp32"),
}
NAMES = ("learning rate", "epochs", "batch size", "max length", "precision")


def settings(*values: object) -> dict[str, object]:
    """Ours, as a recipe gives them."""
    keys = (name.replace(" ", "_") for name in NAMES)
    made = dict(zip(keys, values, strict=True))
    return SftSettings.model_validate(made | {"learning_rate": float(str(values[0]))}).model_dump()


def test_the_papers_side_is_table_4() -> None:
    found = {key: tuple(paper_settings(*key).values()) for key in TABLE_4}
    assert found == {key: tuple(map(str, values)) for key, values in TABLE_4.items()}
    assert all(tuple(paper_settings(*key)) == NAMES for key in TABLE_4)
    assert len(paper_table("table4")) == sum(map(len, found.values()))
    assert paper_settings("MetaMath", "PRM", "34b") == {}
    message = "no size '70b'; choose from 7b, 34b"
    with pytest.raises(InputError, match=message):
        paper_settings("PRM800K", "SFT", "70b")


def test_the_same_settings_have_no_star() -> None:
    columns = [SettingsColumn("x", settings(*v), paper_settings(*k)) for k, v in TABLE_4.items()]
    table = hyper_parameters(columns, "paper scale")
    assert [row[:2] for row in table.rows] == [(n, s) for n in NAMES for s in ("ours", "paper")]
    for ours, theirs in zip(table.rows[::2], table.rows[1::2], strict=True):
        assert ours[2:] == theirs[2:]


def test_a_star_is_where_ours_differ() -> None:
    orm = TrainRMSettings(max_steps=1000, learning_rate=4e-4, batch_size=32).model_dump()
    columns = [
        SettingsColumn("sft", settings(2e-5, 3, 128, 768, "bf16"),
                       paper_settings("MetaMath", "SFT", "7b")),
        SettingsColumn("orm", orm, paper_settings("PRM800K", "ORM", "7b")),
        SettingsColumn("orm-automatic", orm, paper_settings("MetaMath", "ORM", "7b")),
        SettingsColumn("from the Hub", {}, paper_settings("PRM800K", "PRM", "7b")),
    ]  # fmt: skip
    table = hyper_parameters(columns, "tiny scale")
    assert table.header == ("setting", "", "sft", "orm", "orm-automatic", "from the Hub")
    assert table.rows == [
        ("learning rate", "ours", "2e-5*", "0.0004*", "0.0004", "-"),
        ("learning rate", "paper", "8e-6", "2e-5", "-", "2e-5"),
        # The number of steps is what trains, whatever the default of epochs is.
        ("epochs", "ours", "3", "1000 steps*", "1000 steps", "-"),
        ("epochs", "paper", "3", "2", "-", "2"),
        ("batch size", "ours", "128", "32*", "32", "-"),
        ("batch size", "paper", "128", "128", "-", "128"),
        ("max length", "ours", "768*", "768*", "768", "-"),
        ("max length", "paper", "1024", "1024", "-", "768"),
        ("precision", "ours", "bf16*", "fp32*", "fp32", "-"),
        ("precision", "paper", "fp32", "bf16", "-", "bf16"),
    ]
    assert "(tiny scale; * differs)" in table.title
    assert "| epochs | paper | 3 | 2 | - | 2 |" in table.markdown
