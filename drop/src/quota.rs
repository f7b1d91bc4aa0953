//! Quota: how much may lie in a drop directory, and when it counts as full. Pure.
//!
//! A directory that was full stays so until it is emptied to the low mark, so that host and gateway do not hand single
//! files to each other at the edge; each crossing of a mark is told once.

use std::time::Duration;

/// From this share of the quota on, in percent, a warning is given.
pub const DEFAULT_WARN_PERCENT: u8 = 80;
/// How far below the warning mark its end lies, in percent points: not every file at the edge is news.
const WARN_SLACK: u64 = 5;

/// How much may lie in a drop directory; `None` is no limit. Every file in it counts, whoever wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Bytes, by the length of the files.
    pub bytes: Option<u64>,
    /// Files.
    pub files: Option<u64>,
    /// The age of the oldest file of ours: a gateway that takes nothing for so long gets no more.
    pub oldest: Option<Duration>,
    /// From this share on, in percent, a warning is given.
    pub warn_percent: u8,
    /// A directory that was full takes files again at this share or less, in percent. 100: as soon as one fits.
    pub low_percent: u8,
}

impl Default for Quota {
    fn default() -> Self {
        Self { bytes: None, files: None, oldest: None, warn_percent: DEFAULT_WARN_PERCENT, low_percent: 100 }
    }
}

/// What lies in a drop directory, files being written included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes, by the length of the files.
    pub bytes: u64,
    /// Files.
    pub files: u64,
}

/// How full a drop directory is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fullness {
    /// There is room.
    #[default]
    Calm,
    /// The warning mark is reached.
    Warning,
    /// No file is taken in before the low mark is reached.
    Full,
}

impl Quota {
    /// Whether one more file of `size` bytes fits on top of `used`.
    #[must_use]
    pub fn admits(&self, used: Usage, size: u64) -> bool {
        self.bytes.is_none_or(|limit| used.bytes.saturating_add(size) <= limit)
            && self.files.is_none_or(|limit| used.files < limit)
    }

    /// How much of it is used, in percent: of the limit that is nearest.
    #[must_use]
    pub fn share(&self, used: Usage, oldest: Option<Duration>) -> u64 {
        let percent = |part: u128, limit: u128| u64::try_from(part * 100 / limit.max(1)).unwrap_or(u64::MAX);
        let bytes = self.bytes.map(|limit| percent(used.bytes.into(), limit.into()));
        let files = self.files.map(|limit| percent(used.files.into(), limit.into()));
        let age = self.oldest.zip(oldest).map(|(limit, age)| percent(age.as_millis(), limit.as_millis()));
        bytes.max(files).max(age).unwrap_or(0)
    }

    /// How full the directory is now, after it was `before`. `refused`: what lay there when a file did not fit; until some
    /// of that is gone, nothing has changed.
    #[must_use]
    pub fn fullness(
        &self,
        before: Fullness,
        refused: Option<Usage>,
        used: Usage,
        oldest: Option<Duration>,
    ) -> Fullness {
        let share = self.share(used, oldest);
        let low = u64::from(self.low_percent);
        let warn = u64::from(self.warn_percent);
        let unchanged = refused.is_some_and(|then| used.bytes >= then.bytes && used.files >= then.files);
        let stays_full = before == Fullness::Full && (share > low || share >= 100 || unchanged);
        let too_old = self.oldest.zip(oldest).is_some_and(|(limit, age)| age >= limit);
        if stays_full || too_old {
            Fullness::Full
        } else if share >= warn || before != Fullness::Calm && share + WARN_SLACK > warn {
            Fullness::Warning
        } else {
            Fullness::Calm
        }
    }
}

impl Usage {
    pub(crate) fn add(&mut self, size: u64) {
        self.bytes = self.bytes.saturating_add(size);
        self.files += 1;
    }

    pub(crate) fn remove(&mut self, size: u64) {
        self.bytes = self.bytes.saturating_sub(size);
        self.files = self.files.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(files: u64) -> Usage {
        Usage { bytes: 0, files }
    }

    #[test]
    fn a_quota_admits_up_to_and_including_its_limit() {
        let quota = Quota { bytes: Some(10), files: Some(2), ..Quota::default() };
        assert!(quota.admits(Usage { bytes: 4, files: 1 }, 6));
        assert!(!quota.admits(Usage { bytes: 4, files: 1 }, 7));
        assert!(!quota.admits(Usage { bytes: 0, files: 2 }, 0));
        assert!(Quota::default().admits(Usage { bytes: u64::MAX, files: u64::MAX }, u64::MAX));
    }

    #[test]
    fn the_marks_are_crossed_once_each_way() {
        let quota = Quota { files: Some(100), low_percent: 50, ..Quota::default() };
        let mut now = Fullness::Calm;
        let mut at = |used: u64, before: Option<Fullness>| {
            now = quota.fullness(before.unwrap_or(now), None, files(used), None);
            now
        };
        assert_eq!(at(79, None), Fullness::Calm);
        assert_eq!(at(80, None), Fullness::Warning);
        assert_eq!(at(76, None), Fullness::Warning, "the edge is no news");
        assert_eq!(at(75, None), Fullness::Calm);
        // A file that did not fit makes it full.
        assert_eq!(at(100, Some(Fullness::Full)), Fullness::Full);
        assert_eq!(at(51, None), Fullness::Full);
        assert_eq!(at(50, None), Fullness::Calm);
    }

    #[test]
    fn without_a_low_mark_it_takes_files_again_as_soon_as_one_fits() {
        let quota = Quota { files: Some(1), ..Quota::default() };
        assert_eq!(quota.fullness(Fullness::Full, None, files(1), None), Fullness::Full);
        assert_eq!(quota.fullness(Fullness::Full, None, files(0), None), Fullness::Calm);
        let unlimited = Quota::default();
        assert_eq!(unlimited.fullness(Fullness::Full, None, files(1), None), Fullness::Calm);
        let quota = Quota { bytes: Some(100), ..Quota::default() };
        let after = |bytes| {
            let used = Usage { bytes, files: 1 };
            quota.fullness(Fullness::Full, Some(Usage { bytes: 60, files: 1 }), used, None)
        };
        assert_eq!((after(60), after(59)), (Fullness::Full, Fullness::Calm), "a large one did not fit");
    }

    #[test]
    fn a_file_that_is_too_old_makes_it_full_until_it_goes() {
        let quota = Quota { oldest: Some(Duration::from_secs(100)), ..Quota::default() };
        let age = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(quota.fullness(Fullness::Calm, None, files(1), age(85)), Fullness::Warning);
        assert_eq!(quota.fullness(Fullness::Warning, None, files(1), age(100)), Fullness::Full);
        assert_eq!(quota.fullness(Fullness::Full, None, files(1), age(10)), Fullness::Calm);
        assert_eq!(quota.fullness(Fullness::Full, None, files(0), None), Fullness::Calm);
    }
}
