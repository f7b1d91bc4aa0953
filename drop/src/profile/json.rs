//! The `json` profile: the message in one file, and beside it a manifest that says the rest. The manifest is the main file: it
//! comes last, and a gateway waits for it and removes it last.

use super::manifest::{self, Manifest};
use super::name_pattern::checked;
use super::{Content, FileSet, Letter, MessageLines, Rendered, Unfit};

/// How the profile writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json {
    /// How the lines of the message end.
    pub lines: MessageLines,
}

impl Json {
    /// The name of the main file.
    pub(super) fn main_name(id: &str) -> String {
        format!("{id}.json")
    }

    /// The files of a letter.
    pub(super) fn render(&self, letter: &Letter<'_>) -> Result<FileSet, Unfit> {
        let message = checked(format!("{}.eml", letter.id))?;
        let line_end = match self.lines {
            MessageLines::AsReceived | MessageLines::BehindFirewall => "crlf",
            MessageLines::Lf => "lf",
        };
        let content = manifest::Content {
            file: Some(message.as_str()),
            bytes: letter.size,
            sha256: letter.sha256.as_deref(),
            line_end,
        };
        let main = Rendered {
            name: checked(Self::main_name(letter.id))?,
            content: Content::Bytes(Manifest::new("json", letter, content).bytes()?),
        };
        let content = Content::Message { before: Vec::new(), line_end: self.lines };
        Ok(FileSet { members: vec![Rendered { name: message, content }], main })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::letter;
    use super::*;

    /// What version 1 writes. Gateways in the field read it: it may only get longer.
    const SAMPLE: &str = include_str!("samples/manifest-1.json");

    #[test]
    fn the_manifest_is_written_as_ever() {
        letter(|letter| {
            let set = Json::default().render(&letter).unwrap();
            let Content::Bytes(manifest) = &set.main.content else {
                panic!("the manifest is held in memory")
            };
            assert_eq!(String::from_utf8_lossy(manifest), SAMPLE);
            assert_eq!(set.main.name.as_str(), "0192f3c4-0000-7000-8000-000000000001.0.json");
            assert_eq!(set.members[0].name.as_str(), "0192f3c4-0000-7000-8000-000000000001.0.eml");
        });
    }

    #[test]
    fn nothing_foreign_breaks_out_of_the_manifest() {
        letter(|letter| {
            let evil = "\",\n\"profile\": \"x\u{0}\u{1b}[31m</script>\u{2028}";
            let view = super::super::View { subject: evil.to_owned(), ..Default::default() };
            let letter = Letter { view: Some(&view), ..letter };
            let set = Json::default().render(&letter).unwrap();
            let Content::Bytes(manifest) = &set.main.content else {
                panic!("the manifest is held in memory")
            };
            let read: serde_json::Value = serde_json::from_slice(manifest).unwrap();
            assert_eq!(read["subject"], evil);
            assert_eq!(read["profile"], "json");
            assert!(!manifest.contains(&0x1b) && !manifest.contains(&0), "control characters are escaped");
        });
    }
}
