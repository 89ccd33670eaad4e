"""Write Flink's configuration of the image: the wheel's own logging files and Java options, and our settings.

python docker/flink_conf.py WHEEL_CONF SETTINGS.yaml TARGET
"""

import shutil
import sys
from pathlib import Path

import yaml


def main(wheel_conf: Path, settings: Path, target: Path) -> None:
    """Fill ``target``; without the wheel's ``env.java.opts.all`` Flink does not run on Java 17."""
    shutil.copytree(wheel_conf, target, dirs_exist_ok=True)
    shipped = yaml.safe_load((wheel_conf / "config.yaml").read_text())
    ours = {"env.java.opts.all": shipped["env"]["java"]["opts"]["all"], **yaml.safe_load(settings.read_text())}
    # A value broken over two lines is not read by Flink's scripts.
    (target / "config.yaml").write_text(yaml.safe_dump(ours, width=10_000))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
