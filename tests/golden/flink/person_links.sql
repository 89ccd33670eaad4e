CREATE TEMPORARY TABLE `person_links` (
  `customer_id` STRING NOT NULL,
  `person_id` STRING NOT NULL,
  `weight` DOUBLE
);

-- as a value
ROW<`customer_id` STRING, `person_id` STRING, `weight` DOUBLE>
