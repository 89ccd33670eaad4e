CREATE TEMPORARY TABLE `verdicts` (
  `customer_id` STRING NOT NULL,
  `other_id` STRING NOT NULL,
  `verdict` STRING NOT NULL,
  `judged_by` STRING NOT NULL,
  `judged_ms` BIGINT NOT NULL,
  `why` STRING NOT NULL
);

-- as a value
ROW<`customer_id` STRING, `other_id` STRING, `verdict` STRING, `judged_by` STRING, `judged_ms` BIGINT, `why` STRING>
