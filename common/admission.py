"""The gate: raw bytes become an event, or a rejection that keeps them and says why.

One function stands at three doors: the HTTP collector (:func:`check`), the Flink source and the Spark
import of history (:func:`admit_batch`). Its answer hangs on the bytes, the record's Kafka timestamp and
the policy alone; no wall clock is read, so a replay gives the same rows.

A well-formed event is decoded straight into a typed struct. Whatever does not fit (an unknown field, a
property that is not text, any fault) is decoded a second time, field by field, by :func:`_decode_slowly`,
which is the authority; both end in the same checks, :func:`_settle`.
"""

import hashlib
import hmac
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

import msgspec

from common.codes import country_code
from common.contracts.events import EVENT_TYPES, EVENTS, UNKNOWN_CATEGORY
from common.errors import ConfigError, ContractError

MAX_FUTURE_MS = 300_000
MAX_BYTES = 1 << 20
KEPT_BYTES = 1 << 10
"""How much of an oversize record a rejection keeps."""

MAX_EVENT_MS = 4_102_444_800_000
"""2100-01-01 UTC, exclusive: an event_ms in microseconds or nanoseconds lies beyond it."""
MIN_EVENT_MS = 31_536_000_000
"""1971-01-01 UTC: an event_ms in seconds lies before it."""

MAX_PRICE = Decimal(1_000_000_000)
PRICE_DECIMALS = 4
MAX_COUNT = 1_000_000
MAX_VALUE = 1e12
MAX_ID = 256
MAX_TEXT = 4_096
MAX_PROPERTY = 16_384
MAX_PROPERTIES = 256
MAX_DEPTH = 32

PLACEHOLDER_IDS = frozenset({"undefined", "null", "None"})
"""What a faulty tracker sends in place of an id; taken for an id it would merge strangers into one visitor."""

RESERVED_FIELDS = frozenset({"visitor_id", "ingest_ms"})
"""Set by the gate; a raw ``visitor_id`` would carry an id past the pseudonyms."""


class Reason(StrEnum):
    """Why a record was refused: a closed set."""

    EMPTY = "empty"
    OVERSIZE = "oversize"
    INVALID_UTF8 = "invalid_utf8"
    INVALID_JSON = "invalid_json"
    TOO_DEEP = "too_deep"
    NOT_AN_OBJECT = "not_an_object"
    MISSING_FIELD = "missing_field"
    MISSING_VISITOR = "missing_visitor"
    WRONG_TYPE = "wrong_type"
    OUT_OF_RANGE = "out_of_range"
    TOO_LONG = "too_long"
    TOO_MANY_PROPERTIES = "too_many_properties"
    INVALID_TEXT = "invalid_text"
    UNKNOWN_EVENT_TYPE = "unknown_event_type"
    PLACEHOLDER_ID = "placeholder_id"
    RESERVED_FIELD = "reserved_field"
    AMBIGUOUS_FIELD = "ambiguous_field"
    FUTURE = "future"
    TOO_OLD = "too_old"
    MISSING_TIMESTAMP = "missing_timestamp"
    DEFECT = "defect"


REQUIRED: dict[str, tuple[tuple[str, ...], ...]] = {
    "view": (("item_id",),),
    "cart": (("item_id",),),
    "uncart": (("item_id",),),
    "purchase": (("item_id",), ("price",), ("quantity",), ("order_id",)),
    "refund": (("item_id",), ("price",), ("quantity",), ("order_id",)),
    "search": (("query",),),
    "rate": (("item_id",), ("value",)),
    "share": (("item_id",),),
    "impression": (("item_id", "recommendation_id"),),
    "consent": (("properties",),),
    "identify": (("user_id",), ("anonymous_id",)),
}
"""Per event type the fields it needs beside event_id, event_type, event_ms and an id; of a group, one."""

