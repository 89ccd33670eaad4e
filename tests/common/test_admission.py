"""The gate: it never raises, never loses bytes, names every fault, and its two ways of decoding agree."""

import base64
import json
import pickle
import random
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common import admission
from common.admission import (
    EVENT_COLUMNS,
    KEPT_BYTES,
    MAX_BYTES,
    REJECTION_COLUMNS,
    REQUIRED,
    Event,
    Policy,
    Reason,
    Rejection,
    admit,
    admit_batch,
    check,
    normalise_category,
    policy_from_env,
    read_rejection,
    rejection_json,
    replay,
)
from common.contracts.events import EVENT_TYPES, EVENTS, REJECTIONS
from common.errors import ConfigError, ContractError

KAFKA_MS = 1_700_000_000_000
POLICY = Policy(b"0123456789abcdef", "k1", categories={"mug": "Home > Kitchen", "tea": "food.tea"})

VIEW: dict[str, Any] = {
    "event_id": "e1",
    "event_type": "view",
    "user_id": "alice",
    "item_id": "mug",
    "event_ms": KAFKA_MS - 1_000,
}
PURCHASE = {**VIEW, "event_type": "purchase", "price": 12.5, "quantity": 2, "order_id": "o1"}


def wire(base: dict[str, Any] = VIEW, **changes: Any) -> bytes:
    """The event as JSON with some fields changed, or left out where the change is ``...``."""
    return json.dumps({k: v for k, v in {**base, **changes}.items() if v is not ...}).encode()


def accepted(raw: bytes, policy: Policy = POLICY) -> Event:
    result = admit(raw, KAFKA_MS, policy)
    assert isinstance(result, Event), result
    return result


def refused(raw: bytes | None, policy: Policy = POLICY) -> Rejection:
    result = admit(raw, KAFKA_MS, policy)
    assert isinstance(result, Rejection), result
    return result


def assert_sound(raw: bytes | None) -> Event | Rejection:
    """What holds for any bytes: no exception, no defect, nothing lost, and every door says the same."""
    result = admit(raw, KAFKA_MS, POLICY)
    columns = admit_batch([raw], [KAFKA_MS], POLICY)
    complaint = check(raw, KAFKA_MS)
    if isinstance(result, Rejection):
        assert result.reason is not Reason.DEFECT, result.detail
        assert result.size == len(raw or b"")
        assert result.raw == (raw or b"")[: KEPT_BYTES if result.reason is Reason.OVERSIZE else None]
        record = rejection_json(result, "events", 1, 2, KAFKA_MS)
        if result.reason is not Reason.OVERSIZE:
            assert replay(record) == (raw or b"")
        assert [columns[name][0] for name in REJECTION_COLUMNS] == list(msgspec.structs.astuple(result))
        assert all(columns[name] == [None] for name in EVENT_COLUMNS)
        assert complaint == result
    else:
        assert [columns[name][0] for name in EVENT_COLUMNS] == list(msgspec.structs.astuple(result))
        assert all(columns[name] == [None] for name in REJECTION_COLUMNS)
        assert complaint is None
    if raw:
        quick, slow = admission._decode(raw), admission._decode_slowly(raw)
        if isinstance(quick, admission._Fault):
            assert quick == slow
        else:
            assert not isinstance(slow, admission._Fault), slow
            for name in admission._Wire.__struct_fields__:
                a, b = getattr(quick, name), getattr(slow, name)
                assert (a or None) == (b or None) or a == b, name
    return result


# --- any bytes, any JSON ------------------------------------------------------------------------------


@given(st.binary(max_size=400))
@example(b"\xff\xfe")
@example(b"\xed\xa0\x80")
@example(b"\xef\xbb\xbf{}")
@example(b"\x00")
def test_any_bytes_are_judged_and_kept(raw: bytes) -> None:
    assert isinstance(assert_sound(raw), Rejection)


@given(
    st.randoms(use_true_random=False),
    st.sampled_from([VIEW, PURCHASE, {**PURCHASE, "colour": "r", "properties": {"a": 1}}]),
)
def test_broken_copies_of_good_events_are_judged_and_kept(rng: random.Random, base: dict[str, Any]) -> None:
    raw = bytearray(wire(base))
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(raw))
        match rng.randrange(3):
            case 0:
                raw[at] = rng.randrange(256)
            case 1:
                del raw[at : at + rng.randint(1, 8)]
            case _:
                raw[at:at] = rng.choice(
                    [b"\\u0000", b"\\ud800", b"\xff", b"NaN", b"1e999", b"[", b"{", b'"', b"\x00", b"-"]
                )
        if not raw:
            break
    assert_sound(bytes(raw))


