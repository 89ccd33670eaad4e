spark-submit \
  --master spark://spark.example:7077 \
  --name 'dovetail recommend' \
  --driver-memory 8g \
  --deploy-mode client \
  --executor-memory 16g \
  --executor-cores 4 \
  --total-executor-cores 32 \
  --conf spark.pyspark.driver.python=python3 \
  --conf spark.pyspark.python=python3 \
  --jars build/jars/delta/delta-spark.jar,build/jars/delta/unitycatalog-client.jar \
  --py-files dist/dovetail.zip \
  jobs/recommend.py \
  --lake /srv/dovetail/lake \
  --cut 2026-11-20T00:00:00Z \
  --top 100 \
  --similar 50 \
  --leave-out purchase
