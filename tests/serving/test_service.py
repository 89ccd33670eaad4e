"""The service before real Cassandra and Kafka, over HTTP."""

import json
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from confluent_kafka import Consumer, TopicPartition

from common.admission import read_rejection, replay
from local.cassandra import Cassandra
from local.kafka import Kafka
from local.ports import free_ports
from tests.serving.conftest import Shop
from tests.serving.platform import KNOWN, LURKER, POLICY, cut_now, event_bytes, publish_shop, wait_for

pytestmark = pytest.mark.platform


def get(shop: Shop, path: str, status: int = 200, **params: Any) -> dict[str, Any]:
    response = shop.client.get(path, params=params)
    assert response.status_code == status, response.text
    body: dict[str, Any] = response.json()
    return body


def post(shop: Shop, raw: bytes, status: int = 202) -> dict[str, Any]:
    response = shop.client.post("/v1/events", content=raw)
    assert response.status_code == status, response.text
    body: dict[str, Any] = response.json()
    return body


def record_at(shop: Shop, topic: str, partition: int, offset: int) -> Any:
    consumer = Consumer({"bootstrap.servers": shop.kafka, "group.id": uuid.uuid4().hex})
    try:
        consumer.assign([TopicPartition(topic, partition, offset)])
        return wait_for(lambda: consumer.poll(1.0), "the record")
    finally:
        consumer.close()


def test_a_personal_list_says_what_it_rests_on(shop: Shop) -> None:
    answer = get(shop, f"/v1/users/{KNOWN}/recommendations", n=5)
    assert answer["level"] == "personal"
    assert len(answer["items"]) == 5
    assert answer["items"][0]["category"] == "tea.green"
    assert answer["items"][0]["reasons"][0]["text"].startswith("Because you")
    assert "tea.green-9" not in {item["item_id"] for item in answer["items"]}
    assert (answer["degraded"], answer["missing"]) == (False, [])
    assert (answer["model_version"], answer["generation"]) == ("m1", "g1")
    assert answer["view_version"].startswith("v20")
    assert answer["age_ms"]["batch"] >= 0
    assert "explanation" not in answer
    assert "explanation" in get(shop, f"/v1/users/{KNOWN}/recommendations", explain=True)


def carts_of(profile: dict[str, Any]) -> list[int]:
    """Carts in the windows that the click falls into; other tests click as the same visitor."""
    return [profile["features"][window]["carts"] for window in ("5 minutes", "1 hour", "24 hours")]


def test_a_posted_click_moves_the_list_because_of_it(shop: Shop) -> None:
    path = f"/v1/users/{KNOWN}/recommendations"
    before = get(shop, path, n=10, explain=True)
    carts = carts_of(get(shop, f"/v1/users/{KNOWN}/profile"))
    accepted = post(shop, event_bytes("cups.large-1", "cart"))
    record = record_at(shop, shop.events_topic, accepted["partition"], accepted["offset"])
    assert record.key() == KNOWN.encode()

    def moved() -> dict[str, Any] | None:
        answer = get(shop, path, n=10, explain=True)
        return answer if any(h["item_id"] == "cups.large-1" for h in answer["explanation"]["history"]) else None

    after = wait_for(moved, "the click in the list")
    assert [item["item_id"] for item in after["items"]] != [item["item_id"] for item in before["items"]]
    assert "cups.large" in {item["category"] for item in after["items"]}
    assert any(r.get("item_id") == "cups.large-1" for item in after["items"] for r in item["reasons"])
    assert after["age_ms"]["speed"] < 60_000
    profile = get(shop, f"/v1/users/{KNOWN}/profile")
    assert profile["visitor_id"] == POLICY.pseudonym("user", KNOWN)
    assert profile["last_items"][0]["item_id"] == "cups.large-1"
    assert (profile["last_items"][0]["layer"], profile["last_items"][-1]["layer"]) == ("speed", "batch")
    assert carts_of(profile) == [n + 1 for n in carts]
    assert profile["features"]["5 minutes"]["views"] == 0
    assert profile["features"]["ever"]["views"] >= 4
    assert profile["features"]["ever"]["spend"] == "15.00"
    assert {row["category"] for row in profile["interests"]} >= {"tea.green", "cups.large"}
    assert profile["sessions"][0]["closed"] is False
    assert profile["segment"] == {"segment_id": 2, "segment": "Loyal Customers", "size": 2}
    assert profile["rfm"]["scores"] == "511"
    assert "cart_abandoners" not in [rule["rule_segment"] for rule in profile["rules"]], "it ordered within the day"
    assert profile["live_rfm"] == {"recency_days": 0, "frequency": 1, "monetary": "15.0000"}
    assert "cups.large-1" in profile["sessions"][0]["path"]
    segments = get(shop, f"/v1/users/{KNOWN}/segments")
    for name in ("rfm", "live_rfm", "live_segment"):
        assert segments[name] == profile[name], name


