-- Over TPC-H's lineitem with l_shipdate as time: the queries of the Druid paper's benchmark (Yang et al. 2014), TPC-H's first
-- and sixth.
-- name: count_interval
SELECT COUNT(*) FROM lineitem WHERE __time >= TIMESTAMP '1992-01-03' AND __time < TIMESTAMP '1998-11-30'
-- name: sum_all
SELECT SUM(l_extendedprice), SUM(l_discount), SUM(l_tax), SUM(l_quantity) FROM lineitem
-- name: sum_all_year
SELECT FLOOR(__time TO YEAR), SUM(l_extendedprice), SUM(l_discount), SUM(l_tax), SUM(l_quantity) FROM lineitem GROUP BY 1 ORDER BY 1
-- name: sum_all_filter
SELECT SUM(l_extendedprice), SUM(l_discount), SUM(l_tax), SUM(l_quantity) FROM lineitem WHERE l_shipmode LIKE '%AIR%'
-- name: top_100_parts
SELECT l_partkey, SUM(l_quantity) AS q FROM lineitem GROUP BY 1 ORDER BY q DESC LIMIT 100
-- name: top_100_parts_details
SELECT l_partkey, SUM(l_quantity) AS q, SUM(l_extendedprice), MIN(l_discount), MAX(l_discount) FROM lineitem GROUP BY 1 ORDER BY q DESC LIMIT 100
-- name: top_100_parts_filter
SELECT l_partkey, SUM(l_quantity) AS q, SUM(l_extendedprice), MIN(l_discount), MAX(l_discount) FROM lineitem WHERE __time >= TIMESTAMP '1996-01-15' AND __time < TIMESTAMP '1998-03-15' GROUP BY 1 ORDER BY q DESC LIMIT 100
-- name: top_100_commitdate
SELECT l_commitdate, SUM(l_quantity) AS q FROM lineitem GROUP BY 1 ORDER BY q DESC LIMIT 100
-- name: q1
SELECT l_returnflag, l_linestatus, SUM(l_quantity), SUM(l_extendedprice), SUM(l_extendedprice * (1 - l_discount)), SUM(l_extendedprice * (1 - l_discount) * (1 + l_tax)), AVG(l_quantity), AVG(l_extendedprice), AVG(l_discount), COUNT(*) FROM lineitem WHERE __time <= TIMESTAMP '1998-09-02' GROUP BY 1, 2 ORDER BY 1, 2
-- name: q6
SELECT SUM(l_extendedprice * l_discount) FROM lineitem WHERE __time >= TIMESTAMP '1994-01-01' AND __time < TIMESTAMP '1995-01-01' AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24