assert REQUIRED.keys() == EVENT_TYPES, "every declared event type states what it needs"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One admitted event: the fields of the contract ``events`` v1, in its order."""

    event_id: str
    event_type: str
    visitor_id: str
    user_id: str | None = None
    anonymous_id: str | None = None
    item_id: str | None = None
    category: str = UNKNOWN_CATEGORY
    price: Decimal | None = None
    currency: str | None = None
    quantity: int | None = None
    order_id: str | None = None
    line: int | None = None
    query: str | None = None
    value: float | None = None
    recommendation_id: str | None = None
    event_ms: int
    ingest_ms: int
    device: str | None = None
    country: str | None = None
    referrer: str | None = None
    source: str | None = None
    properties: dict[str, str] | None = None


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """A refused record. ``raw`` is whole, of an oversize record its first kilobyte; size and sha256 are the whole's."""

    reason: Reason
    field: str | None
    detail: str
    raw: bytes
    size: int
    sha256: str


EVENT_COLUMNS: tuple[str, ...] = EVENTS.names
REJECTION_COLUMNS: tuple[str, ...] = ("reason", "field", "detail", "raw", "size", "sha256")

assert Event.__struct_fields__ == EVENT_COLUMNS, "Event and the contract events declare the same fields"


class _Fault(NamedTuple):
    reason: Reason
    field: str | None
    detail: str


def _expected(reason: Reason, name: str, rule: str, got: str) -> _Fault:
    return _Fault(reason, name, f"{name}: expected {rule}, got {got}")


def _text(text: str) -> str:
    return f"a string of length {len(text)}"


@dataclass(frozen=True)
class Policy:
    """What one door is told: the pseudonym key, the bounds of time and size, the catalogue's categories.

    ``categories`` maps an item_id to the category an event of that item takes if it brings none.
    The key never shows in a repr.
    """

    key: bytes = field(repr=False)
    key_id: str
    max_future_ms: int = MAX_FUTURE_MS
    max_age_ms: int | None = None
    max_bytes: int = MAX_BYTES
    categories: Mapping[str, str] | None = field(default=None, repr=False)
    _pseudonyms: dict[tuple[str, str], str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.key) < 16:
            raise ConfigError(f"the pseudonym key has {len(self.key)} bytes; give at least 16")
        if not re.fullmatch(r"[a-z0-9]{1,16}", self.key_id):
            raise ConfigError(f"pseudonym key id {self.key_id!r} is not 1 to 16 of a-z and 0-9, such as k1")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pseudonyms": {}}

    def pseudonym(self, kind: str, raw_id: str) -> str:
        """The pseudonym of a raw id: the key id and 128 bits of HMAC-SHA-256 over ``kind:id`` in hex.

        ``kind`` is ``"user"`` or ``"anonymous"``, of a customer's contacts ``"email"`` or ``"phone"``, so that equal
        texts of two kinds stay apart.
        """
        known = self._pseudonyms.get((kind, raw_id))
        if known is not None:
            return known
        digest = hmac.digest(self.key, f"{kind}:{raw_id}".encode(), "sha256")
        made = f"{self.key_id}_{digest[:16].hex()}"
        if len(self._pseudonyms) >= _REMEMBERED_IDS:
            self._pseudonyms.clear()
        self._pseudonyms[(kind, raw_id)] = made
        return made


_REMEMBERED_IDS = 65_536


def policy_from_env(
    key_env: str,
    key_id: str = "k1",
    *,
    max_future_ms: int = MAX_FUTURE_MS,
    max_age_ms: int | None = None,
    max_bytes: int = MAX_BYTES,
    categories: Mapping[str, str] | None = None,
) -> Policy:
    """A policy whose pseudonym key stands in the environment variable ``key_env``.

    The variable holds at least 16 bytes: as hex, or as any other UTF-8 text. Raises ConfigError naming
    the variable where it is unset or too short.
    """
    text = os.environ.get(key_env, "")
    if not text:
        raise ConfigError(
            f"environment variable {key_env} is not set; give it the pseudonym key, at least 16 bytes "
            f"(make one with: openssl rand -hex 32)"
        )
    is_hex = re.fullmatch(r"(?:[0-9a-fA-F]{2}){16,}", text)
    key = bytes.fromhex(text) if is_hex else text.encode("utf-8", "surrogateescape")
    if len(key) < 16:
        raise ConfigError(f"environment variable {key_env} holds a pseudonym key of {len(key)} bytes; give at least 16")
    return Policy(key, key_id, max_future_ms, max_age_ms, max_bytes, categories)


