//! CodePage: text as the bytes that an old program expects.

mod tables;

use super::Unfit;

/// How text becomes bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CodePage {
    /// UTF-8 (RFC 3629).
    #[default]
    Utf8,
    /// UTF-16, low byte first, with a byte order mark.
    Utf16,
    /// Seven bits.
    Ascii,
    /// ISO 8859-1.
    Latin1,
    /// Windows Western.
    Cp1252,
    /// The first IBM PC code page.
    Cp437,
    /// DOS Latin-1.
    Cp850,
    /// EBCDIC of the USA and others.
    Cp037,
    /// International EBCDIC.
    Cp500,
    /// EBCDIC of open systems on mainframes.
    Cp1047,
}

/// What becomes of a character that the code page does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmappable {
    /// It is written with others where that is customary (`ä` as `ae`, a dash as `-`), else as this character.
    Translate(char),
    /// This character takes its place.
    Replace(char),
    /// The message is refused.
    Refuse,
}

impl Default for Unmappable {
    fn default() -> Self {
        Self::Translate('?')
    }
}

impl CodePage {
    /// The words for them in the configuration.
    pub const WORDS: &[(&str, Self)] = &[
        ("utf-8", Self::Utf8),
        ("utf-16", Self::Utf16),
        ("ascii", Self::Ascii),
        ("latin-1", Self::Latin1),
        ("cp1252", Self::Cp1252),
        ("cp437", Self::Cp437),
        ("cp850", Self::Cp850),
        ("cp037", Self::Cp037),
        ("cp500", Self::Cp500),
        ("cp1047", Self::Cp1047),
    ];

    /// The word for it in the configuration and in manifests.
    #[must_use]
    pub fn word(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(_, page)| *page == self);
        found.map(|(word, _)| *word).expect("each code page has a word")
    }

    /// Whether it has the character.
    #[must_use]
    pub fn has(self, c: char) -> bool {
        matches!(self, Self::Utf8 | Self::Utf16) || self.byte(c).is_some()
    }

    /// The text in this code page.
    ///
    /// # Errors
    /// [`Unfit`] names the first character that it does not have, if such are refused.
    pub fn encode(self, text: &str, unmappable: Unmappable) -> Result<Vec<u8>, Unfit> {
        match self {
            Self::Utf8 => return Ok(text.as_bytes().to_vec()),
            Self::Utf16 => return Ok(utf16(text)),
            _ => {}
        }
        let mut bytes = Vec::with_capacity(text.len());
        for c in text.chars() {
            match (self.byte(c), unmappable) {
                (Some(byte), _) => bytes.push(byte),
                (None, Unmappable::Refuse) => {
                    let why = format!("the text has {c:?}, which {} does not have", self.word());
                    return Err(Unfit { status: Unfit::CONVERSION, why });
                }
                (None, Unmappable::Replace(other)) => bytes.extend(self.byte(other)),
                (None, Unmappable::Translate(other)) => match translated(c) {
                    Some(written) if written.chars().all(|c| self.has(c)) => {
                        bytes.extend(written.chars().filter_map(|c| self.byte(c)));
                    }
                    _ => bytes.extend(self.byte(other)),
                },
            }
        }
        Ok(bytes)
    }

    /// The byte of a character; `None` when there is none, or when characters are more than a byte.
    fn byte(self, c: char) -> Option<u8> {
        let below = |limit: u32| u8::try_from(u32::from(c)).ok().filter(|byte| u32::from(*byte) < limit);
        match self {
            Self::Utf8 | Self::Utf16 => None,
            Self::Ascii => below(128),
            Self::Latin1 => below(256),
            Self::Cp1252 => below(128).or_else(|| upper_half(tables::CP1252, c)),
            Self::Cp437 => below(128).or_else(|| upper_half(tables::CP437, c)),
            Self::Cp850 => below(128).or_else(|| upper_half(tables::CP850, c)),
            Self::Cp037 => place(tables::CP037, c),
            Self::Cp500 => variant(tables::CP500, c),
            Self::Cp1047 => variant(tables::CP1047, c),
        }
    }
}

