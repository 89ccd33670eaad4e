"""What models and their like are made of: how well each ranks, what tuning tried, which items are alike."""

from common.contracts.core import DOUBLE, EPOCH_MS, INT, LONG, STRING, Contract, Field

MODEL_METRICS = Contract(
    name="model_metrics",
    version=2,
    key=("model_version", "ranking", "segment"),
    doc="How well a model and what it is compared with rank what visitors took up after the split (ranking_metrics).",
    fields=(
        Field("model_version", STRING, nullable=False, doc="The model that was judged"),
        Field("ranking", STRING, nullable=False, doc="als, popularity, or another source of candidates"),
        Field("segment", STRING, nullable=False, doc="all, or the visitors that the figures are of"),
        Field("k", INT, nullable=False, doc="Length of the lists"),
        Field("users", LONG, nullable=False, doc="Visitors judged"),
        Field("precision", DOUBLE, nullable=False),
        Field("recall", DOUBLE, nullable=False),
        Field("ndcg", DOUBLE, nullable=False),
        Field("map", DOUBLE, nullable=False),
        Field("coverage", DOUBLE, nullable=False, doc="Items in any list, by all items"),
        Field("novelty", DOUBLE, nullable=False, doc="Mean self-information of a listed item, in bits"),
        Field("popularity_bias", DOUBLE, nullable=False, doc="Listed items' popularity by that of those taken up, - 1"),
        Field("f1", DOUBLE, doc="Harmonic mean of precision and recall; null of models judged before version 2"),
        Field("auc", DOUBLE, doc="Limited area under the curve: 0.5 by chance; null of models judged before version 2"),
    ),
)

TUNING_TRIALS = Contract(
    name="tuning_trials",
    version=2,
    key=("study", "trial"),
    doc="What tuning tried, a row a fit; a study is taken up again from here.",
    fields=(
        Field("study", STRING, nullable=False, doc="A digest of what decides the trials: cut, input, space, seed"),
        Field("trial", INT, nullable=False, doc="From 0, in the order they were tried"),
        Field("cut_ms", EPOCH_MS, nullable=False),
        Field("search", STRING, nullable=False, doc="tpe, optuna or random"),
        Field("mode", STRING, nullable=False, doc="implicit or explicit"),
        Field("rank", INT, nullable=False),
        Field("iterations", INT, nullable=False),
        Field("reg", DOUBLE, nullable=False),
        Field("alpha", DOUBLE, nullable=False),
        Field("seed", LONG, nullable=False, doc="Of the fit's first factors"),
        Field("ndcg", DOUBLE, doc="At 10, on the validation part; null where the fit failed"),
        Field("seconds", DOUBLE, nullable=False),
        Field("outcome", STRING, nullable=False, doc="ok, or the error's class"),
        Field("input_version", LONG, doc="Version of silver/events that was read; null of trials before version 2"),
    ),
)

SIMILAR_ITEMS = Contract(
    name="similar_items",
    version=1,
    key=("item_id", "source", "near_id"),
    doc="The items most like each, by source.",
    fields=(
        Field("item_id", STRING, nullable=False),
        Field(
            "source",
            STRING,
            nullable=False,
            doc="cooccurrence: taken up by the same visitors; content: told alike",
        ),
        Field("near_id", STRING, nullable=False, doc="The item that is like it"),
        Field("score", DOUBLE, nullable=False, doc="How much, on the source's own scale; above 0"),
        Field("cut_ms", EPOCH_MS, nullable=False),
    ),
)