_names = st.sampled_from([*admission._Wire.__struct_fields__, "visitor_id", "ingest_ms", "colour", ""])
_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(KAFKA_MS - 10**6, KAFKA_MS + 10**6)
    | st.integers(-3, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(0, 100, places=2).map(str)
    | st.text(max_size=8)
    | st.sampled_from([*EVENT_TYPES, "a" * 300, "undefined", " ", "GBP", "1e5", "٣", "1_0", "NaN", "a\0b"])
)
_json = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)


@given(st.sampled_from([VIEW, PURCHASE, {}]), st.dictionaries(_names, _json, max_size=5), st.booleans())
def test_any_json_is_judged_and_kept(base: dict[str, Any], changes: dict[str, Any], ascii_only: bool) -> None:
    assert_sound(json.dumps({**base, **changes}, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"))


@given(_json)
def test_any_json_value_that_is_no_event_is_refused(value: Any) -> None:
    assert isinstance(assert_sound(json.dumps(value).encode()), Rejection)


@given(st.dictionaries(st.text(max_size=5).filter(lambda k: k not in EVENT_COLUMNS), _json, max_size=4))
def test_what_the_contract_does_not_know_is_in_the_properties(extra: dict[str, Any]) -> None:
    result = assert_sound(wire(**extra))
    if isinstance(result, Event):
        expected = {k: v for k, v in extra.items() if v is not None and k != "properties"}
        found = result.properties or {}
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert found[name] == value if isinstance(value, str) else json.loads(found[name]) == value


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
@pytest.mark.parametrize("depth", [31, 33, 990, 100_000])
@pytest.mark.parametrize("closed", [True, False])
def test_nesting_has_a_bound_that_no_call_stack_moves(opening: bytes, depth: int, closed: bool) -> None:
    closing = opening.replace(b'"a":', b"")[::-1].translate(bytes.maketrans(b"[{", b"]}"))
    levels = depth * len(closing)
    for raw in (opening * depth + (b"1" + closing * depth if closed else b""), b'{"price":' + opening * depth):
        if len(raw) > MAX_BYTES:
            continue
        result = assert_sound(raw)
        assert isinstance(result, Rejection)
        assert (result.reason is Reason.TOO_DEEP) == (levels + (raw[:9] == b'{"price":') > 32)


def test_the_answer_does_not_hang_on_the_call_stack() -> None:
    raws = [wire(extra=json.loads("[" * d + "]" * d)) for d in (1, 20, 31, 32, 40)] + [b"[" * 400, b'{"a":' * 900]
    at_top = [admit(raw, KAFKA_MS, POLICY) for raw in raws]

    def deep(levels: int) -> list[Event | Rejection]:
        return deep(levels - 1) if levels else [admit(raw, KAFKA_MS, POLICY) for raw in raws]

    assert deep(700) == at_top


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 33 + b'"' + b'\\"' * 500_000,
        b"[" * 33 + b'"' * 1_000_000,
        b"[]," * 340_000,
        b'{"a":' + b'"\\' * 500_000,
        b"{" + b",".join(b'"%d":0' % i for i in range(90_000)) + b"}",
        b'{"properties":{' + b",".join(b'"%d":{}' % i for i in range(80_000)) + b"}}",
        b'{"price":' + b"9" * 1_000_000 + b"}",
        b'{"price":"' + b"9" * 1_000_000 + b'"}',
        b'{"price":0.' + b"9" * 1_000_000 + b"}",
        b'{"x":"' + b"\\u0000" * 170_000 + b'"}',
    ],
    ids=lambda raw: raw[30:40].decode(),
)
def test_a_megabyte_of_malice_costs_no_more_than_its_length(raw: bytes) -> None:
    """A pattern or loop that goes back over the bytes takes hours here: the limit of every test's time catches it."""
    assert isinstance(assert_sound(raw), Rejection)


def test_nothing_is_empty_or_oversize_without_a_reason() -> None:
    assert refused(None).reason is Reason.EMPTY
    assert refused(b"").reason is Reason.EMPTY
    raw = wire(note="x" * MAX_BYTES)
    rejection = refused(raw)
    assert (rejection.reason, rejection.size, rejection.raw) == (Reason.OVERSIZE, len(raw), raw[:KEPT_BYTES])
    with pytest.raises(ContractError, match=r"events/0@7 keeps 1024 of"):
        replay(rejection_json(rejection, "events", 0, 7, KAFKA_MS))


