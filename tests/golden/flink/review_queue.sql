CREATE TEMPORARY TABLE `review_queue` (
  `customer_id` STRING NOT NULL,
  `other_id` STRING NOT NULL,
  `person_id` STRING NOT NULL,
  `other_person_id` STRING NOT NULL,
  `weight` DOUBLE NOT NULL,
  `probability` DOUBLE NOT NULL,
  `levels` MAP<STRING, STRING> NOT NULL
);

-- as a value
ROW<`customer_id` STRING, `other_id` STRING, `person_id` STRING, `other_person_id` STRING, `weight` DOUBLE, `probability` DOUBLE, `levels` MAP<STRING, STRING>>
