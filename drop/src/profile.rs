//! Profile: a gateway's file format and habits. One profile, one file below.

pub mod eml;

use std::str::FromStr;

use crate::Habits;

/// A file format that a gateway reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Profile {
    /// A trace header, then the message exactly as it was received. See [`eml`].
    #[default]
    Eml,
}

impl Profile {
    /// All profiles.
    pub const ALL: &[Self] = &[Self::Eml];

    /// The word in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Eml => "eml",
        }
    }

    /// What its gateways do with a file, and how their results are read.
    #[must_use]
    pub fn habits(self) -> Habits {
        match self {
            Self::Eml => Habits::default(),
        }
    }

    /// What file names end with, without the dot.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Eml => "eml",
        }
    }
}

impl FromStr for Profile {
    type Err = ProfileError;

    fn from_str(name: &str) -> Result<Self, ProfileError> {
        Self::ALL.iter().copied().find(|p| p.name() == name).ok_or_else(|| ProfileError(name.to_owned()))
    }
}

/// There is no profile of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no drop profile {0:?}; known: eml")]
pub struct ProfileError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_is_found_by_its_name() {
        for profile in Profile::ALL {
            assert_eq!(profile.name().parse(), Ok(*profile));
        }
        assert!("exchange-2003".parse::<Profile>().is_err());
    }
}
