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
    stars = stars.where("node > to").distinct().localCheckpoint(eager=False)
    for _ in range(ROUNDS):
        if _settled(stars):
            leaves = stars.select("node", f.col("to").alias("component"))
            centres = stars.select(f.col("to").alias("node"), f.col("to").alias("component")).distinct()
            return leaves.unionByName(centres)
        # Each round stands on its own rows, or the plan would grow with every round.
        stars = _small_stars(_large_stars(stars)).localCheckpoint(eager=False)
    raise IncompleteInput(f"connected components have not settled after {ROUNDS} rounds: is the graph one long chain?")


def _settled(edges: DataFrame) -> bool:
    """Whether every node is tied to one other, to which all that are tied to it are tied: the graph is stars."""
    ends = edges.select(f.col("node"), f.lit(1).alias("tied")).unionByName(
        edges.select(f.col("to").alias("node"), f.lit(0).alias("tied"))
    )
    # A leaf is tied once and nothing is tied to it; a centre is tied to nothing.
    per_node = ends.groupBy("node").agg(f.sum("tied").alias("tied"), f.count("*").alias("ends"))
    return per_node.where("tied > 0 AND ends > 1").isEmpty()


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