fn utf16(text: &str) -> Vec<u8> {
    std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

/// The place of a character in a table. One that stands for "no character" has none.
fn place(table: &str, c: char) -> Option<u8> {
    let at = table.chars().position(|there| there == c && c != char::REPLACEMENT_CHARACTER)?;
    u8::try_from(at).ok()
}

fn upper_half(table: &str, c: char) -> Option<u8> {
    place(table, c).map(|at| at + 128)
}

/// The byte in an EBCDIC that is told by how it differs from the one of CCSID 37.
fn variant(differences: &[(u8, char)], c: char) -> Option<u8> {
    let own = differences.iter().find(|(_, there)| *there == c).map(|(byte, _)| *byte);
    own.or_else(|| place(tables::CP037, c).filter(|byte| differences.iter().all(|(other, _)| other != byte)))
}

/// How a character is written where it is not to be had, in ASCII. German, Danish and Norwegian letters as those who
/// write them would, other letters without their accents.
pub(crate) fn translated(c: char) -> Option<&'static str> {
    Some(match c {
        'ä' | 'æ' => "ae",
        'ö' | 'ø' | 'œ' => "oe",
        'ü' => "ue",
        'ß' => "ss",
        'å' => "aa",
        'Ä' | 'Æ' => "Ae",
        'Ö' | 'Ø' | 'Œ' => "Oe",
        'Ü' => "Ue",
        'Å' => "Aa",
        'á' | 'à' | 'â' | 'ã' | 'ā' | 'ă' | 'ą' => "a",
        'Á' | 'À' | 'Â' | 'Ã' | 'Ā' | 'Ă' | 'Ą' => "A",
        'ç' | 'ć' | 'č' => "c",
        'Ç' | 'Ć' | 'Č' => "C",
        'ď' | 'đ' | 'ð' => "d",
        'Ď' | 'Đ' | 'Ð' => "D",
        'é' | 'è' | 'ê' | 'ë' | 'ē' | 'ė' | 'ę' | 'ě' => "e",
        'É' | 'È' | 'Ê' | 'Ë' | 'Ē' | 'Ė' | 'Ę' | 'Ě' => "E",
        'ğ' => "g",
        'Ğ' => "G",
        'í' | 'ì' | 'î' | 'ï' | 'ī' | 'į' | 'ı' => "i",
        'Í' | 'Ì' | 'Î' | 'Ï' | 'Ī' | 'Į' | 'İ' => "I",
        'ł' | 'ľ' | 'ĺ' => "l",
        'Ł' | 'Ľ' | 'Ĺ' => "L",
        'ñ' | 'ń' | 'ň' => "n",
        'Ñ' | 'Ń' | 'Ň' => "N",
        'ó' | 'ò' | 'ô' | 'õ' | 'ō' | 'ő' => "o",
        'Ó' | 'Ò' | 'Ô' | 'Õ' | 'Ō' | 'Ő' => "O",
        'ř' | 'ŕ' => "r",
        'Ř' | 'Ŕ' => "R",
        'ś' | 'š' | 'ş' | 'ș' => "s",
        'Ś' | 'Š' | 'Ş' | 'Ș' => "S",
        'ť' | 'ţ' | 'ț' => "t",
        'Ť' | 'Ţ' | 'Ț' => "T",
        'ú' | 'ù' | 'û' | 'ū' | 'ů' | 'ű' | 'ų' => "u",
        'Ú' | 'Ù' | 'Û' | 'Ū' | 'Ů' | 'Ű' | 'Ų' => "U",
        'ý' | 'ÿ' => "y",
        'Ý' | 'Ÿ' => "Y",
        'ź' | 'ż' | 'ž' => "z",
        'Ź' | 'Ż' | 'Ž' => "Z",
        '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{2039}' | '\u{203a}' | '\u{b4}' | '`' => "'",
        '\u{201c}' | '\u{201d}' | '\u{201e}' | '«' | '»' => "\"",
        '\u{2010}'..='\u{2015}' | '\u{2212}' => "-",
        '\u{2026}' => "...",
        '\u{2022}' | '·' => "*",
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{3000}' => " ",
        // Without width or meaning of their own: soft hyphen, joiners, direction marks, byte order mark, variation selector.
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{feff}' | '\u{fe0f}' => "",
        '\u{2028}' | '\u{2029}' => "\n",
        '€' => "EUR",
        '£' => "GBP",
        '™' => "(TM)",
        '©' => "(C)",
        '®' => "(R)",
        '°' => " deg",
        '×' => "x",
        '½' => "1/2",
        '¼' => "1/4",
        '¾' => "3/4",
        '²' => "2",
        '³' => "3",
        '\t' => " ",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(page: CodePage, text: &str) -> Vec<u8> {
        page.encode(text, Unmappable::Refuse).unwrap()
    }

    #[test]
    fn letters_get_the_bytes_that_the_standards_give_them() {
        assert_eq!(encoded(CodePage::Cp437, "Grüße ½ ░"), b"Gr\x81\xe1e \xab \xb0");
        assert_eq!(encoded(CodePage::Cp850, "Ørsted Ñ §"), b"\x9drsted \xa5 \xf5");
        assert_eq!(encoded(CodePage::Latin1, "Grüße"), b"Gr\xfc\xdfe");
        assert_eq!(encoded(CodePage::Cp1252, "5 € – „x“"), b"5 \x80 \x96 \x84x\x93");
        assert_eq!(encoded(CodePage::Cp037, "Hello [1]"), b"\xc8\x85\x93\x93\x96\x40\xba\xf1\xbb");
        assert_eq!(encoded(CodePage::Cp500, "Hello [1]!"), b"\xc8\x85\x93\x93\x96\x40\x4a\xf1\x5a\x4f");
        assert_eq!(encoded(CodePage::Cp1047, "Hello [1]^"), b"\xc8\x85\x93\x93\x96\x40\xad\xf1\xbd\x5f");
        assert_eq!(encoded(CodePage::Utf16, "a\u{1f600}"), [0xff, 0xfe, b'a', 0, 0x3d, 0xd8, 0x00, 0xde]);
    }

    #[test]
    fn each_ebcdic_has_each_character_of_latin_1_once() {
        for page in [CodePage::Cp037, CodePage::Cp500, CodePage::Cp1047] {
            let all: Vec<char> = (0..=255_u8).map(char::from).collect();
            let mut bytes = encoded(page, &all.iter().collect::<String>());
            bytes.sort_unstable();
            assert_eq!(bytes, (0..=255).collect::<Vec<u8>>(), "{}", page.word());
        }
    }

    #[test]
    fn the_upper_halves_are_whole() {
        for table in [tables::CP437, tables::CP850, tables::CP1252] {
            assert_eq!(table.chars().count(), 128);
        }
        assert_eq!(tables::CP037.chars().count(), 256);
    }

    #[test]
    fn ebcdic_tells_new_line_from_line_feed() {
        assert_eq!(encoded(CodePage::Cp037, "\u{85}\n\r"), [0x15, 0x25, 0x0d]);
    }

    #[test]
    fn what_a_code_page_lacks_is_translated_replaced_or_refused() {
        let ascii = |text, unmappable| CodePage::Ascii.encode(text, unmappable);
        assert_eq!(ascii("Grüße – 5 €", Unmappable::Translate('?')).unwrap(), b"Gruesse - 5 EUR");
        assert_eq!(ascii("\u{4e2d}", Unmappable::Translate('#')).unwrap(), b"#");
        assert_eq!(ascii("Grüße", Unmappable::Replace('_')).unwrap(), b"Gr__e");
        let error = ascii("Grüße", Unmappable::Refuse).unwrap_err();
        assert_eq!((error.status, error.why.contains("'ü'")), (Unfit::CONVERSION, true), "{error}");
        assert!(!CodePage::Cp1252.has('\u{81}') && !CodePage::Cp1252.has(char::REPLACEMENT_CHARACTER));
    }
}
