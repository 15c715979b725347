"""The struct that `jlstm_export.m` writes: public properties and golden vectors."""

from __future__ import annotations

from typing import Any

KIND = "jlstm export"
FORMAT = "jlstm-matlab-network"


def is_export(value: Any) -> bool:
    """Whether a decoded value is such a struct."""
    return isinstance(value, dict) and value.get("format") == FORMAT
