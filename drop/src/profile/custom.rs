//! The `custom` profile: files for a program of one's own: its names, its code page, its layout, its marker file.

use super::name_pattern::checked;
use super::text::plain;
use super::{Content, FileSet, Letter, NamePattern, Rendered, Template, TextStyle, Unfit, View};

/// How the profile writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Custom {
    /// What files are called, without the extension.
    pub name: NamePattern,
    /// What the name of the data file ends with, without the dot; empty for none.
    pub extension: String,
    /// Names are in capitals.
    pub upper_case: bool,
    /// The counter begins again at 1 after this value.
    pub counter_limit: Option<u64>,
    /// One file for each recipient, or one for all.
    pub per_recipient: bool,
    /// What is in the data file.
    pub content: Template,
    /// How it is written.
    pub text: TextStyle,
    /// The marker file, which is written when the data file is there.
    pub marker: Option<Marker>,
}

/// The file that tells that the data file is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// What its name ends with, without the dot.
    pub extension: String,
    /// What is in it; mostly nothing.
    pub content: Template,
}

impl Custom {
    /// The name of the main file: the marker's where there is one.
    pub(super) fn main_name(&self, letter: &Letter<'_>) -> Result<String, Unfit> {
        let extension = self.marker.as_ref().map_or(&self.extension, |marker| &marker.extension);
        self.with_extension(letter, extension)
    }

    /// The files of a letter.
    pub(super) fn render(&self, letter: &Letter<'_>) -> Result<FileSet, Unfit> {
        let data_name = checked(self.with_extension(letter, &self.extension)?)?;
        let facts = Facts { letter, view: letter.view, file: data_name.as_str() };
        let content = Content::Bytes(self.text.encode(&self.content.filled(&facts)?)?);
        let Some(marker) = &self.marker else { return Ok(FileSet::single(data_name, content)) };
        let marking = Content::Bytes(self.text.encode(&marker.content.filled(&facts)?)?);
        let main = Rendered { name: checked(self.main_name(letter)?)?, content: marking };
        Ok(FileSet { members: vec![Rendered { name: data_name, content }], main })
    }

    /// Whether a counter is in names or content.
    pub(super) fn counts(&self) -> bool {
        let marked = self.marker.as_ref().is_some_and(|marker| marker.content.counts());
        self.name.counts() || self.content.counts() || marked
    }

    fn with_extension(&self, letter: &Letter<'_>, extension: &str) -> Result<String, Unfit> {
        let mut name = self.name.name(letter)?;
        if !extension.is_empty() {
            name.push('.');
            name.push_str(extension);
        }
        if self.upper_case {
            name.make_ascii_uppercase();
        }
        Ok(name)
    }
}

/// What a template is filled with.
pub(super) struct Facts<'a> {
    letter: &'a Letter<'a>,
    view: Option<&'a View>,
    /// The name of the data file.
    file: &'a str,
}

impl Facts<'_> {
    /// The value of a field. All but the text are one line.
    pub(super) fn value(&self, field: super::Field) -> Result<String, Unfit> {
        use super::Field;
        let view = || self.view.ok_or_else(Unfit::unread);
        let first = || self.letter.recipients.first().ok_or_else(Unfit::nobody);
        let value = match field {
            Field::Text => return Ok(plain(&view()?.text).trim_end().to_owned()),
            Field::Subject => view()?.subject.clone(),
            Field::HeaderFrom => view()?.from.clone(),
            Field::From => self.letter.envelope.return_path.to_owned(),
            Field::To => {
                let all = self.letter.recipients.iter().map(|recipient| recipient.address.as_str());
                all.collect::<Vec<_>>().join(", ")
            }
            Field::Local => first()?.local.clone(),
            Field::Number => super::TelephoneNumber::of(first()?)?.digits().to_owned(),
            Field::Counter => self.letter.number.unwrap_or_default().to_string(),
            Field::Id => self.letter.id.to_owned(),
            Field::Host => self.letter.host.to_owned(),
            Field::File => self.file.to_owned(),
            Field::Date => self.letter.queued_at.strftime("%Y-%m-%d").to_string(),
            Field::Time => self.letter.queued_at.strftime("%H:%M:%S").to_string(),
            Field::Priority => self.letter.urgency.word().to_owned(),
        };
        Ok(plain(&value).replace('\n', " "))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::letter;
    use super::super::{CodePage, LineEnd};
    use super::*;

    fn custom(content: &str) -> Custom {
        Custom {
            name: "%08d".parse().unwrap(),
            extension: "TXT".to_owned(),
            upper_case: false,
            counter_limit: None,
            per_recipient: true,
            content: content.parse().unwrap(),
            text: TextStyle::default(),
            marker: None,
        }
    }

    fn render(settings: &Custom, text: &str) -> Result<FileSet, Unfit> {
        letter(|letter| {
            let view =
                View { subject: "Bestellung\r\nX: y".to_owned(), text: text.to_owned(), ..View::default() };
            let letter = Letter { number: Some(42), view: Some(&view), ..letter };
            settings.render(&letter)
        })
    }

    #[test]
    fn a_file_is_named_and_laid_out_as_its_owner_wants_it() {
        let layout = "TO={number}\nFROM={from}\nSUBJ={subject}\nNO={counter}\n\n{text}\n*END*\n";
        let set = render(&custom(layout), "Grüße\r\n").unwrap();
        assert_eq!(set.main.name.as_str(), "00000042.TXT");
        let expected =
            "TO=491701234567\r\nFROM=a@b.example\r\nSUBJ=Bestellung X: y\r\nNO=42\r\n\r\nGrüße\r\n*END*\r\n";
        assert_eq!(set.main.content, Content::Bytes(expected.as_bytes().to_vec()));
        assert!(set.members.is_empty());
    }

    #[test]
    fn the_marker_is_the_main_file_and_knows_the_data_file() {
        let mut settings = custom("{text}");
        settings.upper_case = true;
        settings.extension = "txt".to_owned();
        settings.marker = Some(Marker { extension: "rdy".to_owned(), content: "{file}".parse().unwrap() });
        let set = render(&settings, "x").unwrap();
        assert_eq!(set.members[0].name.as_str(), "00000042.TXT");
        assert_eq!(set.main.name.as_str(), "00000042.RDY");
        assert_eq!(set.main.content, Content::Bytes(b"00000042.TXT".to_vec()));
    }

    #[test]
    fn text_goes_through_code_page_width_and_line_ends() {
        let mut settings = custom("{text}\n");
        settings.text = TextStyle {
            code_page: CodePage::Cp1047,
            line_end: LineEnd::Nel,
            line_width: Some(5),
            ..TextStyle::default()
        };
        let set = render(&settings, "AB AB AB").unwrap();
        let (a, b, nl) = (0xc1, 0xc2, 0x15);
        assert_eq!(set.main.content, Content::Bytes(vec![a, b, 0x40, a, b, nl, a, b, nl]));
    }
}
