"""Print what setup.py requires at run time, so that an image can install it before the sources are copied."""

import distutils.core  # setuptools' own, once it is imported
import sys

import setuptools  # noqa: F401

sys.stdout.write("\n".join(distutils.core.run_setup("setup.py", stop_after="init").install_requires) + "\n")