def test_a_device_becomes_known_with_its_first_click(shop: Shop) -> None:
    path = "/v1/users/device-7"
    get(shop, f"{path}/profile", 404, kind="anonymous")
    assert get(shop, f"{path}/recommendations", kind="anonymous")["level"] in ("trending", "catalogue")
    post(shop, event_bytes("toys.cars-1", user=None, anonymous_id="device-7"))  # type: ignore[arg-type]
    answer = wait_for(
        lambda: (a := get(shop, f"{path}/recommendations", kind="anonymous"))["level"] == "session" and a, "the session"
    )
    assert answer["items"][0]["category"] == "toys.cars"
    assert get(shop, f"{path}/recommendations", kind="user")["level"] != "session"


def test_a_visitor_without_history_gets_the_segments_list(shop: Shop) -> None:
    answer = get(shop, f"/v1/users/{LURKER}/recommendations", n=3)
    assert answer["level"] == "segment"
    assert answer["items"][0]["item_id"] == "toys.cars-0"
    segments = get(shop, f"/v1/users/{LURKER}/segments")
    assert [row["segment"] for row in segments["segments"]] == ["Loyal Customers"]
    assert segments["rules"] == []
    get(shop, "/v1/users/nobody/segments", 404)


def test_similar_items_come_from_the_view_else_from_the_factors(shop: Shop) -> None:
    listed = get(shop, "/v1/items/tea.green-0/similar", n=3)
    assert [item["item_id"] for item in listed["items"]] == ["tea.green-1", "tea.green-2", "tea.green-3"]
    assert (listed["sources"], listed["item"]["title"]) == (["batch.items"], "Title of tea.green-0")
    nearest = get(shop, "/v1/items/cups.large-4/similar", n=5)
    assert nearest["sources"][0] == "batch.model"
    assert {item["category"] for item in nearest["items"]} == {"cups.large"}
    assert get(shop, "/v1/items/no-such-item/similar", 404)["error"] == "unknown_item"


def test_similar_items_take_in_what_was_turned_to_next(shop: Shop) -> None:
    visitor, before_ms = uuid.uuid4().hex, time.time_ns() // 1_000_000 - 1_000
    post(shop, event_bytes("toys.cars-2", user=visitor, event_ms=before_ms))
    post(shop, event_bytes("cups.large-7", "purchase", visitor, price=1.5, quantity=1, order_id=uuid.uuid4().hex))

    def next_item() -> list[str]:
        items = get(shop, "/v1/items/toys.cars-2/similar", n=39)["items"]
        return [r["text"] for i in items if i["item_id"] == "cups.large-7" for r in i["reasons"] if r["kind"] == "next"]

    assert wait_for(next_item, "the next item") == ["Often looked at next"]
    assert get(shop, "/v1/items/tea.green-3/similar")["sources"][:2] == ["batch.model", "batch.covisits"]


def test_trending_moves_with_the_stream(shop: Shop) -> None:
    for _ in range(5):
        post(shop, event_bytes("toys.cars-8", "purchase", price=1.5, quantity=1, order_id=uuid.uuid4().hex))
    top = wait_for(
        lambda: (rows := get(shop, "/v1/trending")["items"]) and rows[0]["item_id"] == "toys.cars-8" and rows,
        "trending",
    )
    assert top[0]["title"] == "Title of toys.cars-8"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "empty"),
        (b"\xff\xfe", "invalid_utf8"),
        (b"{", "invalid_json"),
        (b"[]", "not_an_object"),
        (b'{"event_type": "view"}', "missing_field"),
        (event_bytes("x", event_ms=99_999_999_999_999), "out_of_range"),
        (event_bytes("x", event_type="teleport"), "unknown_event_type"),
        (b"[" + b" " * 1_100_000 + b"]", "oversize"),
    ],
)
def test_what_the_gate_refuses_is_answered_and_kept(shop: Shop, raw: bytes, reason: str) -> None:
    consumer = Consumer(
        {"bootstrap.servers": shop.kafka, "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest"}
    )
    try:
        consumer.subscribe([shop.rejected_topic])
        body = post(shop, raw, 400)
        assert body["error"] == reason

        def kept() -> Any:
            record = consumer.poll(0.2)
            value = record.value() if record is not None and not record.error() else None
            found = read_rejection(value) if value else None
            return found if found and found.reason == reason and found.size == len(raw) else None

        rejection = wait_for(kept, f"the rejection {reason}")
        assert rejection.raw == (raw if reason != "oversize" else raw[:1_024])
        assert rejection.topic.startswith("http:")
        if reason != "oversize":
            assert replay(rejection) == raw
    finally:
        consumer.close()


def test_bad_arguments_are_named_and_never_repeated(shop: Shop) -> None:
    body = get(shop, "/v1/users/secret-id/recommendations", 422, n=0)
    assert (body["error"], body["field"]) == ("invalid_request", "n")
    assert get(shop, "/v1/users/secret-id/recommendations", 422, kind="robot")["field"] == "kind"
    assert "robot" not in json.dumps(get(shop, "/v1/users/secret-id/recommendations", 422, kind="robot"))


