//! Rewriting: rounds of decapsulation and rewrites until an address stays as it is.

use std::fmt;

use postern_model::TypedAddress;

use super::NoRoute;
use crate::address_forms::{self, Form};
use crate::config::Rewrite;

/// The most rounds of rewriting an address goes through.
pub const MAX_ROUNDS: usize = 5;

/// One thing that rewriting did to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The address carried another one.
    Decapsulated {
        /// In which form.
        form: Form,
        /// Before.
        from: TypedAddress,
        /// After.
        to: TypedAddress,
    },
    /// A rewrite of the config matched.
    Rewritten {
        /// The number of the rewrite in the config, from 1.
        number: usize,
        /// Before.
        from: TypedAddress,
        /// After; the same when the rewrite says that the address stays.
        to: TypedAddress,
    },
}

impl Step {
    fn to(&self) -> &TypedAddress {
        let (Self::Decapsulated { to, .. } | Self::Rewritten { to, .. }) = self;
        to
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decapsulated { form, from, to } => {
                write!(f, "{from} carries {to} ({} form)", form.name())
            }
            Self::Rewritten { number, from, to } if from == to => {
                write!(f, "rewrite {number} matches and leaves {to} as it is")
            }
            Self::Rewritten { number, from, to } => write!(f, "rewrite {number} turns {from} into {to}"),
        }
    }
}

/// What came of it.
pub(super) struct Rewriting {
    pub(super) address: TypedAddress,
    pub(super) properties: Vec<(String, String)>,
    pub(super) steps: Vec<Step>,
    pub(super) fault: Option<NoRoute>,
}

/// Rewrites `given` until nothing matches, or a rewrite leaves it as it is, or it is at fault.
pub(super) fn rewrite(given: &TypedAddress, rewrites: &[Rewrite], domains: &[String]) -> Rewriting {
    let mut all =
        Rewriting { address: given.clone(), properties: Vec::new(), steps: Vec::new(), fault: None };
    loop {
        match one_round(&all.address, rewrites, domains) {
            Ok(None) => return all,
            Err(fault) => return Rewriting { fault: Some(fault), ..all },
            Ok(Some((step, properties))) => {
                let to = step.to().clone();
                let stays = to == all.address;
                all.fault = if stays {
                    None
                } else if to == *given || all.steps.iter().any(|known| *known.to() == to) {
                    Some(NoRoute::RewriteLoop(to.clone()))
                } else if all.steps.len() == MAX_ROUNDS {
                    Some(NoRoute::RewriteLimit(to.clone()))
                } else {
                    None
                };
                all.steps.push(step);
                for (name, value) in properties {
                    set(&mut all.properties, name, value);
                }
                all.address = to;
                if stays || all.fault.is_some() {
                    return all;
                }
            }
        }
    }
}

type Round = Option<(Step, Vec<(String, String)>)>;

/// Decapsulation comes first, so that a rewrite for `{number}@fax.example` sees no `FAX=+49...`.
fn one_round(from: &TypedAddress, rewrites: &[Rewrite], domains: &[String]) -> Result<Round, NoRoute> {
    let found = address_forms::decapsulate(from, domains)
        .map_err(|error| NoRoute::Malformed { address: from.clone(), error })?;
    let from = from.clone();
    if let Some(found) = found {
        let step = Step::Decapsulated { form: found.form, from, to: found.address };
        return Ok(Some((step, found.properties)));
    }
    let matched = rewrites.iter().zip(1..).find_map(|(r, number)| r.apply(&from).map(|done| (number, done)));
    Ok(matched.map(|(number, done)| (Step::Rewritten { number, from, to: done.address }, done.captures)))
}

/// Sets a property; a later value replaces an earlier one of the same name.
pub(super) fn set(properties: &mut Vec<(String, String)>, name: String, value: String) {
    match properties.iter_mut().find(|(known, _)| *known == name) {
        Some((_, known)) => *known = value,
        None => properties.push((name, value)),
    }
}
