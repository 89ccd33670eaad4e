"""Customers as their sources give them, and the persons that they are."""

from common.contracts.core import DOUBLE, EPOCH_MS, INT, STRING, Contract, Field, map_of

PERSONAL = (
    Field("given_name", STRING),
    Field("family_name", STRING),
    Field("birth_date", STRING, doc="yyyy-MM-dd, or what the source says: text, so that no log keeps its bounds"),
    Field("street_address", STRING, doc="House number and street"),
    Field("extended_address", STRING, doc="Building, flat or what else stands in a second line"),
    Field("locality", STRING, doc="Town"),
    Field("postal_code", STRING),
    Field("region", STRING),
    Field("country", STRING, doc="ISO 3166-1 alpha-2, where the source says what that knows"),
    Field("email_hash", STRING, doc="Keyed pseudonym of the address in lower case"),
    Field("phone_hash", STRING, doc="Keyed pseudonym of the number's digits"),
)
"""What is known of a person, named as in vCard and schema.org."""

CUSTOMERS = Contract(
    name="customers",
    version=1,
    key=("customer_id",),
    doc="A customer as a source knows it; one person may be several.",
    fields=(
        Field("customer_id", STRING, nullable=False, doc="Keyed pseudonym: the user_id of the customer's events"),
        Field("source", STRING, nullable=False, doc="Name of the data set"),
        *PERSONAL,
        Field("updated_ms", EPOCH_MS, nullable=False, doc="When the source last changed the row"),
    ),
)

PERSONS = Contract(
    name="persons",
    version=1,
    key=("person_id",),
    doc="One person once: the golden record of all customers that were found to be it.",
    fields=(
        Field("person_id", STRING, nullable=False, doc="Kept from run to run while most of its customers stay"),
        Field("customers", INT, nullable=False, doc="How many"),
        *PERSONAL,
        Field("updated_ms", EPOCH_MS, nullable=False, doc="Of the newest customer"),
    ),
)

PERSON_LINKS = Contract(
    name="person_links",
    version=1,
    key=("customer_id",),
    doc="The person that each customer is.",
    fields=(
        Field("customer_id", STRING, nullable=False),
        Field("person_id", STRING, nullable=False),
        Field("weight", DOUBLE, doc="Of the strongest match, in bits; null where the customer is alone"),
    ),
)

REVIEW_QUEUE = Contract(
    name="review_queue",
    version=1,
    key=("customer_id", "other_id"),
    doc="Pairs that may be one person, were kept apart and wait for a verdict: for a human to judge.",
    fields=(
        Field("customer_id", STRING, nullable=False),
        Field("other_id", STRING, nullable=False, doc="Greater than customer_id"),
        Field("person_id", STRING, nullable=False, doc="Of customer_id"),
        Field("other_person_id", STRING, nullable=False),
        Field("weight", DOUBLE, nullable=False, doc="Bits: log2 of the odds"),
        Field("probability", DOUBLE, nullable=False, doc="Of being one person"),
        Field("levels", map_of(STRING), nullable=False, doc="Comparison to its level of agreement"),
    ),
)

VERDICTS = Contract(
    name="verdicts",
    version=1,
    key=("customer_id", "other_id"),
    doc="What humans said of pairs of customers: the last word on each; older versions of the table have the earlier.",
    fields=(
        Field("customer_id", STRING, nullable=False),
        Field("other_id", STRING, nullable=False, doc="Greater than customer_id"),
        Field("verdict", STRING, nullable=False, doc="same or different"),
        Field("judged_by", STRING, nullable=False, doc="Who said it"),
        Field("judged_ms", EPOCH_MS, nullable=False, doc="When"),
        Field("why", STRING, nullable=False),
    ),
)
