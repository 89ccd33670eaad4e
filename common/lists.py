"""Files that people write: a YAML list of declared things, each checked when it is read."""

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from common.errors import ConfigError

T = TypeVar("T")


def read_list(path: Path, kind: TypeAdapter[list[T]], option: str) -> list[T]:
    """The things in a YAML file, a list; raises ConfigError in one line, with the ``option`` that named the file."""
    try:
        return kind.validate_python(yaml.safe_load(path.read_text(encoding="utf-8")) or [])
    except FileNotFoundError:
        raise ConfigError(f"there is no file {path}: correct {option}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ConfigError(f"{path}: {at}: {first['msg']}; see docs/batch.md for the form") from None
