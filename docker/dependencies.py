"""Print what setup.py requires at run time, so that an image can install it before the sources are copied."""

import distutils.core  # setuptools' own, once it is imported
import sys
from typing import Any

import setuptools  # noqa: F401

distribution: Any = distutils.core.run_setup("setup.py", stop_after="init")
sys.stdout.write("\n".join(distribution.install_requires) + "\n")
