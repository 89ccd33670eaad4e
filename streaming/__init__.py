"""The speed layer: one PyFlink application. One file is one step; ``run.py`` composes and executes them."""
