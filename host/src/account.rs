//! Account: the users of this machine, as /etc/passwd lists them. Those that a directory service adds are not known here;
//! they are called by their number.

use std::fmt;
use std::fs;

/// Where they are listed (passwd(5)).
const FILE: &str = "/etc/passwd";
/// Where their groups are listed (group(5)).
const GROUPS: &str = "/etc/group";

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The name, or the number where no name is known.
    pub name: String,
    /// The number.
    pub uid: u32,
    /// The number of the user's own group; `None` where the user is not listed.
    pub gid: Option<u32>,
}

impl Account {
    /// The user of this name, if one is listed.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        parse(&listed()).find(|account| account.name == name)
    }

    /// The user with this number, listed or not.
    #[must_use]
    pub fn numbered(uid: u32) -> Self {
        let unlisted = Self { name: uid.to_string(), uid, gid: None };
        parse(&listed()).find(|account| account.uid == uid).unwrap_or(unlisted)
    }

    /// The numbers of the groups that the user is in, the own one first.
    #[must_use]
    pub fn groups(&self) -> Vec<u32> {
        let text = fs::read(GROUPS).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let others = parse_groups(&text.unwrap_or_default(), &self.name);
        self.gid.into_iter().chain(others).collect()
    }

    /// As whom this process works.
    #[must_use]
    pub fn current() -> Self {
        Self::numbered(rustix::process::geteuid().as_raw())
    }

    /// Whether it may do everything.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A machine without the file has no users with names.
fn listed() -> String {
    fs::read(FILE).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn parse(text: &str) -> impl Iterator<Item = Account> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let mut numbers = fields.skip(1).map(str::parse);
        let (uid, gid) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        (!name.is_empty()).then_some(Account { name, uid, gid: Some(gid) })
    })
}

/// The number of a group, by its name or its number as text.
#[must_use]
pub fn group_number(group: &str) -> Option<u32> {
    let number = |line: &str| {
        let mut fields = line.split(':');
        (fields.next()? == group).then(|| fields.nth(1)?.parse().ok())?
    };
    let text = fs::read(GROUPS).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    group.parse().ok().or_else(|| text.unwrap_or_default().lines().find_map(number))
}

/// The numbers of the groups that list this user.
fn parse_groups(text: &str, name: &str) -> Vec<u32> {
    let group = |line: &str| {
        let mut fields = line.split(':').skip(2);
        let (gid, members) = (fields.next()?.parse().ok()?, fields.next()?);
        members.split(',').any(|member| member.trim() == name).then_some(gid)
    };
    text.lines().filter_map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_in_every_group_that_lists_it() {
        let text = "fax:x:20:gw,other\nsms:x:21:\nhalf:x:\nmail:x:8:other, gw\ngw:x:22:gwen\n";
        assert_eq!(parse_groups(text, "gw"), [20, 8]);
    }

    #[test]
    fn lines_that_are_none_are_passed_over() {
        let text = "root:x:0:0:root:/root:/bin/sh\n\n# nobody\nhalf:x:7\n:x:1:1::/:\n\
                    postern:!:998:997::/var/lib/postern:/usr/sbin/nologin\n+::::::\n";
        let found: Vec<_> = parse(text).map(|a| (a.name, a.uid, a.gid)).collect();
        assert_eq!(found, [("root".to_owned(), 0, Some(0)), ("postern".to_owned(), 998, Some(997))]);
    }

    #[test]
    fn who_is_not_listed_is_called_by_number() {
        let stranger = Account::numbered(4_000_000_001);
        assert_eq!((stranger.to_string().as_str(), stranger.gid), ("4000000001", None));
        assert_eq!(Account::current().uid, rustix::process::geteuid().as_raw());
    }
}