# --- decoding -----------------------------------------------------------------------------------------

_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID)]
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT)]
_Count = Annotated[int, msgspec.Meta(ge=1, le=MAX_COUNT)]
_Properties = Annotated[
    dict[_Id, Annotated[str, msgspec.Meta(max_length=MAX_PROPERTY)]], msgspec.Meta(max_length=MAX_PROPERTIES)
]


class _Wire(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An event as it comes: every field optional here, so that what is missing is named by :func:`_settle`."""

    event_id: _Id | None = None
    event_type: _Id | None = None
    user_id: _Id | None = None
    anonymous_id: _Id | None = None
    item_id: _Id | None = None
    category: _Id | None = None
    price: Any = None  # int, Decimal or str: a typed Decimal would take "NaN", "1_0" and " 1 "
    currency: _Id | None = None
    quantity: _Count | None = None
    order_id: _Id | None = None
    line: _Count | None = None
    query: _Text | None = None
    value: Annotated[float, msgspec.Meta(ge=-MAX_VALUE, le=MAX_VALUE)] | None = None
    recommendation_id: _Id | None = None
    event_ms: Annotated[int, msgspec.Meta(ge=MIN_EVENT_MS, lt=MAX_EVENT_MS)] | None = None
    device: _Id | None = None
    country: _Id | None = None
    referrer: _Text | None = None
    source: _Id | None = None
    properties: _Properties | None = None


class _LooseWire(_Wire, forbid_unknown_fields=False, gc=False):
    """The same, for an event that also brings fields the contract does not know, or properties that are not text."""

    properties: dict[_Id, msgspec.Raw] | None = None  # type: ignore[assignment]


_LONG_TEXTS = frozenset({"query", "referrer"})
_INTEGERS = {
    "quantity": f"an integer from 1 to {MAX_COUNT}",
    "line": f"an integer from 1 to {MAX_COUNT}",
    "event_ms": f"UTC epoch milliseconds, an integer from {MIN_EVENT_MS} to {MAX_EVENT_MS - 1}",
}
_PRICE_TYPES = frozenset({type(None), int, Decimal, str})
_PRICE_RULE = f"a number or a decimal text from 0 to {MAX_PRICE} with at most {PRICE_DECIMALS} decimals"

_wire = msgspec.json.Decoder(_Wire, float_hook=Decimal)
_loose = msgspec.json.Decoder(_LooseWire, float_hook=Decimal)
_syntax = msgspec.json.Decoder(msgspec.Raw)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_string = msgspec.json.Decoder(str)

_DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError)
# The closing quote is optional and nothing is given back, so that a string that never ends is passed over once.
_TOKENS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_INTEGER = re.compile(rb"-?[0-9]+")
_DECIMAL = re.compile(r"-?[0-9]{1,64}(?:\.[0-9]{1,64})?", re.ASCII)


def _deeper_than(raw: bytes, limit: int) -> bool:
    """Whether brackets outside strings nest deeper than ``limit``: told from the bytes, whatever call stack is left."""
    if raw.count(b"{") + raw.count(b"[") <= limit:
        return False
    depth = 0
    for token in _TOKENS.finditer(raw):
        start = raw[token.start()]
        if start in b"{[":
            depth += 1
            if depth > limit:
                return True
        elif start in b"}]":
            depth -= 1
    return False


def _shape(raw: bytes) -> str:
    """What a JSON value is and how long, never what it says."""
    first = raw[:1]
    if first == b'"':
        return _text(_string.decode(raw))
    if first == b"n":
        return "null"
    if first in b"tf":
        return "a boolean"
    if first == b"[":
        return f"an array of {len(raw)} bytes"
    if first == b"{":
        return f"an object of {len(raw)} bytes"
    if _INTEGER.fullmatch(raw):
        return f"an integer of {len(raw.lstrip(b'-'))} digits"
    return f"a number of {len(raw)} characters"


def _decode(raw: bytes) -> _Wire | _Fault:
    """Decode by the quickest of the three ways that can take the bytes."""
    if b"\\u0000" in raw:
        return _decode_slowly(raw)
    try:
        wire = _wire.decode(raw)
    except msgspec.ValidationError:
        return _decode_loosely(raw)
    except _DECODE_ERRORS:
        return _decode_slowly(raw)
    return wire if type(wire.price) in _PRICE_TYPES else _decode_slowly(raw)


def _decode_loosely(raw: bytes) -> _Wire | _Fault:
    """Decode a well-formed event that brings more than the contract declares."""
    try:
        if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH:
            return _decode_slowly(raw)
        raw.decode()
        parts = _fields.decode(raw)
        wire = _loose.decode(raw)
        if type(wire.price) not in _PRICE_TYPES or not RESERVED_FIELDS.isdisjoint(parts):
            return _decode_slowly(raw)
        raw_properties: Any = wire.properties
        if raw_properties is not None:
            found = _text_properties(raw_properties)
            if isinstance(found, _Fault):
                return _decode_slowly(raw)
            wire = msgspec.structs.replace(wire, properties=found)
        unknown = {name: bytes(parts[name]) for name in parts if name not in _WIRE_FIELDS}
    except _DECODE_ERRORS:
        return _decode_slowly(raw)
    return _add_unknown(wire, unknown) or wire


def _decode_slowly(raw: bytes) -> _Wire | _Fault:
    """Decode field by field: takes what the typed decoder cannot, and names what is wrong."""
    if _deeper_than(raw, MAX_DEPTH):
        return _Fault(Reason.TOO_DEEP, None, f"nested deeper than {MAX_DEPTH} levels")
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return _Fault(Reason.INVALID_UTF8, None, f"not UTF-8 at byte {error.start} of {len(raw)}")
    try:
        value = bytes(_syntax.decode(raw))
    except _DECODE_ERRORS:
        return _Fault(Reason.INVALID_JSON, None, f"not JSON: {len(raw)} bytes")
    if not value.startswith(b"{"):
        return _Fault(Reason.NOT_AN_OBJECT, None, f"expected an object, got {_shape(value)}")

    wire = _Wire()
    unknown: dict[str, bytes] = {}
    for name, part in _fields.decode(raw).items():
        text = bytes(part)
        if name in RESERVED_FIELDS:
            return _Fault(Reason.RESERVED_FIELD, name, f"{name} is set by the gate; leave it out")
        if name not in _WIRE_FIELDS:
            unknown[name] = text
        elif name == "properties":
            found = _decode_properties(text)
            if isinstance(found, _Fault):
                return found
            wire.properties = found
        elif text != b"null":
            fault = _decode_field(wire, name, text)
            if fault is not None:
                return fault
    return _add_unknown(wire, unknown) or wire


_WIRE_FIELDS = frozenset(_Wire.__struct_fields__)


def _decode_field(wire: _Wire, name: str, text: bytes) -> _Fault | None:
    """Decode one known field that is not null into ``wire``, or say what is wrong with it."""
    is_text = text.startswith(b'"')
    is_number = text[:1] in b"-0123456789"
    if name in _INTEGERS:
        rule = _INTEGERS[name]
        if not _INTEGER.fullmatch(text):
            return _expected(Reason.WRONG_TYPE, name, rule, _shape(text))
        low, high = (MIN_EVENT_MS, MAX_EVENT_MS - 1) if name == "event_ms" else (1, MAX_COUNT)
        if len(text) > 20 or not low <= int(text) <= high:
            return _expected(Reason.OUT_OF_RANGE, name, rule, _shape(text))
        setattr(wire, name, int(text))
        return None
    if name == "value":
        rule = f"a number from {-MAX_VALUE:.0f} to {MAX_VALUE:.0f}"
        if not is_number:
            return _expected(Reason.WRONG_TYPE, name, rule, _shape(text))
        number = float(text)
        if not -MAX_VALUE <= number <= MAX_VALUE:
            return _expected(Reason.OUT_OF_RANGE, name, rule, _shape(text))
        wire.value = number
        return None
    if name == "price" and is_number:
        try:
            wire.price = Decimal(text.decode())
        except ArithmeticError:
            return _expected(Reason.OUT_OF_RANGE, name, _PRICE_RULE, _shape(text))
        return None
    if not is_text:
        rule = _PRICE_RULE if name == "price" else "a string"
        return _expected(Reason.WRONG_TYPE, name, rule, _shape(text))
    string = _string.decode(text)
    limit = MAX_TEXT if name in _LONG_TEXTS else MAX_ID
    if "\0" in string:
        return _Fault(Reason.INVALID_TEXT, name, f"{name}: a NUL character in {_shape(text)}")
    if len(string) > limit and name != "price":  # a price's digits are judged as a price
        return _Fault(Reason.TOO_LONG, name, f"{name}: at most {limit} characters, got {_shape(text)}")
    setattr(wire, name, string or None)
    return None


def _decode_properties(text: bytes) -> dict[str, str] | None | _Fault:
    if text == b"null":
        return None
    if not text.startswith(b"{"):
        return _Fault(Reason.WRONG_TYPE, "properties", f"properties: expected an object, got {_shape(text)}")
    return _text_properties(_fields.decode(text))


def _text_properties(parts: Mapping[str, msgspec.Raw]) -> dict[str, str] | _Fault:
    if len(parts) > MAX_PROPERTIES:
        return _too_many(len(parts))
    found: dict[str, str] = {}
    for key, part in parts.items():
        value = _property(key, bytes(part))
        if isinstance(value, _Fault):
            return value
        if value is not None:
            found[key] = value
    return found


def _too_many(count: int) -> _Fault:
    return _Fault(Reason.TOO_MANY_PROPERTIES, "properties", f"properties: at most {MAX_PROPERTIES}, got {count}")


def _property(key: str, text: bytes) -> str | None | _Fault:
    """A property as text: a string as it is, anything else as the JSON that came; null is no property."""
    if not key or len(key) > MAX_ID:
        return _Fault(Reason.TOO_LONG, "properties", f"properties: a name of 1 to {MAX_ID} characters, got {len(key)}")
    if text == b"null":
        return None
    value = _string.decode(text) if text.startswith(b'"') else text.decode()
    if "\0" in key or "\0" in value:
        return _Fault(Reason.INVALID_TEXT, "properties", f"properties: a NUL character in {_shape(text)} or its name")
    if len(value) > MAX_PROPERTY:
        return _expected(Reason.TOO_LONG, "properties", f"values of at most {MAX_PROPERTY} characters", _shape(text))
    return value


def _add_unknown(wire: _Wire, unknown: dict[str, bytes]) -> _Fault | None:
    """Move fields the contract does not know into the properties."""
    if not unknown:
        return None
    if len(unknown) > MAX_PROPERTIES:
        return _too_many(len(unknown))
    merged = dict(wire.properties or {})
    for key, text in unknown.items():
        value = _property(key, text)
        if isinstance(value, _Fault):
            return value
        if value is None:
            continue
        if merged.setdefault(key, value) != value:
            return _Fault(
                Reason.AMBIGUOUS_FIELD,
                "properties",
                "properties: a name stands both beside and inside properties with different values",
            )
    if len(merged) > MAX_PROPERTIES:
        return _too_many(len(merged))
    wire.properties = merged
    return None


# --- checks -------------------------------------------------------------------------------------------


@lru_cache(maxsize=16_384)
def normalise_category(category: str) -> str:
    """A category as a dotted path in lower case: ``"Home > Tea Sets"`` and ``"home/tea_sets"`` are ``home.tea_sets``.

    ``unknown`` where nothing is left.
    """
    parts = ("_".join(part.split()) for part in re.split(r"[./>|]", category.lower()))
    return ".".join(part for part in parts if part) or UNKNOWN_CATEGORY


def _price(price: int | Decimal | str) -> Decimal | _Fault:
    """The exact price with four decimals, or what is wrong with it."""
    if type(price) is str and not _DECIMAL.fullmatch(price):
        return _expected(Reason.WRONG_TYPE, "price", _PRICE_RULE, _text(price))
    number = Decimal(price)
    if not 0 <= number <= MAX_PRICE:
        side = "below 0" if number < 0 else "above the bound"
        return _expected(Reason.OUT_OF_RANGE, "price", _PRICE_RULE, f"a number {side}")
    exact = number.quantize(_PRICE_STEP, context=_CONTEXT)
    if exact != number:
        return _expected(Reason.OUT_OF_RANGE, "price", _PRICE_RULE, "more decimals")
    return exact if exact else _FREE  # -0.0 has a sign


_PRICE_STEP = Decimal(1).scaleb(-PRICE_DECIMALS)
_CONTEXT = Context(prec=38, traps=[])
_FREE = Decimal(0).quantize(_PRICE_STEP)


def _missing(name: str, event_type: str | None = None) -> _Fault:
    of = f" of a {event_type}" if event_type else ""
    return _Fault(Reason.MISSING_FIELD, name, f"{name}{of} is missing, null or blank")


def _blank(text: str | None) -> bool:
    return text is None or text.isspace()


def _settle(wire: _Wire, now_ms: int, policy: "Policy | _Bounds") -> Decimal | None | _Fault:
    """Check what types cannot say; return the exact price, or the first fault in a fixed order.

    Blank texts in ``wire`` become None, a country its code, a device lower case, a missing category the catalogue's, a
    missing line of a purchase or refund 1.
    """
    event_type = wire.event_type
    if event_type is None:
        return _missing("event_type")
    required = REQUIRED.get(event_type)
    if required is None:
        return _Fault(
            Reason.UNKNOWN_EVENT_TYPE,
            "event_type",
            f"event_type: a string of length {len(event_type)} is none of {', '.join(sorted(EVENT_TYPES))}",
        )
    if _blank(wire.event_id):
        return _missing("event_id")
    event_ms = wire.event_ms
    if event_ms is None:
        return _missing("event_ms")
    if event_ms > now_ms + policy.max_future_ms:
        return _Fault(
            Reason.FUTURE,
            "event_ms",
            f"event_ms: {event_ms - now_ms} ms after the record's timestamp, allowed are {policy.max_future_ms}",
        )
    if policy.max_age_ms is not None and event_ms < now_ms - policy.max_age_ms:
        return _Fault(
            Reason.TOO_OLD,
            "event_ms",
            f"event_ms: {now_ms - event_ms} ms before the record's timestamp, allowed are {policy.max_age_ms}",
        )
    if wire.user_id is not None:
        if wire.user_id.isspace():
            wire.user_id = None
        elif wire.user_id in PLACEHOLDER_IDS:
            return _placeholder("user_id", wire.user_id)
    if wire.anonymous_id is not None:
        if wire.anonymous_id.isspace():
            wire.anonymous_id = None
        elif wire.anonymous_id in PLACEHOLDER_IDS:
            return _placeholder("anonymous_id", wire.anonymous_id)
    if wire.item_id is not None and wire.item_id.isspace():
        wire.item_id = None
    if wire.order_id is not None and wire.order_id.isspace():
        wire.order_id = None
    price = wire.price
    if price is not None:
        if price == "":
            price = None
        else:
            price = _price(price)
            if type(price) is _Fault:
                return price
        wire.price = price
    if wire.currency is not None:
        currency = wire.currency
        if len(currency) != 3 or not (currency.isascii() and currency.isalpha()):
            return _expected(Reason.OUT_OF_RANGE, "currency", "three letters (ISO 4217)", _text(currency))
        wire.currency = currency.upper()
    if wire.country is not None:
        wire.country = country_code(wire.country) or None
    if wire.device is not None:
        wire.device = " ".join(wire.device.split()).lower() or None
    if wire.query is not None:
        wire.query = " ".join(wire.query.split()) or None
    for group in required:
        for name in group:
            if getattr(wire, name):
                break
            if getattr(wire, name) is not None and name in _NUMERIC:
                break
        else:
            return _missing(" or ".join(group), event_type)
    if wire.user_id is None and wire.anonymous_id is None:
        return _Fault(Reason.MISSING_VISITOR, "user_id", "user_id and anonymous_id are both missing, null or blank")
    category = wire.category
    if category is not None:
        category = normalise_category(category)
        if len(category) > MAX_ID:  # lower case of some letters is two
            return _expected(Reason.TOO_LONG, "category", f"at most {MAX_ID} characters in lower case", _text(category))
    if category in _NO_CATEGORY and policy.categories is not None and wire.item_id is not None:
        category = policy.categories.get(wire.item_id)
        category = None if category is None else normalise_category(category)
    wire.category = category or UNKNOWN_CATEGORY
    if wire.line is None and event_type in _ORDERS:
        wire.line = 1
    return price


_NO_CATEGORY = frozenset({None, UNKNOWN_CATEGORY})
_NUMERIC = frozenset({"price", "value"})
_ORDERS = frozenset({"purchase", "refund"})


def _placeholder(name: str, raw_id: str) -> _Fault:
    detail = f"{name}: {_text(raw_id)} that stands for a missing value; leave the field out"
    return _Fault(Reason.PLACEHOLDER_ID, name, detail)


class _Bounds(NamedTuple):
    """A policy without pseudonyms, for the collector."""

    max_future_ms: int = MAX_FUTURE_MS
    max_age_ms: int | None = None
    max_bytes: int = MAX_BYTES
    categories: Mapping[str, str] | None = None


def _examine(raw: bytes | None, now_ms: int, policy: Policy | _Bounds) -> _Wire | _Fault:
    """The one way in: bytes to a checked wire event, or the first fault."""
    try:
        if not raw:
            return _Fault(Reason.EMPTY, None, "the record has no value" if raw is None else "the record has no bytes")
        if len(raw) > policy.max_bytes:
            return _Fault(Reason.OVERSIZE, None, f"{len(raw)} bytes, at most {policy.max_bytes} are allowed")
        if type(now_ms) is not int or now_ms <= 0:
            return _Fault(Reason.MISSING_TIMESTAMP, None, "the record has no Kafka timestamp")
        wire = _decode(raw)
        if type(wire) is _Fault:
            return wire
        settled = _settle(wire, now_ms, policy)  # type: ignore[arg-type]
        return settled if type(settled) is _Fault else wire
    except Exception as error:  # one poisoned record must not stop a stream; the tests look for this reason
        return _Fault(Reason.DEFECT, None, f"the gate itself failed with {type(error).__name__}; please report it")


def _reject(fault: _Fault, raw: bytes | None) -> Rejection:
    whole = bytes(raw or b"")
    return Rejection(
        reason=fault.reason,
        field=fault.field,
        detail=fault.detail,
        raw=whole[:KEPT_BYTES] if fault.reason is Reason.OVERSIZE else whole,
        size=len(whole),
        sha256=hashlib.sha256(whole).hexdigest(),
    )


def _row(wire: _Wire, now_ms: int, policy: Policy) -> tuple[Any, ...]:
    """The admitted event's values in the order of the contract."""
    user = wire.user_id
    anonymous = wire.anonymous_id
    if user is not None:
        user = policy.pseudonym("user", user)
    if anonymous is not None:
        anonymous = policy.pseudonym("anonymous", anonymous)
    return (
        wire.event_id,
        wire.event_type,
        user or anonymous,
        user,
        anonymous,
        wire.item_id,
        wire.category,
        wire.price,
        wire.currency,
        wire.quantity,
        wire.order_id,
        wire.line,
        wire.query,
        wire.value,
        wire.recommendation_id,
        wire.event_ms,
        now_ms,
        wire.device,
        wire.country,
        wire.referrer,
        wire.source,
        wire.properties or None,
    )


# --- doors --------------------------------------------------------------------------------------------


def admit(raw: bytes | None, kafka_ms: int, policy: Policy) -> Event | Rejection:
    """Turn a record into an event with pseudonyms, or into a rejection. Never raises.

    ``kafka_ms`` is the record's Kafka timestamp (an import gives the event's own time): it bounds
    ``event_ms`` and becomes ``ingest_ms``.
    """
    wire = _examine(raw, kafka_ms, policy)
    if type(wire) is _Fault:
        return _reject(wire, raw)
    return Event(**dict(zip(EVENT_COLUMNS, _row(wire, kafka_ms, policy), strict=True)))  # type: ignore[arg-type]


def admit_batch(raws: Iterable[bytes | None], kafka_mss: Iterable[int], policy: Policy) -> dict[str, list[Any]]:
    """Admit many records; return one list a column, in the records' order.

    The columns are the event's (all None where the record was refused) and the rejection's ``reason``,
    ``field``, ``detail``, ``raw``, ``size``, ``sha256`` (all None where it was admitted). Columns of numpy
    and pandas are taken as they are, NaN as null. Never raises for any record; raises ValueError where the
    two inputs differ in length.
    """
    rows: list[tuple[Any, ...]] = []
    for raw, kafka_ms in zip(_plain(raws), _plain(kafka_mss), strict=True):
        if type(raw) is float:  # the null of a pandas column
            raw = None
        wire = _examine(raw, kafka_ms, policy)
        if type(wire) is _Fault:
            rejection = _reject(wire, raw)
            rows.append(_NO_EVENT + (rejection.reason.value, *msgspec.structs.astuple(rejection)[1:]))
        else:
            rows.append(_row(wire, kafka_ms, policy) + _NO_REJECTION)  # type: ignore[arg-type]
    names = EVENT_COLUMNS + REJECTION_COLUMNS
    if not rows:
        return {name: [] for name in names}
    return {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


def _plain(column: Iterable[Any]) -> Iterable[Any]:
    """A column's values as Python's own: an int64 of numpy is no int."""
    tolist = getattr(column, "tolist", None)
    return column if tolist is None else tolist()


_NO_EVENT = (None,) * len(EVENT_COLUMNS)
_NO_REJECTION = (None,) * len(REJECTION_COLUMNS)


def check(
    raw: bytes | None,
    now_ms: int,
    *,
    max_future_ms: int = MAX_FUTURE_MS,
    max_age_ms: int | None = None,
    max_bytes: int = MAX_BYTES,
) -> Rejection | None:
    """What is wrong with a record at the collector's door, or None where the gate will take it.

    Makes no pseudonyms and needs no key; ``now_ms`` is the collector's clock. Never raises.
    """
    wire = _examine(raw, now_ms, _Bounds(max_future_ms, max_age_ms, max_bytes))
    return _reject(wire, raw) if type(wire) is _Fault else None


# --- rejections on the wire ---------------------------------------------------------------------------


class RejectionRecord(msgspec.Struct, kw_only=True):
    """A rejection with where it came from: a record of the topic ``events.rejected``, as JSON, ``raw`` in base64."""

    reason: str
    field: str | None
    detail: str | None
    raw: bytes
    size: int
    sha256: str
    topic: str
    partition: int
    offset: int
    kafka_ms: int


_record = msgspec.json.Decoder(RejectionRecord)


def rejection_json(rejection: Rejection, topic: str, partition: int, offset: int, kafka_ms: int) -> bytes:
    """The JSON written to ``events.rejected``; the contract ``rejections`` with ``raw`` in base64."""
    return msgspec.json.encode(
        RejectionRecord(
            reason=rejection.reason.value,
            field=rejection.field,
            detail=rejection.detail,
            raw=rejection.raw,
            size=rejection.size,
            sha256=rejection.sha256,
            topic=topic,
            partition=partition,
            offset=offset,
            kafka_ms=kafka_ms,
        )
    )


def read_rejection(record: bytes) -> RejectionRecord:
    """A record of ``events.rejected`` decoded; raises ContractError where it is none."""
    try:
        return _record.decode(record)
    except _DECODE_ERRORS as error:
        raise ContractError(f"not a record of events.rejected ({len(record)} bytes): {type(error).__name__}") from None


def replay(record: bytes | RejectionRecord) -> bytes:
    """The rejected record's own bytes, to be sent again once the fault is mended.

    Raises ContractError where only the first kilobyte was kept, or the bytes do not match their sha256.
    """
    rejection = read_rejection(record) if isinstance(record, bytes) else record
    where = f"{rejection.topic}/{rejection.partition}@{rejection.offset}"
    if len(rejection.raw) != rejection.size:
        raise ContractError(
            f"rejection {where} keeps {len(rejection.raw)} of {rejection.size} bytes; fetch the record from its offset"
        )
    if hashlib.sha256(rejection.raw).hexdigest() != rejection.sha256:
        raise ContractError(f"rejection {where}: the kept bytes do not match their sha256")
    return rejection.raw


def reject_columns(columns: Mapping[str, Sequence[Any]]) -> list[int]:
    """The positions of refused records in what :func:`admit_batch` returned."""
    return [i for i, reason in enumerate(columns["reason"]) if reason is not None]