# --- reasons ------------------------------------------------------------------------------------------

LONG = "x" * 257


@pytest.mark.parametrize(
    ("raw", "reason", "field"),
    [
        (b'{"event_id": "e1"', Reason.INVALID_JSON, None),
        (b'{"price": NaN}', Reason.INVALID_JSON, None),
        (b'{"price": Infinity}', Reason.INVALID_JSON, None),
        (b'{"item_id": "\\ud800"}', Reason.INVALID_JSON, None),
        (b"{} {}", Reason.INVALID_JSON, None),
        (b'{"item_id": "\xff"}', Reason.INVALID_UTF8, None),
        (b"[]", Reason.NOT_AN_OBJECT, None),
        (b"null", Reason.NOT_AN_OBJECT, None),
        (b'"text"', Reason.NOT_AN_OBJECT, None),
        (b"{}", Reason.MISSING_FIELD, "event_type"),
        (wire(event_type=...), Reason.MISSING_FIELD, "event_type"),
        (wire(event_id=...), Reason.MISSING_FIELD, "event_id"),
        (wire(event_id=" "), Reason.MISSING_FIELD, "event_id"),
        (wire(event_ms=None), Reason.MISSING_FIELD, "event_ms"),
        (wire(item_id=""), Reason.MISSING_FIELD, "item_id"),
        (wire(item_id="\t"), Reason.MISSING_FIELD, "item_id"),
        (wire(user_id=...), Reason.MISSING_VISITOR, "user_id"),
        (wire(user_id=" ", anonymous_id=""), Reason.MISSING_VISITOR, "user_id"),
        (wire(user_id="undefined"), Reason.PLACEHOLDER_ID, "user_id"),
        (wire(anonymous_id="null"), Reason.PLACEHOLDER_ID, "anonymous_id"),
        (wire(event_type="click"), Reason.UNKNOWN_EVENT_TYPE, "event_type"),
        (wire(event_type=7), Reason.WRONG_TYPE, "event_type"),
        (wire(user_id=7), Reason.WRONG_TYPE, "user_id"),
        (wire(item_id=["mug"]), Reason.WRONG_TYPE, "item_id"),
        (wire(event_ms="1700000000000"), Reason.WRONG_TYPE, "event_ms"),
        (wire(event_ms=1.7e12), Reason.WRONG_TYPE, "event_ms"),
        (wire(event_ms=True), Reason.WRONG_TYPE, "event_ms"),
        (wire(event_ms=KAFKA_MS // 1000), Reason.OUT_OF_RANGE, "event_ms"),
        (wire(event_ms=KAFKA_MS * 1000), Reason.OUT_OF_RANGE, "event_ms"),
        (wire(event_ms=int("9" * 4000)), Reason.OUT_OF_RANGE, "event_ms"),
        (wire(event_ms=-1), Reason.OUT_OF_RANGE, "event_ms"),
        (wire(event_ms=KAFKA_MS + 300_001), Reason.FUTURE, "event_ms"),
        (wire(PURCHASE, price="12,5"), Reason.WRONG_TYPE, "price"),
        (wire(PURCHASE, price="NaN"), Reason.WRONG_TYPE, "price"),
        (wire(PURCHASE, price=" 1"), Reason.WRONG_TYPE, "price"),
        (wire(PURCHASE, price="1_0"), Reason.WRONG_TYPE, "price"),
        (wire(PURCHASE, price="٣"), Reason.WRONG_TYPE, "price"),
        (wire(PURCHASE, price=True), Reason.WRONG_TYPE, "price"),
        (wire(PURCHASE, price=[1]), Reason.WRONG_TYPE, "price"),
        (wire(PURCHASE, price=[1], colour="red"), Reason.WRONG_TYPE, "price"),
        (wire(PURCHASE, price=-0.01), Reason.OUT_OF_RANGE, "price"),
        (wire(PURCHASE, price="-3"), Reason.OUT_OF_RANGE, "price"),
        (wire(PURCHASE, price=1_000_000_000.0001), Reason.OUT_OF_RANGE, "price"),
        (wire(PURCHASE, price="0.00001"), Reason.OUT_OF_RANGE, "price"),
        (wire(PURCHASE).replace(b"12.5", b"1e999999999"), Reason.OUT_OF_RANGE, "price"),
        (wire(PURCHASE).replace(b"12.5", b"1e-999999999"), Reason.OUT_OF_RANGE, "price"),
        (wire(PURCHASE).replace(b"12.5", b"1e-99999999999999999999999"), Reason.OUT_OF_RANGE, "price"),
        (wire(PURCHASE).replace(b"12.5", b"9" * 5000), Reason.OUT_OF_RANGE, "price"),
        (wire(PURCHASE, quantity=0), Reason.OUT_OF_RANGE, "quantity"),
        (wire(PURCHASE, quantity=1_000_001), Reason.OUT_OF_RANGE, "quantity"),
        (wire(PURCHASE, quantity=1.0), Reason.WRONG_TYPE, "quantity"),
        (wire(PURCHASE, line=0), Reason.OUT_OF_RANGE, "line"),
        (wire(PURCHASE, currency="pounds"), Reason.OUT_OF_RANGE, "currency"),
        (wire(value="5"), Reason.WRONG_TYPE, "value"),
        (wire(value=1e13), Reason.OUT_OF_RANGE, "value"),
        (wire(value=0).replace(b'"value": 0', b'"value": 1e999'), Reason.OUT_OF_RANGE, "value"),
        (wire(item_id=LONG), Reason.TOO_LONG, "item_id"),
        (wire(category="İ" * 256), Reason.TOO_LONG, "category"),
        (wire(query="x" * 4097), Reason.TOO_LONG, "query"),
        (wire(item_id="a\0b"), Reason.INVALID_TEXT, "item_id"),
        (wire(properties=[1]), Reason.WRONG_TYPE, "properties"),
        (wire(properties={"a\0": 1}), Reason.INVALID_TEXT, "properties"),
        (wire(properties={"": 1}), Reason.TOO_LONG, "properties"),
        (wire(properties={LONG: 1}), Reason.TOO_LONG, "properties"),
        (wire(properties={"a": "x" * 16_385}), Reason.TOO_LONG, "properties"),
        (wire(properties={str(i): "" for i in range(257)}), Reason.TOO_MANY_PROPERTIES, "properties"),
        (wire(properties={str(i): "" for i in range(256)}, colour="red"), Reason.TOO_MANY_PROPERTIES, "properties"),
        (wire(properties={"colour": "blue"}, colour="red"), Reason.AMBIGUOUS_FIELD, "properties"),
        (wire(visitor_id="alice"), Reason.RESERVED_FIELD, "visitor_id"),
        (wire(ingest_ms=KAFKA_MS), Reason.RESERVED_FIELD, "ingest_ms"),
        (wire(event_type="identify"), Reason.MISSING_FIELD, "anonymous_id"),
        (wire(event_type="identify", user_id=..., anonymous_id="a"), Reason.MISSING_FIELD, "user_id"),
        (wire(event_type="consent"), Reason.MISSING_FIELD, "properties"),
        (wire(event_type="search"), Reason.MISSING_FIELD, "query"),
        (wire(event_type="rate"), Reason.MISSING_FIELD, "value"),
        (wire(event_type="impression", item_id=...), Reason.MISSING_FIELD, "item_id or recommendation_id"),
        *((wire(PURCHASE, **{f: ...}), Reason.MISSING_FIELD, f) for f in ("item_id", "price", "quantity", "order_id")),
    ],
)
def test_each_fault_has_its_reason_and_names_its_field(raw: bytes, reason: Reason, field: str | None) -> None:
    rejection = assert_sound(raw)
    assert isinstance(rejection, Rejection), rejection
    assert (rejection.reason, rejection.field) == (reason, field), rejection.detail
    if field is not None:
        assert rejection.detail.startswith(field)


def test_a_detail_tells_the_shape_and_never_the_value() -> None:
    for field in ("event_type", "item_id", "user_id", "currency", "price", "order_id", "query", "event_ms"):
        for secret in ("s3cret-alice", "s3cret-alice" * 1000, ["s3cret-alice"], {"s3cret-alice": 1}, "s3cret\0alice"):
            result = admit(wire(PURCHASE, **{field: secret}), KAFKA_MS, POLICY)
            if isinstance(result, Rejection):
                assert "s3cret" not in result.detail + str(result.field)
    unnamed = refused(wire({**VIEW, "s3cret" * 100: 1}))
    assert "s3cret" not in unnamed.detail + str(unnamed.field)
    assert refused(wire(PURCHASE, quantity="two")).detail == (
        "quantity: expected an integer from 1 to 1000000, got a string of length 3"
    )


@pytest.mark.parametrize("event_type", sorted(EVENT_TYPES))
def test_each_event_type_with_what_it_needs_is_admitted(event_type: str) -> None:
    everything = {
        **PURCHASE,
        "anonymous_id": "a",
        "query": "tea",
        "value": 0,
        "price": 0,
        "properties": {"purpose": "ads"},
    }
    needed = {"event_id", "event_ms", "user_id", *(group[0] for group in REQUIRED[event_type])}
    raw = wire({k: v for k, v in everything.items() if k in needed}, event_type=event_type)
    assert accepted(raw).event_type == event_type


# --- what is admitted ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "country"),
    [
        ("gb", "GB"),
        ("GBR", "GB"),
        (" United  Kingdom ", "GB"),
        ("UK", "GB"),
        ("Türkiye", "TR"),
        ("Atlantis", "Atlantis"),  # for the row rule to turn away
        ("xq", "xq"),
        (" ", None),
    ],
)
def test_a_country_is_its_code_of_two_letters(said: str, country: str | None) -> None:
    assert accepted(wire(VIEW, country=said)).country == country


def test_texts_that_say_the_same_are_the_same() -> None:
    event = accepted(wire(VIEW, event_type="search", query="  green \t tea ", device=" Mobile"))
    assert (event.query, event.device) == ("green tea", "mobile")
    assert accepted(wire(VIEW, device=" ")).device is None
    assert refused(wire(VIEW, event_type="search", query=" ")).reason is Reason.MISSING_FIELD


def test_an_event_has_the_fields_of_its_contract() -> None:
    event = accepted(wire({**PURCHASE, "anonymous_id": "cookie", "colour": "red", "size": {"w": 1.50}}, currency="gbp"))
    assert event == Event(
        event_id="e1",
        event_type="purchase",
        visitor_id=POLICY.pseudonym("user", "alice"),
        user_id=POLICY.pseudonym("user", "alice"),
        anonymous_id=POLICY.pseudonym("anonymous", "cookie"),
        item_id="mug",
        category="home.kitchen",
        price=Decimal("12.5"),
        currency="GBP",
        quantity=2,
        order_id="o1",
        line=1,
        event_ms=KAFKA_MS - 1_000,
        ingest_ms=KAFKA_MS,
        properties={"colour": "red", "size": '{"w": 1.5}'},
    )
    assert Event.__struct_fields__ == EVENTS.names


@pytest.mark.parametrize(
    ("text", "price"),
    [
        (b"12.10", "12.1000"),
        (b'"12.10"', "12.1000"),
        (b"0.1", "0.1000"),
        (b"1000000000", "1000000000.0000"),
        (b"1E+2", "100.0000"),
        (b"-0.0", "0.0000"),
        (b"4.35000000", "4.3500"),
        (b"123456789.1234", "123456789.1234"),
    ],
)
def test_prices_are_exact(text: bytes, price: str) -> None:
    assert str(accepted(wire(PURCHASE).replace(b"12.5", text)).price) == price


def test_the_category_is_the_events_then_the_catalogues_then_unknown() -> None:
    assert accepted(wire(category="Garden/Tools")).category == "garden.tools"
    assert accepted(wire(category="..")).category == "home.kitchen"
    assert accepted(wire(item_id="tea")).category == "food.tea"
    assert accepted(wire(item_id="spoon")).category == "unknown"
    assert accepted(wire(), Policy(b"k" * 16, "k1")).category == "unknown"
    assert normalise_category(" Home > Tea  Sets >") == "home.tea_sets"


def test_event_time_is_bounded_by_the_records_timestamp() -> None:
    strict = Policy(b"k" * 16, "k1", max_age_ms=1_000)
    assert accepted(wire(event_ms=KAFKA_MS + 300_000)).ingest_ms == KAFKA_MS
    assert accepted(wire(event_ms=KAFKA_MS - 1_000), strict).event_ms == KAFKA_MS - 1_000
    assert refused(wire(event_ms=KAFKA_MS - 1_001), strict).reason is Reason.TOO_OLD
    assert accepted(wire(event_ms=KAFKA_MS - 10**11)).event_ms == KAFKA_MS - 10**11
    for no_time in (0, -1, None, 1.5, float("nan")):
        result = admit(wire(), no_time, POLICY)  # type: ignore[arg-type]
        assert isinstance(result, Rejection) and result.reason is Reason.MISSING_TIMESTAMP


def test_pseudonyms_are_keyed_and_tell_kinds_apart() -> None:
    event = accepted(wire(user_id="alice", anonymous_id="alice"))
    # Golden: printf 'user:alice' | openssl dgst -sha256 -hmac 0123456789abcdef
    assert event.user_id == "k1_" + GOLDEN_ALICE
    assert event.visitor_id == event.user_id != event.anonymous_id
    assert accepted(wire(user_id=..., anonymous_id="alice")).visitor_id == event.anonymous_id
    assert accepted(wire(), Policy(b"another key 16by", "k1")).visitor_id != event.visitor_id
    assert accepted(wire(), Policy(b"0123456789abcdef", "k2")).visitor_id == "k2_" + GOLDEN_ALICE
    assert "alice" not in repr(event) and "0123456789abcdef" not in repr(POLICY)


GOLDEN_ALICE = "a2d53898aba5b7cc967235b40586185e"


def test_remembered_pseudonyms_are_bounded_and_stay_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "_REMEMBERED_IDS", 3)
    policy = Policy(b"k" * 16, "k1")
    first = [policy.pseudonym("user", str(i)) for i in range(10)]
    assert [policy.pseudonym("user", str(i)) for i in range(10)] == first
    assert len(policy._pseudonyms) <= 3
    copy = pickle.loads(pickle.dumps(policy))
    assert copy == policy and not copy._pseudonyms


