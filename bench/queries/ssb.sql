-- The thirteen queries of the Star Schema Benchmark (O'Neil, O'Neil, Chen 2009) over one flat table, in Druid's SQL.
-- name: q1.1
SELECT SUM(lo_extendedprice * lo_discount) AS revenue FROM lineorder_flat WHERE __time >= TIMESTAMP '1993-01-01' AND __time < TIMESTAMP '1994-01-01' AND lo_discount BETWEEN 1 AND 3 AND lo_quantity < 25
-- name: q1.2
SELECT SUM(lo_extendedprice * lo_discount) AS revenue FROM lineorder_flat WHERE FLOOR(__time TO MONTH) = TIMESTAMP '1994-01-01' AND lo_discount BETWEEN 4 AND 6 AND lo_quantity BETWEEN 26 AND 35
-- name: q1.3
SELECT SUM(lo_extendedprice * lo_discount) AS revenue FROM lineorder_flat WHERE EXTRACT(WEEK FROM __time) = 6 AND __time >= TIMESTAMP '1994-01-01' AND __time < TIMESTAMP '1995-01-01' AND lo_discount BETWEEN 5 AND 7 AND lo_quantity BETWEEN 26 AND 35
-- name: q2.1
SELECT SUM(lo_revenue) AS revenue, EXTRACT(YEAR FROM __time) AS d_year, p_brand FROM lineorder_flat WHERE p_category = 'MFGR#12' AND s_region = 'AMERICA' GROUP BY 2, 3 ORDER BY 2, 3
-- name: q2.2
SELECT SUM(lo_revenue) AS revenue, EXTRACT(YEAR FROM __time) AS d_year, p_brand FROM lineorder_flat WHERE p_brand BETWEEN 'MFGR#2221' AND 'MFGR#2228' AND s_region = 'ASIA' GROUP BY 2, 3 ORDER BY 2, 3
-- name: q2.3
SELECT SUM(lo_revenue) AS revenue, EXTRACT(YEAR FROM __time) AS d_year, p_brand FROM lineorder_flat WHERE p_brand = 'MFGR#2239' AND s_region = 'EUROPE' GROUP BY 2, 3 ORDER BY 2, 3
-- name: q3.1
SELECT c_nation, s_nation, EXTRACT(YEAR FROM __time) AS d_year, SUM(lo_revenue) AS revenue FROM lineorder_flat WHERE c_region = 'ASIA' AND s_region = 'ASIA' AND __time < TIMESTAMP '1998-01-01' GROUP BY 1, 2, 3 ORDER BY d_year, revenue DESC
-- name: q3.2
SELECT c_city, s_city, EXTRACT(YEAR FROM __time) AS d_year, SUM(lo_revenue) AS revenue FROM lineorder_flat WHERE c_nation = 'UNITED STATES' AND s_nation = 'UNITED STATES' AND __time < TIMESTAMP '1998-01-01' GROUP BY 1, 2, 3 ORDER BY d_year, revenue DESC
-- name: q3.3
SELECT c_city, s_city, EXTRACT(YEAR FROM __time) AS d_year, SUM(lo_revenue) AS revenue FROM lineorder_flat WHERE c_city IN ('UNITED KI1', 'UNITED KI5') AND s_city IN ('UNITED KI1', 'UNITED KI5') AND __time < TIMESTAMP '1998-01-01' GROUP BY 1, 2, 3 ORDER BY d_year, revenue DESC
-- name: q3.4
SELECT c_city, s_city, EXTRACT(YEAR FROM __time) AS d_year, SUM(lo_revenue) AS revenue FROM lineorder_flat WHERE c_city IN ('UNITED KI1', 'UNITED KI5') AND s_city IN ('UNITED KI1', 'UNITED KI5') AND FLOOR(__time TO MONTH) = TIMESTAMP '1997-12-01' GROUP BY 1, 2, 3 ORDER BY d_year, revenue DESC
-- name: q4.1
SELECT EXTRACT(YEAR FROM __time) AS d_year, c_nation, SUM(lo_revenue - lo_supplycost) AS profit FROM lineorder_flat WHERE c_region = 'AMERICA' AND s_region = 'AMERICA' AND p_mfgr IN ('MFGR#1', 'MFGR#2') GROUP BY 1, 2 ORDER BY 1, 2
-- name: q4.2
SELECT EXTRACT(YEAR FROM __time) AS d_year, s_nation, p_category, SUM(lo_revenue - lo_supplycost) AS profit FROM lineorder_flat WHERE c_region = 'AMERICA' AND s_region = 'AMERICA' AND __time >= TIMESTAMP '1997-01-01' AND __time < TIMESTAMP '1999-01-01' AND p_mfgr IN ('MFGR#1', 'MFGR#2') GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
-- name: q4.3
SELECT EXTRACT(YEAR FROM __time) AS d_year, s_city, p_brand, SUM(lo_revenue - lo_supplycost) AS profit FROM lineorder_flat WHERE s_nation = 'UNITED STATES' AND __time >= TIMESTAMP '1997-01-01' AND __time < TIMESTAMP '1999-01-01' AND p_category = 'MFGR#14' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
