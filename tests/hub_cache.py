"""Data sets in the cache of the library, as ``load_dataset`` leaves them, found by name offline."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
from datasets.naming import camelcase_to_snakecase


def cache_data_set(
    root: Path, name: str, config: str, splits: Mapping[str, Sequence[dict[str, Any]]]
) -> None:
    """Put a configuration of OWNER/NAME into the cache folder ``root``.

    Tests point ``datasets.config.HF_DATASETS_CACHE`` there.
    """
    owner, _, short = name.partition("/")
    short = camelcase_to_snakecase(short)
    files = {}
    for split, rows in splits.items():
        file = root / "made" / short / config / f"{split}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        files[split] = str(file)
    builder = datasets.load_dataset_builder("json", data_files=files, cache_dir=str(root / "json"))
    builder.dataset_name = builder.info.dataset_name = short
    builder.info.config_name = config
    builder.download_and_prepare(str(root / f"{owner}___{short}" / config / "0.0.0" / ("0" * 40)))