def test_a_batch_is_its_records_one_by_one() -> None:
    raws = [wire(), b"junk", None, wire(PURCHASE, colour="red"), b""]
    columns = admit_batch(np.array(raws, dtype=object), np.array([KAFKA_MS] * 5), POLICY)
    assert list(columns) == [*EVENT_COLUMNS, *REJECTION_COLUMNS]
    singles = [admit(raw, KAFKA_MS, POLICY) for raw in raws]
    for i, single in enumerate(singles):
        for name in type(single).__struct_fields__:
            assert columns[name][i] == getattr(single, name)
    assert columns["reason"] == [None, "invalid_json", "empty", None, "empty"]
    assert columns["raw"] == [None, b"junk", b"", None, b""]
    assert {type(value) for value in columns["ingest_ms"]} == {int, type(None)}
    assert all(column == [] for column in admit_batch([], [], POLICY).values())
    assert admit_batch([float("nan")], [KAFKA_MS], POLICY)["reason"] == ["empty"]  # type: ignore[list-item]
    with pytest.raises(ValueError):
        admit_batch(raws, [KAFKA_MS], POLICY)


# --- rejections on the wire ---------------------------------------------------------------------------


def test_a_rejections_record_is_its_contract_and_gives_the_bytes_back() -> None:
    raw = b'{"event_id": \xff\x00'
    record = rejection_json(refused(raw), "events", 3, 41, KAFKA_MS)
    fields = json.loads(record)
    assert tuple(fields) == REJECTIONS.names
    assert base64.b64decode(fields["raw"]) == raw
    assert (fields["topic"], fields["partition"], fields["offset"], fields["kafka_ms"]) == ("events", 3, 41, KAFKA_MS)
    assert read_rejection(record).reason == "invalid_utf8"
    assert replay(record) == raw
    fields["raw"] = base64.b64encode(raw[:-1] + b"!").decode()
    with pytest.raises(ContractError, match="do not match their sha256"):
        replay(json.dumps(fields).encode())
    with pytest.raises(ContractError, match="not a record of events.rejected"):
        replay(b"{}")


# --- the key ------------------------------------------------------------------------------------------


def test_the_key_comes_from_the_named_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOP_KEY", raising=False)
    with pytest.raises(ConfigError, match="SHOP_KEY is not set"):
        policy_from_env("SHOP_KEY")
    monkeypatch.setenv("SHOP_KEY", "too short")
    with pytest.raises(ConfigError, match="SHOP_KEY holds a pseudonym key of 9 bytes"):
        policy_from_env("SHOP_KEY")
    monkeypatch.setenv("SHOP_KEY", "30313233343536373839616263646566")
    assert policy_from_env("SHOP_KEY").pseudonym("user", "alice") == POLICY.pseudonym("user", "alice")
    monkeypatch.setenv("SHOP_KEY", "0123456789abcdef")
    policy = policy_from_env("SHOP_KEY", "k2", max_age_ms=5, categories={"a": "b"})
    assert policy.key == b"0123456789abcdef"
    assert (policy.max_age_ms, policy.categories) == (5, {"a": "b"})
    with pytest.raises(ConfigError, match="key id"):
        policy_from_env("SHOP_KEY", "K-1")
