spark-submit \
  --master spark://spark.example:7077 \
  --name 'dovetail train_als' \
  --driver-memory 8g \
  --deploy-mode client \
  --executor-memory 16g \
  --executor-cores 4 \
  --total-executor-cores 32 \
  --conf spark.pyspark.driver.python=python3 \
  --conf spark.pyspark.python=python3 \
  --jars build/jars/delta/delta-spark.jar,build/jars/delta/unitycatalog-client.jar \
  --py-files dist/dovetail.zip \
  jobs/train_als.py \
  --lake /srv/dovetail/lake \
  --cut 2026-11-20T00:00:00Z \
  --rank 32 \
  --iterations 10 \
  --reg 0.05 \
  --alpha 10.0 \
  --seed 42
