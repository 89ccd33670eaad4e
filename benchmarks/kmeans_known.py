"""Segments of Online Retail against scikit-learn's: inertia at k = 2..6 on standardised log1p(R, F, M).

The customers' figures are made from the file by the known protocol: no row without a customer, no cancellation, no
quantity or price up to zero, exact duplicates once, recency at 2011-12-10. The chain's own figures are the same ones
(tests/jobs/test_online_retail.py).
"""

import os
from pathlib import Path

import pandas as pd
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from benchmarks.harness import REPOSITORY, report
from common.centroids import nearest
from jobs.segment import MEASURES, Args, scale_of
from jobs.spark.clusters import Blocks, sweep
from jobs.spark.session import local_session
from local.jars import fetch

KNOWN = {2: (6488.0, 0.434), 3: (4879.1, 0.338), 4: (3962.7, 0.337), 5: (3331.9, 0.316), 6: (2875.4, 0.314)}
"""Inertia and silhouette by k, of scikit-learn with ten restarts and seed 42, as they are known."""


def customers(path: Path) -> pd.DataFrame:
    """CustomerID, recency_days, frequency, monetary of the 4,338 customers."""
    rows = pd.read_parquet(path)
    names = {name.lower().replace(" ", ""): name for name in rows.columns}
    rows = rows.rename(columns={names[name.lower()]: name for name in ("InvoiceNo", "Quantity", "UnitPrice")})
    rows = rows.rename(columns={names["customerid"]: "visitor_id", names["invoicedate"]: "at"})
    kept = rows["visitor_id"].notna() & ~rows["InvoiceNo"].astype(str).str.startswith("C")
    rows = rows[kept & (rows["Quantity"] > 0) & (rows["UnitPrice"].astype(float) > 0)].drop_duplicates()
    rows["spent"] = rows["UnitPrice"].astype(float) * rows["Quantity"]
    found = rows.groupby("visitor_id").agg(
        last=("at", "max"), frequency=("InvoiceNo", "nunique"), monetary=("spent", "sum")
    )
    found["recency_days"] = (pd.Timestamp("2011-12-10") - found["last"].dt.tz_localize(None)).dt.days
    return found.reset_index()[["visitor_id", *MEASURES]]


def main() -> None:
    """Fit both, compare, report."""
    folder = Path(os.environ.get("DOVETAIL_DATA", REPOSITORY.parent / "shared" / "data"))
    figures = customers(folder / "online_retail.parquet")
    assert len(figures) == 4_338, f"the protocol leaves 4,338 customers, not {len(figures)}"
    defaults = Args(lake="lake", cut=0)
    spark = local_session("benchmark kmeans_known", fetch("delta"))
    frame = spark.createDataFrame(figures)
    scale = scale_of(frame)
    with Blocks(frame, "visitor_id", scale.cells()) as blocks:
        found = sweep(
            blocks, list(KNOWN), restarts=defaults.restarts, iterations=defaults.iterations, seed=defaults.seed
        )
    spark.stop()
    points = scale.standard(figures[list(MEASURES)].to_numpy())
    theirs = {k: KMeans(k, n_init=10, random_state=42).fit(points).inertia_ for k in KNOWN}
    to_sklearn = {k: abs(found[k].inertia / theirs[k] - 1) for k in KNOWN}
    silhouettes = {k: silhouette_score(points, nearest(found[k].centres, points).centroid) for k in KNOWN}
    report(
        "kmeans_known",
        max(to_sklearn.values()),
        "largest relative difference of inertia",
        "lower",
        "sklearn.cluster.KMeans, n_init 10, seed 42, on the same points",
        "Online Retail, standardised log1p(R, F, M) at 2011-12-10, k = 2..6",
        inertia={k: round(found[k].inertia, 1) for k in KNOWN},
        relative_to_sklearn=to_sklearn,
        relative_to_known={k: found[k].inertia / known - 1 for k, (known, _) in KNOWN.items()},
        silhouette={k: round(float(s), 4) for k, s in silhouettes.items()},
        silhouette_less_known={k: round(float(silhouettes[k]) - known, 4) for k, (_, known) in KNOWN.items()},
    )


if __name__ == "__main__":
    main()
