"""JSON that somebody else wrote, whatever is in it: read, or refused in words for people."""

from __future__ import annotations

import json
from typing import Any

MAX_DEPTH = 100  # lists and tables in one another; what is read is printed, compared and copied by recursion


def parse_json(text: str | bytes) -> Any:
    """The values in a JSON text.

    Raises ValueError, which ends a sentence such as "FILE cannot be read: ", for what is no JSON, is nested
    deeper than MAX_DEPTH, or holds a whole number longer than Python reads.
    """
    try:
        values = json.loads(text)
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON from line {error.lineno}, column {error.colno} on") from error
    except UnicodeDecodeError as error:
        raise ValueError("it is no UTF-8 text") from error
    except ValueError as error:
        raise ValueError("a number in it has thousands of digits") from error
    level = [values]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return values
    raise ValueError(_TOO_DEEP)


_TOO_DEEP = "it is nested too deeply"


def _inside(value: object) -> list[Any]:
    """The lists and tables in a list or table."""
    if isinstance(value, dict):
        return [one for one in value.values() if isinstance(one, (dict, list))]
    return [one for one in value if isinstance(one, (dict, list))] if isinstance(value, list) else []
