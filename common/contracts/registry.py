"""All contracts by name: what golden files, documentation and schema checks run over."""

from common.contracts.catalogue import ITEM_VIEW, ITEMS
from common.contracts.core import Contract
from common.contracts.customers import CUSTOMERS, PERSON_LINKS, PERSONS, REVIEW_QUEUE, VERDICTS
from common.contracts.embedding import USER_EMBEDDING
from common.contracts.events import (
    BRONZE_EVENTS,
    EVENTS,
    QUARANTINE_REVIEWS,
    QUARANTINED_EVENTS,
    REJECTIONS,
    SILVER_EVENTS,
)
from common.contracts.models import MODEL_METRICS, SIMILAR_ITEMS, TUNING_TRIALS
from common.contracts.operations import PARITY, POINTER, RUNS
from common.contracts.preparation import FILLS, PREPARED
from common.contracts.profiles import (
    MEMBERSHIPS,
    ORDERS,
    PERSONAS,
    PROFILE,
    RECOMMENDATIONS,
    RFM,
    SEGMENT_HISTORY,
    SEGMENT_LIFT,
    SEGMENT_MOVES,
    SEGMENT_VIEW,
    SEGMENTS,
    VISITOR_FEATURES,
)
from common.contracts.sessions import BATCH_SESSIONS, SESSIONS
from common.contracts.triggers import TRIGGERS
from common.features.groups import GROUPS

ALL: dict[str, Contract] = {
    contract.name: contract
    for contract in (
        EVENTS,
        BRONZE_EVENTS,
        SILVER_EVENTS,
        QUARANTINED_EVENTS,
        QUARANTINE_REVIEWS,
        REJECTIONS,
        ITEMS,
        ITEM_VIEW,
        CUSTOMERS,
        PERSONS,
        PERSON_LINKS,
        REVIEW_QUEUE,
        VERDICTS,
        SESSIONS,
        BATCH_SESSIONS,
        ORDERS,
        VISITOR_FEATURES,
        RFM,
        SEGMENTS,
        SEGMENT_VIEW,
        SEGMENT_HISTORY,
        SEGMENT_MOVES,
        SEGMENT_LIFT,
        MEMBERSHIPS,
        PERSONAS,
        PREPARED,
        FILLS,
        PROFILE,
        RECOMMENDATIONS,
        MODEL_METRICS,
        TUNING_TRIALS,
        SIMILAR_ITEMS,
        USER_EMBEDDING,
        TRIGGERS,
        RUNS,
        PARITY,
        POINTER,
        *(group.contract() for group in GROUPS.values()),
        *(group.batch_contract() for group in GROUPS.values()),
    )
}
