//! Transliterate: what stands for a letter that the GSM alphabet does not have, without changing what a reader reads.

use alloc::string::String;

use crate::gsm7;

/// The same text in letters of the GSM alphabet; `None` when one of them has no likeness there, so that nothing of the
/// text is ever lost. White space that cannot be seen (zero width) is left out.
#[must_use]
pub fn to_gsm7(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if gsm7::letter(letter).is_some() {
            out.push(letter);
        } else {
            out.push_str(likeness(letter)?);
        }
    }
    Some(out)
}

/// What a reader takes for the same letter.
#[must_use]
fn likeness(letter: char) -> Option<&'static str> {
    marks(letter).or_else(|| latin(letter)).or_else(|| greek(letter))
}

/// Punctuation and white space.
fn marks(letter: char) -> Option<&'static str> {
    Some(match letter {
        '\t' | '\u{A0}' | '\u{2000}'..='\u{200A}' | '\u{202F}' | '\u{205F}' | '\u{3000}' => " ",
        '\u{200B}'..='\u{200D}' | '\u{2060}' | '\u{FEFF}' | '\u{AD}' => "",
        '\u{2028}' | '\u{2029}' | '\u{85}' => "\n",
        '‘' | '’' | '‚' | '‛' | '`' | '´' | '′' | 'ʼ' | '‹' | '›' => "'",
        '“' | '”' | '„' | '‟' | '″' | '«' | '»' => "\"",
        '‐' | '‑' | '‒' | '–' | '—' | '―' | '−' => "-",
        '…' => "...",
        '•' | '·' | '‣' | '∙' => "*",
        '×' => "x",
        '÷' => "/",
        '¦' => "|",
        '¢' => "c",
        '©' => "(c)",
        '®' => "(r)",
        '™' => "(tm)",
        '°' => "deg",
        '±' => "+/-",
        '¹' => "1",
        '²' => "2",
        '³' => "3",
        '\u{B5}' => "u",
        '¼' => "1/4",
        '½' => "1/2",
        '¾' => "3/4",
        '≤' => "<=",
        '≥' => ">=",
        '≠' => "!=",
        '→' => "->",
        '←' => "<-",
        '№' => "No.",
        _ => return None,
    })
}

/// Latin letters with marks.
fn latin(letter: char) -> Option<&'static str> {
    Some(match letter {
        'À' | 'Á' | 'Â' | 'Ã' | 'Ā' | 'Ă' | 'Ą' | 'Ǎ' | 'Ạ' | 'Ả' => "A",
        'á' | 'â' | 'ã' | 'ā' | 'ă' | 'ą' | 'ǎ' | 'ạ' | 'ả' => "a",
        'Ć' | 'Ĉ' | 'Ċ' | 'Č' => "C",
        // The alphabet has only the large one.
        'ç' | 'ć' | 'ĉ' | 'ċ' | 'č' => "c",
        'Ď' | 'Đ' | 'Ð' => "D",
        'ď' | 'đ' | 'ð' => "d",
        'È' | 'Ê' | 'Ë' | 'Ē' | 'Ĕ' | 'Ė' | 'Ę' | 'Ě' | 'Ẹ' | 'Ẻ' | 'Ẽ' => "E",
        'ê' | 'ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' | 'ẹ' | 'ẻ' | 'ẽ' => "e",
        'Ĝ' | 'Ğ' | 'Ġ' | 'Ģ' => "G",
        'ĝ' | 'ğ' | 'ġ' | 'ģ' => "g",
        'Ĥ' | 'Ħ' => "H",
        'ĥ' | 'ħ' => "h",
        'Ì' | 'Í' | 'Î' | 'Ï' | 'Ĩ' | 'Ī' | 'Ĭ' | 'Į' | 'İ' | 'Ị' => "I",
        'í' | 'î' | 'ï' | 'ĩ' | 'ī' | 'ĭ' | 'į' | 'ı' | 'ị' => "i",
        'Ĵ' => "J",
        'ĵ' => "j",
        'Ķ' => "K",
        'ķ' | 'ĸ' => "k",
        'Ĺ' | 'Ļ' | 'Ľ' | 'Ŀ' | 'Ł' => "L",
        'ĺ' | 'ļ' | 'ľ' | 'ŀ' | 'ł' => "l",
        'Ń' | 'Ņ' | 'Ň' | 'Ŋ' => "N",
        'ń' | 'ņ' | 'ň' | 'ŋ' | 'ŉ' => "n",
        'Ò' | 'Ó' | 'Ô' | 'Õ' | 'Ō' | 'Ŏ' | 'Ọ' | 'Ỏ' | 'Ơ' => "O",
        // The two with an umlaut of their own language sound like the ones that the alphabet has.
        'Ő' => "Ö",
        'ő' => "ö",
        'Ű' => "Ü",
        'ű' => "ü",
        'ó' | 'ô' | 'õ' | 'ō' | 'ŏ' | 'ọ' | 'ỏ' | 'ơ' => "o",
        'Œ' => "OE",
        'œ' => "oe",
        'Ŕ' | 'Ŗ' | 'Ř' => "R",
        'ŕ' | 'ŗ' | 'ř' => "r",
        'Ś' | 'Ŝ' | 'Ş' | 'Š' | 'Ș' => "S",
        'ś' | 'ŝ' | 'ş' | 'š' | 'ș' | 'ſ' => "s",
        'ẞ' => "SS",
        'Ţ' | 'Ť' | 'Ŧ' | 'Ț' => "T",
        'ţ' | 'ť' | 'ŧ' | 'ț' => "t",
        'Þ' => "Th",
        'þ' => "th",
        'Ù' | 'Ú' | 'Û' | 'Ũ' | 'Ū' | 'Ŭ' | 'Ů' | 'Ų' | 'Ụ' | 'Ư' => "U",
        'ú' | 'û' | 'ũ' | 'ū' | 'ŭ' | 'ů' | 'ų' | 'ụ' | 'ư' => "u",
        'Ŵ' => "W",
        'ŵ' => "w",
        'Ý' | 'Ŷ' | 'Ÿ' => "Y",
        'ý' | 'ŷ' | 'ÿ' => "y",
        'Ź' | 'Ż' | 'Ž' => "Z",
        'ź' | 'ż' | 'ž' => "z",
        'ﬁ' => "fi",
        'ﬂ' => "fl",
        _ => return None,
    })
}

