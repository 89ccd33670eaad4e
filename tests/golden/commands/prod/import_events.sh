spark-submit \
  --master spark://spark.example:7077 \
  --name 'dovetail import_events' \
  --driver-memory 4g \
  --deploy-mode client \
  --executor-memory 8g \
  --executor-cores 4 \
  --total-executor-cores 16 \
  --conf spark.pyspark.driver.python=python3 \
  --conf spark.pyspark.python=python3 \
  --jars build/jars/delta/delta-spark.jar,build/jars/delta/unitycatalog-client.jar \
  --py-files dist/dovetail.zip \
  jobs/import_events.py \
  --lake /srv/dovetail/lake \
  --format rees46 \
  --path history.csv \
  --most-rejected 0.5 \
  --pseudonym-key-env DOVETAIL_PSEUDONYM_KEY \
  --pseudonym-key-id k1
