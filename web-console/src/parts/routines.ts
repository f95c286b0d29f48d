// One line on what each function of SQL answers, as its completion shows it. The server tells names and signatures
// (INFORMATION_SCHEMA.ROUTINES); a walk fails for a name that has no line here.

const LINES = `
ABS: the number without its sign
ACOS: the angle, in radians, of a cosine
ANY_VALUE: a value of the group, whichever is met first
APPROX_COUNT_DISTINCT: about how many different values there are
APPROX_COUNT_DISTINCT_BUILTIN: about how many different values there are
APPROX_COUNT_DISTINCT_DS_CPC: about how many different values there are, by a CPC sketch of 2^lgK registers
APPROX_COUNT_DISTINCT_DS_HLL: about how many different values there are, by a HyperLogLog sketch of 2^lgK registers
APPROX_COUNT_DISTINCT_DS_HLL_UTF8: as APPROX_COUNT_DISTINCT_DS_HLL, of the UTF-8 bytes of texts
APPROX_COUNT_DISTINCT_DS_THETA: about how many different values there are, by a theta sketch of the given size
APPROX_QUANTILE: about the value below which the given share of values is: 0.5 is the median
APPROX_QUANTILE_DS: about the value below which the given share of values is, by a quantiles sketch of the given k
APPROX_QUANTILE_FIXED_BUCKETS: about the value below which the given share of values is, by equal buckets between two limits
ARRAY_AGG: all values of the group as an array, up to a number of bytes
ARRAY_APPEND: the array with one more element at its end
ARRAY_CONCAT: one array after the other
ARRAY_CONCAT_AGG: all arrays of the group, one after the other, up to a number of bytes
ARRAY_CONTAINS: whether the array has the element, or all elements of another array
ARRAY_LENGTH: how many elements the array has
ARRAY_OFFSET: the element at a place, counted from 0
ARRAY_OFFSET_OF: the first place of an element, counted from 0; null if it is not there
ARRAY_ORDINAL: the element at a place, counted from 1
ARRAY_ORDINAL_OF: the first place of an element, counted from 1; null if it is not there
ARRAY_OVERLAP: whether two arrays have an element in common
ARRAY_PREPEND: the array with one more element at its beginning
ARRAY_SLICE: the elements from one place up to, not including, another, counted from 0
ARRAY_TO_MV: the array as a multi-value text, to be grouped by each of its values
ARRAY_TO_STRING: the elements in one text, with a separator between them
ASIN: the angle, in radians, of a sine
ATAN: the angle, in radians, of a tangent
ATAN2: the angle, in radians, of the point with these y and x
AVG: the mean of the numbers that are not null
BITWISE_AND: the bits that both whole numbers have
BITWISE_COMPLEMENT: each bit turned over
BITWISE_CONVERT_DOUBLE_TO_LONG_BITS: the 64 bits of a double as a whole number
BITWISE_CONVERT_LONG_BITS_TO_DOUBLE: the double that has these 64 bits
BITWISE_OR: the bits that either whole number has
BITWISE_SHIFT_LEFT: the bits moved to the left by so many places
BITWISE_SHIFT_RIGHT: the bits moved to the right by so many places
BITWISE_XOR: the bits that only one of the whole numbers has
BIT_AND: the bits that all whole numbers of the group have
BIT_OR: the bits that any whole number of the group has
BIT_XOR: the bits that an odd number of the group's whole numbers have
BLOOM_FILTER: a Bloom filter of the values, made for about so many of them
BLOOM_FILTER_TEST: whether the value may be in a Bloom filter, given as base64; false is certain
BTRIM: the text without spaces, or the given characters, at both ends
CASE: the result of the first condition that holds
CAST: the value as another type
CEIL: the smallest whole number that is not below; of a time, the end of its unit: CEIL(__time TO DAY)
CEILING: the smallest whole number that is not below
CHARACTER_LENGTH: how many characters the text has
CHAR_LENGTH: how many characters the text has
COALESCE: the first of the values that is not null
COMPLEX_DECODE_BASE64: a sketch of the named type, read from base64
CONCAT: the texts, one after the other
CONTAINS_STRING: whether the text has the other in it
COS: the cosine of an angle in radians
COT: the cotangent of an angle in radians
COUNT: how many rows there are: COUNT(*), or rows whose value is not null
CPC_SKETCH_ESTIMATE: about how many different values a CPC sketch has met
CPC_SKETCH_ESTIMATE_WITH_ERROR_BOUNDS: the estimate of a CPC sketch between its bounds, at 1 to 3 standard deviations
CPC_SKETCH_UNION: one CPC sketch of several
CUME_DIST: which share of the window's rows come no later than this one
CURRENT_DATE: the day on which the statement began
CURRENT_TIMESTAMP: the moment at which the statement began
DATE_TRUNC: the beginning of the unit ('hour', 'month') that the time is in
DECODE_BASE64_COMPLEX: a sketch of the named type, read from base64
DECODE_BASE64_UTF8: the text that was written as base64
DEGREES: an angle of radians in degrees
DENSE_RANK: the row's rank in its window, equal rows alike, without gaps
DIV: how often the second whole number goes into the first, without the rest
DS_CDF: which share of a quantiles sketch's values lies below each split point
DS_CPC: a CPC sketch of the values, for further estimates and unions
DS_FREQUENT_ITEMS: a sketch of the most frequent values
DS_GET_QUANTILE: the value of a quantiles sketch below which the given share lies
DS_GET_QUANTILES: the values of a quantiles sketch below which the given shares lie
DS_HISTOGRAM: how many of a quantiles sketch's values lie between the split points
DS_HLL: a HyperLogLog sketch of the values, for further estimates and unions
DS_QUANTILES_SKETCH: a sketch of how the numbers are spread, for quantiles, ranks and histograms
DS_QUANTILE_SUMMARY: a quantiles sketch in words
DS_RANK: which share of a quantiles sketch's values lies below a number
DS_THETA: a theta sketch of the values, for unions, intersections and differences
DS_TUPLE_DOUBLES: a sketch of different values with sums of numbers beside them
DS_TUPLE_DOUBLES_INTERSECT: the tuple sketch of values that all of them have
DS_TUPLE_DOUBLES_METRICS_SUM_ESTIMATE: about the sums of the numbers of a tuple sketch
DS_TUPLE_DOUBLES_NOT: the tuple sketch of values that the first has and the others have not
DS_TUPLE_DOUBLES_UNION: the tuple sketch of values that any of them has
EARLIEST: the value of the row with the smallest __time; of texts up to a number of bytes
EARLIEST_BY: the value of the row with the smallest of the given times
EXP: e to the power of the number
EXTRACT: a part of a time as a number: EXTRACT(HOUR FROM __time)
FIRST_VALUE: the value of the first row of the window
FLOOR: the largest whole number that is not above; of a time, the beginning of its unit: FLOOR(__time TO DAY)
FREQUENT_ITEMS: the values that a sketch of frequent items found, with about how often each was met
FREQUENT_ITEMS_ESTIMATE: about how often a sketch of frequent items met the value
GREATEST: the largest of the values
GROUPING: which of the columns this row of GROUPING SETS, ROLLUP or CUBE is not grouped by, as bits
HLL_SKETCH_ESTIMATE: about how many different values a HyperLogLog sketch has met
HLL_SKETCH_ESTIMATE_WITH_ERROR_BOUNDS: the estimate of a HyperLogLog sketch with its bounds, at 1 to 3 standard deviations
HLL_SKETCH_TO_STRING: a HyperLogLog sketch in words
HLL_SKETCH_UNION: one HyperLogLog sketch of several
HUMAN_READABLE_BINARY_BYTE_FORMAT: bytes as people read them, by 1,024: 1.50 GiB
HUMAN_READABLE_DECIMAL_BYTE_FORMAT: bytes as people read them, by 1,000: 1.50 GB
HUMAN_READABLE_DECIMAL_FORMAT: a number as people read it, by 1,000: 1.50 M
ICONTAINS_STRING: whether the text has the other in it, upper and lower case alike
IFNULL: the second value where the first is null
IPV4_MATCH: whether the address is within the subnet: '10.0.0.0/8'
IPV4_PARSE: an address as a whole number; null if it is none
IPV4_STRINGIFY: a whole number as an address; null if it is none
IPV6_MATCH: whether the address is within the subnet: '2001:db8::/32'
JSON_KEYS: the names of the fields at a path: '$.a'
JSON_MERGE: one document of several; of fields of the same name the last counts
JSON_OBJECT: a document of names and values: JSON_OBJECT('a': x, 'b': y)
JSON_PATHS: all paths at which the document has a value
JSON_QUERY: what stands at a path, as a document
JSON_QUERY_ARRAY: what stands at a path, as an array of documents
JSON_VALUE: the plain value at a path: JSON_VALUE(doc, '$.a.b' RETURNING BIGINT)
LAG: the value so many rows before this one in the window; one, if it is not said
LAST_VALUE: the value of the last row of the window
LATEST: the value of the row with the largest __time; of texts up to a number of bytes
LATEST_BY: the value of the row with the largest of the given times
LEAD: the value so many rows after this one in the window; one, if it is not said
LEAST: the smallest of the values
LEFT: the first so many characters of the text
LENGTH: how many characters the text has
LISTAGG: the texts of the group in one, with a separator between them
LN: the natural logarithm
LOCALTIMESTAMP: the moment at which the statement began
LOG10: the logarithm to base 10
LOOKUP: the value that the named lookup has for a key; a third argument stands for keys it lacks
LOWER: the text in lower case
LPAD: the text filled up at its left to a length, or cut to it
LTRIM: the text without spaces, or the given characters, at its left
MAX: the largest value
MILLIS_TO_TIMESTAMP: the time that is so many milliseconds after 1970-01-01T00:00:00Z
MIN: the smallest value
MOD: the rest of a division
MV_APPEND: the values with one more at their end
MV_CONCAT: the values of both, one after the other
MV_CONTAINS: whether the values have this one, or all of an array
MV_FILTER_NONE: the values that are not in the array
MV_FILTER_ONLY: the values that are in the array
MV_FILTER_PREFIX: the values that begin with a text
MV_FILTER_REGEX: the values that match a regular expression
MV_LENGTH: how many values there are
MV_OFFSET: the value at a place, counted from 0
MV_OFFSET_OF: the first place of a value, counted from 0
MV_ORDINAL: the value at a place, counted from 1
MV_ORDINAL_OF: the first place of a value, counted from 1
MV_OVERLAP: whether the values and the array have one in common
MV_PREPEND: the values with one more at their beginning
MV_SLICE: the values from one place up to, not including, another, counted from 0
MV_TO_ARRAY: the values as an array, which is grouped by as a whole
MV_TO_STRING: the values in one text, with a separator between them
NTILE: in which of so many equal parts of its window the row is, counted from 1
NULLIF: null where both values are equal, else the first
NVL: the second value where the first is null
PARSE_JSON: a text as a document; an error if it is none
PARSE_LONG: a text as a whole number, in base 10 or another; null if it is none
PERCENT_RANK: the row's rank in its window as a share, from 0 to 1
PI: 3.14159…
POSITION: where a text begins in another, counted from 1; 0 if it does not
POW: the first number to the power of the second
POWER: the first number to the power of the second
RADIANS: an angle of degrees in radians
RANK: the row's rank in its window, equal rows alike, with gaps after them
REGEXP_EXTRACT: what a regular expression finds, or what its n-th group does; null if nothing
REGEXP_LIKE: whether a regular expression finds anything in the text
REGEXP_REPLACE: the text with all that a regular expression finds replaced; $1 is its first group
REPEAT: the text so many times
REPLACE: the text with another in it replaced everywhere
REVERSE: the text from its end to its beginning
RIGHT: the last so many characters of the text
ROUND: the nearest number with so many decimals; none, if it is not said
ROW_NUMBER: the row's place in its window, counted from 1
RPAD: the text filled up at its right to a length, or cut to it
RTRIM: the text without spaces, or the given characters, at its right
SAFE_DIVIDE: a division that is null where the divisor is 0
SCALAR_IN_ARRAY: whether the value is an element of the array
SIGN: -1, 0 or 1, as the number is below, at or above 0
SIN: the sine of an angle in radians
SKETCH_FINALIZE: what the sketch estimates, as a number
SQRT: the square root
STDDEV: the standard deviation of a sample
STDDEV_POP: the standard deviation of all there is
STDDEV_SAMP: the standard deviation of a sample
STRING_AGG: the texts of the group in one, with a separator between them
STRING_FORMAT: values written into a pattern: STRING_FORMAT('%s has %d', a, b)
STRING_TO_ARRAY: the parts of a text between separators, which are a regular expression, as an array
STRING_TO_MV: the parts of a text between separators, which are a regular expression, as multiple values
STRLEN: how many characters the text has
STRPOS: where a text begins in another, counted from 1; 0 if it does not
SUBSTR: the text from a place, counted from 1, at most so many characters
SUBSTRING: the text from a place, counted from 1, at most so many characters
SUM: the sum of the numbers that are not null
TAN: the tangent of an angle in radians
TDIGEST_GENERATE_SKETCH: a t-digest of the numbers, of the given compression
TDIGEST_QUANTILE: about the value below which the given share of values is, by a t-digest
TEXTCAT: two texts, one after the other
THETA_SKETCH_ESTIMATE: about how many different values a theta sketch has met
THETA_SKETCH_ESTIMATE_WITH_ERROR_BOUNDS: the estimate of a theta sketch with its bounds, at 1 to 3 standard deviations
THETA_SKETCH_INTERSECT: the theta sketch of values that all of them have
THETA_SKETCH_NOT: the theta sketch of values that the first has and the others have not
THETA_SKETCH_UNION: the theta sketch of values that any of them has
TIMESTAMPADD: the time so many units later: TIMESTAMPADD(DAY, -1, __time)
TIMESTAMPDIFF: how many whole units lie between two times: TIMESTAMPDIFF(HOUR, a, b)
TIMESTAMP_TO_MILLIS: milliseconds since 1970-01-01T00:00:00Z
TIME_CEIL: the end of the period ('PT15M', 'P1D') that the time is in, from an origin, in a time zone
TIME_EXTRACT: a part of a time ('HOUR', 'DOW') as a number, in a time zone
TIME_FLOOR: the beginning of the period ('PT15M', 'P1D') that the time is in, from an origin, in a time zone
TIME_FORMAT: a time as a text, by a Joda pattern ('yyyy-MM-dd'), in a time zone
TIME_IN_INTERVAL: whether the time is in an ISO 8601 interval: '2024-01-01/P1M'
TIME_PARSE: a text as a time, by a Joda pattern, in a time zone; null if it is none
TIME_SHIFT: the time so many periods later: TIME_SHIFT(__time, 'P1D', -7)
TO_JSON_STRING: a document or value as a text of JSON
TRIM: the text without spaces, or the given characters, at both ends
TRUNC: the number without the decimals after so many
TRUNCATE: the number without the decimals after so many
TRY_PARSE_JSON: a text as a document; null if it is none
UPPER: the text in upper case
VARIANCE: the variance of a sample
VAR_POP: the variance of all there is
VAR_SAMP: the variance of a sample
`;

const BY_NAME = new Map(
  LINES.trim()
    .split("\n")
    .map((line): [string, string] => {
      const colon = line.indexOf(": ");
      return [line.slice(0, colon), line.slice(colon + 2)];
    }),
);

/** What a function answers, in one line; null of one that is not known here. */
export const about = (routine: string): string | null => BY_NAME.get(routine) ?? null;