def test_metrics_speak_of_routes_and_never_of_ids(shop: Shop) -> None:
    get(shop, f"/v1/users/{KNOWN}/recommendations")
    text = shop.client.get("/metrics").text
    assert 'dovetail_request_seconds_count{route="/v1/users/{id}/recommendations",status="200"}' in text
    assert 'dovetail_live_info{generation="g1",model_version="m1"' in text
    assert "dovetail_collected_events_total" in text
    assert KNOWN not in text and POLICY.pseudonym("user", KNOWN) not in text
    assert KNOWN not in shop.service.server.log.read_text()


def test_readiness_and_health(shop: Shop) -> None:
    assert get(shop, "/healthz") == {"status": "ok"}
    ready = get(shop, "/readyz")
    assert ready["ready"] is True and ready["lacking"] == {}


def test_a_flip_fails_no_request(shop: Shop) -> None:
    before = get(shop, "/readyz")["view_version"]
    stop = threading.Event()
    statuses: list[tuple[int, bool, str]] = []

    def load() -> None:
        with httpx.Client(base_url=shop.service.url, timeout=10) as client:
            while not stop.is_set():
                for path in (f"/v1/users/{KNOWN}/recommendations", "/v1/items/tea.green-0/similar"):
                    response = client.get(path)
                    body = response.json()
                    statuses.append((response.status_code, body.get("degraded", True), body.get("view_version")))
                time.sleep(0.02)

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(load) for _ in range(2)]
        for version in ("m2", "m1", "m2"):  # more flips than versions kept: the first one's tables go
            pointer = publish_shop(shop.session, shop.models, cut_now(), version)
            wait_for(
                lambda live=pointer.live: get(shop, "/v1/trending")["view_version"] == live,
                "the flip",
            )
        stop.set()
        for future in futures:
            future.result()
    assert {status for status, _, _ in statuses} == {200}
    assert not any(degraded for _, degraded, _ in statuses)
    assert len({version for _, _, version in statuses}) >= 3
    assert before != pointer.live
    publish_shop(shop.session, shop.models, cut_now(), "m1")


def test_a_store_that_is_away_degrades_the_answer_and_says_so(shop: Shop, cassandra: Cassandra) -> None:
    get(shop, f"/v1/users/{KNOWN}/recommendations")
    cassandra.server.pause()
    try:
        answer = get(shop, f"/v1/users/{KNOWN}/recommendations")
        assert answer["degraded"] is True
        assert set(answer["missing"]) == {"batch.profile", "speed.user_embedding", "speed.tiles_interest"}
        assert answer["level"] in ("trending", "catalogue")
        assert len(answer["items"]) == 20
    finally:
        cassandra.server.resume()
    healed = wait_for(
        lambda: (a := get(shop, f"/v1/users/{KNOWN}/recommendations"))["degraded"] is False and a, "the store"
    )
    assert healed["level"] == "personal"


def test_a_broker_that_is_away_is_a_503_and_then_forgotten(shop: Shop, kafka: Kafka) -> None:
    kafka.server.pause()
    try:
        body = post(shop, event_bytes("tea.green-1"), 503)
        assert body["error"] == "unavailable"
    finally:
        kafka.server.resume()
    wait_for(lambda: shop.client.post("/v1/events", content=event_bytes("tea.green-1")).status_code == 202, "Kafka")


def run_serving(*arguments: str, key: str | None = "a key of the serving tests") -> subprocess.CompletedProcess[str]:
    env = {"PATH": "", "SERVING_TEST_KEY": key} if key else {"PATH": ""}
    command = [sys.executable, "-m", "serving", "--port", "0", "--pseudonym-key-env", "SERVING_TEST_KEY", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_absent_servers_and_settings_end_it_with_one_line(shop: Shop) -> None:
    nowhere = f"127.0.0.1:{free_ports(1)[0]}"
    cassandra, keyspace, kafka = shop.arguments[1], shop.arguments[3], shop.arguments[5]
    topics = shop.arguments[6:10]
    cases = [
        (["--cassandra", nowhere, "--kafka", kafka, *topics], f"Cassandra at {nowhere} does not answer"),
        (["--cassandra", cassandra, "--kafka", nowhere, *topics], f"Kafka at {nowhere} does not answer"),
        (["--cassandra", cassandra, "--keyspace", "nope", "--kafka", kafka, *topics], "has no keyspace nope"),
    ]
    for arguments, said in cases:
        ended = run_serving(*arguments)
        assert ended.returncode == 2, ended.stderr
        assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr
        assert ended.stderr.startswith("error: ") and said in ended.stderr
    unset = run_serving("--cassandra", cassandra, "--keyspace", keyspace, "--kafka", kafka, key=None)
    assert unset.returncode == 2 and "SERVING_TEST_KEY is not set" in unset.stderr
    port = shop.service.url.rpartition(":")[2]
    taken = run_serving(*shop.arguments, "--port", port)
    assert taken.returncode == 2 and f"cannot listen on 127.0.0.1:{port}" in taken.stderr
