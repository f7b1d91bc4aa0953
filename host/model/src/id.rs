//! Ids: one for each message, and one for each item (a message for one next hop).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Names a message for ever: a UUID version 7 (RFC 9562), so ids sort by time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(Uuid);

impl MessageId {
    /// No message: an event with it is about a queue as a whole.
    pub const NONE: Self = Self(Uuid::nil());

    /// A new id, from the clock and random bits.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id that belongs to `name`, always the same one (UUID version 5); for messages that must not be made twice.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        Self(Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()))
    }

    /// The sixteen bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.into_bytes()
    }

    /// From the sixteen bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for MessageId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(text).map(Self).map_err(|_| IdError(text.to_owned()))
    }
}

/// Names an item: the message and the ordinal of the next hop within it, written `message.ordinal`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ItemId {
    /// The message.
    pub message: MessageId,
    /// From 0, in the order in which the route named the next hops; resubmitted parts get the next free one.
    pub ordinal: u16,
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.message, self.ordinal)
    }
}

impl fmt::Debug for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ItemId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || IdError(text.to_owned());
        let (message, ordinal) = text.rsplit_once('.').ok_or_else(wrong)?;
        Ok(Self { message: message.parse()?, ordinal: ordinal.parse().map_err(|_| wrong())? })
    }
}

/// A text that is no id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not an id: a message id looks like 019a1b2c-..., an item id has .0 and so on behind it")]
pub struct IdError(pub String);

macro_rules! as_text {
    ($name:ty) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
as_text!(MessageId);
as_text!(ItemId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_what_they_write() {
        let item = ItemId { message: MessageId::generate(), ordinal: 7 };
        assert_eq!(item.to_string().parse::<ItemId>().unwrap(), item);
        assert_eq!(MessageId::from_bytes(item.message.to_bytes()), item.message);
    }

    #[test]
    fn a_name_always_gives_the_same_id() {
        assert_eq!(MessageId::from_name("x"), MessageId::from_name("x"));
        assert_ne!(MessageId::from_name("x"), MessageId::from_name("y"));
    }
}