/// Large Greek letters, as telephones have always shown them: those that look like Latin ones, and small ones as large.
fn greek(letter: char) -> Option<&'static str> {
    Some(match letter {
        'Α' | 'α' | 'Ά' | 'ά' => "A",
        'Β' | 'β' => "B",
        'γ' => "Γ",
        'δ' => "Δ",
        'Ε' | 'ε' | 'Έ' | 'έ' => "E",
        'Ζ' | 'ζ' => "Z",
        'Η' | 'η' | 'Ή' | 'ή' => "H",
        'θ' => "Θ",
        'Ι' | 'ι' | 'Ί' | 'ί' | 'Ϊ' | 'ϊ' | 'ΐ' => "I",
        'Κ' | 'κ' => "K",
        'λ' => "Λ",
        'Μ' | 'μ' => "M",
        'Ν' | 'ν' => "N",
        'ξ' => "Ξ",
        'Ο' | 'ο' | 'Ό' | 'ό' => "O",
        'π' => "Π",
        'Ρ' | 'ρ' => "P",
        'σ' | 'ς' => "Σ",
        'Τ' | 'τ' => "T",
        'Υ' | 'υ' | 'Ύ' | 'ύ' | 'Ϋ' | 'ϋ' | 'ΰ' => "Y",
        'φ' => "Φ",
        'Χ' | 'χ' => "X",
        'ψ' => "Ψ",
        'ω' | 'Ώ' | 'ώ' => "Ω",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_mail_program_makes_prettier_becomes_plain_again() {
        for (text, plain) in [
            ("„So“ – it’s\u{A0}on…", "\"So\" - it's on..."),
            ("Žluťoučký kůň", "Zlutoucky kun"),
            ("Łódź, señor, garçon", "Lodz, señor, garcon"),
            ("Größe: 5 µm²", "Größe: 5 um2"),
            ("Καλημέρα", "KAΛHMEPA"),
            ("soft\u{AD}hyphen\u{200B}", "softhyphen"),
            ("€ [x] {y}", "€ [x] {y}"),
        ] {
            assert_eq!(to_gsm7(text).as_deref(), Some(plain), "{text}");
        }
    }

    #[test]
    fn a_letter_without_a_likeness_is_not_lost() {
        for text in ["Привет", "😀", "日本", "\u{1B}"] {
            assert_eq!(to_gsm7(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_comes_out_fits_the_alphabet_and_what_fitted_is_untouched(text: String) {
            if let Some(plain) = to_gsm7(&text) {
                prop_assert!(gsm7::fits(&plain));
                if gsm7::fits(&text) {
                    prop_assert_eq!(plain, text);
                }
            } else {
                prop_assert!(!gsm7::fits(&text));
            }
        }
    }

    #[test]
    fn every_likeness_is_within_the_alphabet_and_of_a_letter_that_is_not() {
        for letter in '\0'..='\u{FFFF}' {
            if gsm7::letter(letter).is_none()
                && let Some(plain) = likeness(letter)
            {
                assert!(gsm7::fits(plain), "{letter} {plain}");
            }
        }
    }
}
