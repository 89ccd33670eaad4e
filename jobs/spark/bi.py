"""Views for BI over the lake's tables: what people ask most, so that each tool need not join it anew.

Their SQL names the lake's tables by database and name, as ``register`` makes both: ``{gold}.rfm`` is gold/rfm. A view
shows what its tables hold now, each of the cut it was last made for.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class View:
    """One view: a comment, and the SELECT it stands for."""

    name: str
    doc: str
    sql: str

    @property
    def tables(self) -> set[str]:
        """The tables of the lake that it reads."""
        return {f"{layer}/{name}" for layer, name in re.findall(r"\{(\w+)\}\.(\w+)", self.sql)}


VIEWS: tuple[View, ...] = (
    View(
        "visitors",
        "A row a buyer: RFM, segment, rule segments and the last thirty days",
        """
SELECT r.visitor_id, r.cut_ms, r.recency_days, r.frequency, r.monetary, r.refunded, r.net,
       r.r_score, r.f_score, r.m_score, s.segment, m.rule_segments,
       v.active_days, v.sessions, v.basket_value, v.engagement
FROM {gold}.rfm r
LEFT JOIN {gold}.segments s ON s.visitor_id = r.visitor_id
LEFT JOIN (
  SELECT visitor_id, array_sort(collect_set(rule_segment)) AS rule_segments FROM {gold}.memberships GROUP BY visitor_id
) m ON m.visitor_id = r.visitor_id
LEFT JOIN {gold}.visitor_features v ON v.visitor_id = r.visitor_id
""",
    ),
    View(
        "persons",
        "A row a person with orders: what all customers that are this person bought together",
        """
SELECT l.person_id, count(*) AS customers, min(r.recency_days) AS recency_days, sum(r.frequency) AS frequency,
       sum(r.monetary) AS monetary, sum(r.refunded) AS refunded, sum(r.net) AS net,
       max(r.last_purchase) AS last_purchase
FROM {gold}.rfm r
JOIN {gold}.person_links l ON l.customer_id = r.visitor_id
GROUP BY l.person_id
""",
    ),
    View(
        "daily_sales",
        "A row a day: orders, buyers, units, gross, refunded and net, by the day on which an order began",
        """
SELECT order_date, count_if(lines > 0) AS orders, count(DISTINCT visitor_id) AS buyers, sum(units) AS units,
       sum(gross) AS gross, sum(refunded) AS refunded, sum(gross) - sum(refunded) AS net
FROM {gold}.orders
GROUP BY order_date
""",
    ),
    View(
        "daily_traffic",
        "A row a day and device: sessions, visitors, pages and minutes, bots left out",
        """
SELECT session_date, device, count(*) AS sessions, count(DISTINCT visitor_id) AS visitors, sum(pages) AS pages,
       sum(session_end - session_start) / 60000 AS minutes, count_if(spend > 0) AS sessions_with_sales
FROM {gold}.sessions
WHERE NOT suspected_bot
GROUP BY session_date, device
""",
    ),
    View(
        "item_sales",
        "A row an item: views, carts, units and gross of all time, with its title and category",
        """
SELECT e.item_id, i.title, i.category, e.views, e.carts, e.units, e.gross
FROM (
  SELECT item_id, count_if(event_type = 'view') AS views, count_if(event_type = 'cart') AS carts,
         coalesce(sum(quantity) FILTER (WHERE event_type = 'purchase'), 0) AS units,
         coalesce(sum(price * quantity) FILTER (WHERE event_type = 'purchase'), 0) AS gross
  FROM {silver}.events
  WHERE item_id IS NOT NULL
  GROUP BY item_id
) e
LEFT JOIN {silver}.items i ON i.item_id = e.item_id
""",
    ),
    View(
        "segment_sizes",
        "A row a cut and segment: size, middle and, of the cut before, how active its members were since",
        """
SELECT h.cut_ms, h.segment_id, h.segment, h.size, h.recency_days, h.frequency, h.monetary,
       l.members, l.active, l.buyers, l.activity_lift, l.order_lift
FROM {gold}.segment_history h
LEFT JOIN {gold}.segment_lift l ON l.cut_ms = h.cut_ms AND l.segment_id = h.segment_id
""",
    ),
    View(
        "quality",
        "A row a day and rule: rows in quarantine, beside all that were cleansed that day",
        """
SELECT q.event_date, q.rule, q.rows, coalesce(c.good, 0) AS good
FROM (SELECT event_date, rule, count(*) AS rows FROM {quarantine}.events GROUP BY event_date, rule) q
LEFT JOIN (SELECT event_date, count(*) AS good FROM {silver}.cleansed GROUP BY event_date) c
  ON c.event_date = q.event_date
""",
    ),
    View(
        "runs",
        "A row a run of a job: when, how long, how it ended",
        """
SELECT run_id, job, timestamp_millis(started_ms) AS started, seconds, outcome, reads, writes, counts
FROM {gold}.runs
""",
    ),
)
"""Every view, by the name that it has in the database ``<prefix>_bi``."""
