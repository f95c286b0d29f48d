//! What roles allow: permissions on things, rows and columns of tables. Documents of roles come in, and of tables that are
//! marked; out of them come answers: may this principal do that, and what of this table does it see.
//!
//! How rules of several roles come together:
//!
//! 1. A principal has its own roles, those that everyone has, and what these include.
//! 2. A permission of any of them is enough; without one the thing is denied.
//! 3. Row policies of all of them that are about a table: a row is seen if any permissive one lets it through and every
//!    restrictive one does. Without a permissive one all rows are seen, unless the table is marked `requirePolicy`: then
//!    none, but by who acts as an administrator. A role without a policy widens nothing.
//! 4. Column rules of all of them hold: a denied column is not there; of a masked one the mask is seen; two different masks
//!    of one column show nulls.
//!
//! A policy may name the caller: in place of a value, `{"identity": "user"}`, `{"identity": "groups"}` or
//! `{"identity": "attribute", "name": "tenant"}` stand for the values that the principal has. A policy that names what the
//! principal lacks lets nothing through.
//!
//! [`documents`] is what is written, [`rules`] what is made of it and answers, [`restriction`] what is seen of one table,
//! [`identities`] how a policy names the caller.

mod documents;
mod identities;
mod restriction;
mod rules;

#[cfg(test)]
mod tests;

pub use documents::{
    Action, ColumnRule, Kind, Permission, PolicyKind, Quota, Resource, Role, RowPolicy, TableRule, Treatment,
};
pub use identities::MEMBER_COLUMN;
pub use restriction::{Restricted, Restriction};
pub use rules::{ADMIN, Rules};
