"""Dovetail's distribution. The package list is explicit: plain names must never grow by accident."""

from setuptools import setup

PACKAGES = [
    "common",
    "common.contracts",
    "common.features",
    "common.resolution",
    "views",
    "jobs",
    "jobs.spark",
    "streaming",
    "streaming.flink",
    "serving",
    "local",
    "local.demo",
    "local.simulator",
    "cli",
]

# conf/ lies at the root of the checkout, where operators look for it, and inside the package once installed.
CONF_PACKAGE = "common.conf"

OPTUNA = "optuna>=4.9,<5"

setup(
    name="dovetail",
    version="0.1.0",
    description="An open lambda-architecture platform for personalization: two layers, one declaration, an exact merge",
    python_requires="==3.11.*",
    packages=[*PACKAGES, CONF_PACKAGE],
    package_dir={CONF_PACKAGE: "conf"},
    package_data={
        CONF_PACKAGE: ["*.yaml", "jobs/*.yaml"],
        "local": ["poms/*/pom.xml"],
        "serving": ["static/*"],
        "jobs.spark": ["*.html"],
    },
    include_package_data=False,
    install_requires=[
        # The engines. These work together on Python 3.11 and Java 17; each bump is an experiment (docs/decisions.md).
        "pyspark==4.1.4",
        "delta-spark==4.4.0",
        "apache-flink==2.3.0",
        "great-expectations==1.24.1",
        "mlflow==3.17.2",
        "hyperopt==0.3.0",
        # The wires.
        "cassandra-driver==3.30.1",
        "confluent-kafka>=2.16,<3",
        # What the engines force; named because this project imports them itself.
        "numpy>=2.1,<2.2",
        "pandas>=2.2,<2.3",
        "pyarrow>=16.1,<17",
        "scipy>=1.17,<2",
        "matplotlib>=3.11,<4",
        "Jinja2>=3.1,<4",
        # Names that are written differently.
        "rapidfuzz>=3.14,<4",
        # Serving, configuration, command line.
        "fastapi>=0.165,<1",
        "uvicorn>=0.54,<1",
        "uvloop>=0.23,<1",
        "httptools>=0.9,<1",
        "httpx>=0.28,<1",
        "prometheus-client>=0.26,<1",
        "msgspec>=0.22,<0.23",
        "pydantic>=2.14,<3",
        "PyYAML>=6,<7",
        "click>=8.5,<9",
        "rich>=15,<16",
    ],
    extras_require={
        # tune_als --search optuna
        "optuna": [OPTUNA],
        "test": [
            OPTUNA,
            "pytest>=9.2,<10",
            "pytest-timeout>=2.4,<3",
            "pytest-xdist>=3.8,<4",
            "hypothesis>=6.170,<7",
            "scikit-learn>=1.9,<2",
            "playwright>=1.65,<2",
            "ruff>=0.17.5,<0.18",
            "mypy>=2.4,<3",
            "import-linter>=2.16,<3",
            "types-PyYAML>=6,<7",
            # docker/compose.py, where the engine is podman
            "podman-compose>=1.6,<2",
        ],
        # What benchmarks compare with; `make bench` installs it.
        "bench": ["splink>=4.0.17,<5"],
    },
    entry_points={"console_scripts": ["dovetail = cli.main:main"]},
)
