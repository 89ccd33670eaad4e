"""Where the local platform keeps its files."""

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]


def project_root() -> Path:
    """Return the checkout this package runs from, else the current directory (when installed from a wheel)."""
    return CHECKOUT if (CHECKOUT / "pyproject.toml").is_file() else Path.cwd()


def build_dir() -> Path:
    """Return the folder of everything that is made and may be deleted."""
    return project_root() / "build"
