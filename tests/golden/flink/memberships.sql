CREATE TEMPORARY TABLE `memberships` (
  `visitor_id` STRING NOT NULL,
  `cut_ms` BIGINT NOT NULL,
  `rule_segment` STRING NOT NULL
);

-- as a value
ROW<`visitor_id` STRING, `cut_ms` BIGINT, `rule_segment` STRING>
