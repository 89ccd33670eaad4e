spark-submit \
  --master spark://spark.example:7077 \
  --name 'dovetail impute' \
  --driver-memory 2g \
  --deploy-mode client \
  --executor-memory 4g \
  --executor-cores 2 \
  --total-executor-cores 4 \
  --conf spark.pyspark.driver.python=python3 \
  --conf spark.pyspark.python=python3 \
  --jars build/jars/delta/delta-spark.jar,build/jars/delta/unitycatalog-client.jar \
  --py-files dist/dovetail.zip \
  jobs/impute.py \
  --lake /srv/dovetail/lake \
  --cut 2026-11-20T00:00:00Z \
  --table silver/items \
  --column price \
  --method median \
  --by category
