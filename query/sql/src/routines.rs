//! Every function that statements may call, with the forms it takes, as INFORMATION_SCHEMA.ROUTINES shows them: our own,
//! those that the rewriting puts other words for, and the aggregates and window functions that DataFusion brings.

use crate::functions::FUNCTIONS;
use crate::sketches;

pub struct Routine {
    /// In upper case.
    pub name: String,
    /// A line each.
    pub signatures: String,
    /// Whether it may stand over a group or a window.
    pub aggregate: bool,
}

/// Scalars that are no function of ours once a statement is planned; `$` for the name.
const WORDS: &[(&str, &str)] = &[
    ("CASE", "'$(WHEN <BOOLEAN> THEN <ANY> [ELSE <ANY>] END)'"),
    ("CAST", "'$(<ANY> AS <TYPE>)'"),
    ("COALESCE", "'$(<ANY>...)'"),
    ("CURRENT_DATE", "'$'"),
    ("CURRENT_TIMESTAMP", "'$'\n'$(<INTEGER>)'"),
    ("DATE_TRUNC", "'$(<CHARACTER>, <TIMESTAMP>)'"),
    ("EXTRACT", "'$(<UNIT> FROM <TIMESTAMP>)'"),
    ("IFNULL", "'$(<ANY>, <ANY>)'"),
    ("LOCALTIMESTAMP", "'$'\n'$(<INTEGER>)'"),
    ("MILLIS_TO_TIMESTAMP", "'$(<NUMERIC>)'"),
    ("MOD", "'$(<NUMERIC>, <NUMERIC>)'"),
    ("NULLIF", "'$(<ANY>, <ANY>)'"),
    ("NVL", "'$(<ANY>, <ANY>)'"),
    ("PI", "'$'\n'$()'"),
    ("POSITION", "'$(<CHARACTER> IN <CHARACTER>)'\n'$(<CHARACTER> IN <CHARACTER> FROM <INTEGER>)'"),
    ("TIMESTAMPADD", "'$(<UNIT>, <INTEGER>, <TIMESTAMP>)'"),
    ("TIMESTAMP_TO_MILLIS", "'$(<TIMESTAMP>)'"),
    ("TIME_IN_INTERVAL", "'$(<TIMESTAMP>, <CHARACTER>)'"),
];

/// Aggregates and window functions, but for the sketches; `$` for the name.
const AGGREGATES: &[(&str, &str)] = &[
    ("ANY_VALUE", "'$(<ANY>)'\n'$(<CHARACTER>, <INTEGER>)'"),
    ("ARRAY_AGG", "'$(<ANY>)'\n'$(<ANY>, <INTEGER>)'"),
    ("ARRAY_CONCAT_AGG", "'$(<ARRAY>)'\n'$(<ARRAY>, <INTEGER>)'"),
    ("AVG", "'$(<NUMERIC>)'"),
    ("BIT_AND", "'$(<INTEGER>)'"),
    ("BIT_OR", "'$(<INTEGER>)'"),
    ("BIT_XOR", "'$(<INTEGER>)'"),
    ("COUNT", "'$(<ANY>)'"),
    ("CUME_DIST", "'$()'"),
    ("DENSE_RANK", "'$()'"),
    ("EARLIEST", "'$(<ANY>)'\n'$(<CHARACTER>, <INTEGER>)'"),
    ("EARLIEST_BY", "'$(<ANY>, <TIMESTAMP>)'\n'$(<CHARACTER>, <TIMESTAMP>, <INTEGER>)'"),
    ("FIRST_VALUE", "'$(<ANY>)'"),
    ("GROUPING", "'$(<ANY>...)'"),
    ("LAG", "'$(<ANY>)'\n'$(<ANY>, <INTEGER>)'"),
    ("LAST_VALUE", "'$(<ANY>)'"),
    ("LATEST", "'$(<ANY>)'\n'$(<CHARACTER>, <INTEGER>)'"),
    ("LATEST_BY", "'$(<ANY>, <TIMESTAMP>)'\n'$(<CHARACTER>, <TIMESTAMP>, <INTEGER>)'"),
    ("LEAD", "'$(<ANY>)'\n'$(<ANY>, <INTEGER>)'"),
    ("LISTAGG", "'$(<ANY>)'\n'$(<ANY>, <CHARACTER>)'"),
    ("MAX", "'$(<ANY>)'"),
    ("MIN", "'$(<ANY>)'"),
    ("NTILE", "'$(<INTEGER>)'"),
    ("PERCENT_RANK", "'$()'"),
    ("RANK", "'$()'"),
    ("ROW_NUMBER", "'$()'"),
    ("STRING_AGG", "'$(<ANY>)'\n'$(<ANY>, <CHARACTER>)'"),
    ("SUM", "'$(<NUMERIC>)'"),
];

pub fn all() -> impl Iterator<Item = Routine> {
    let scalars = FUNCTIONS.iter().filter(|function| !function.is_internal()).map(|function| Routine {
        name: function.name.to_ascii_uppercase(),
        signatures: function.signatures(),
        aggregate: false,
    });
    let sketches = sketches::AGGREGATES.iter().map(|sketch| Routine {
        name: sketch.name.to_ascii_uppercase(),
        signatures: sketch.signatures(),
        aggregate: true,
    });
    let listed = |list: &'static [(&str, &str)], aggregate| {
        list.iter().map(move |(name, forms)| Routine {
            name: (*name).to_string(),
            signatures: forms.replace('$', name),
            aggregate,
        })
    };
    scalars.chain(listed(WORDS, false)).chain(listed(AGGREGATES, true)).chain(sketches)
}
