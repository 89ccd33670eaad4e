"""Connected components of a graph too large for one machine: alternating stars.

Kiveris et al., Connected Components in MapReduce and Beyond (2014): every node is tied to the smallest node it knows,
first across to its larger neighbours, then among its smaller ones, until nothing moves. The graph then is stars, and
the centre of each is the component's smallest node. It takes about log2 of the largest component's diameter rounds.
"""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as f

from common.errors import IncompleteInput

ROUNDS = 50
"""More than the stars of any graph need that fits into a lake."""


def components(edges: DataFrame) -> DataFrame:
    """``node`` and ``component``, the component's smallest node, of every node that has an edge.

    ``edges`` has two long columns ``left`` and ``right``; direction, repetition and loops mean nothing.
    Raises IncompleteInput where the stars have not settled after :data:`ROUNDS` rounds.
    """
    stars = edges.select(f.greatest("left", "right").alias("node"), f.least("left", "right").alias("to"))
    stars = stars.where("node > to").distinct()
    before = None
    for _ in range(ROUNDS):
        # Each round stands on its own rows, or the plan would grow with every round.
        stars = _small_stars(_large_stars(stars)).localCheckpoint(eager=False)
        now = stars.agg(f.count("*"), f.bit_xor(f.xxhash64("node", "to"))).first()
        if now == before:
            leaves = stars.select("node", f.col("to").alias("component"))
            centres = stars.select(f.col("to").alias("node"), f.col("to").alias("component")).distinct()
            return leaves.unionByName(centres)
        before = now
    raise IncompleteInput(f"connected components have not settled after {ROUNDS} rounds: is the graph one long chain?")


def _large_stars(edges: DataFrame) -> DataFrame:
    """Tie each larger neighbour of a node to the smallest of the node and its neighbours."""
    both = edges.unionByName(edges.select(f.col("to").alias("node"), f.col("node").alias("to")))
    smallest = f.least("node", f.min("to").over(Window.partitionBy("node")))
    tied = both.withColumn("_least", smallest).where("to > node")
    return tied.select(f.col("to").alias("node"), f.col("_least").alias("to")).distinct()


def _small_stars(edges: DataFrame) -> DataFrame:
    """Tie a node and its smaller neighbours to the smallest of them; every edge goes from larger to smaller."""
    tied = edges.withColumn("_least", f.min("to").over(Window.partitionBy("node")))
    others = tied.where("to > _least").select(f.col("to").alias("node"), f.col("_least").alias("to"))
    own = tied.select("node", f.col("_least").alias("to"))
    return own.unionByName(others).distinct()
