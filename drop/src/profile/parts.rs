//! The `parts` profile: the text and the attachments as files of their own, and a manifest, which is the main file.

use sha2::{Digest as _, Sha256};

use super::manifest::{self, Manifest, PartOf};
use super::name_pattern::checked;
use super::{Content, FileSet, Letter, Part, Rendered, TextStyle, Unfit};

/// How the profile writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// How the text is written.
    pub text: TextStyle,
    /// The types that become files: `image/tiff`, `image/*`, `*/*`.
    pub accept: Vec<String>,
    /// Whether a message with a part of another type is refused. Otherwise such parts are named in the manifest, and left
    /// out.
    pub refuse_others: bool,
}

impl Default for Parts {
    fn default() -> Self {
        let accept = ["image/*", "application/pdf"].map(str::to_owned).to_vec();
        Self { text: TextStyle::default(), accept, refuse_others: false }
    }
}

impl Parts {
    /// The name of the main file.
    pub(super) fn main_name(id: &str) -> String {
        format!("{id}.json")
    }

    /// The files of a letter.
    pub(super) fn render(&self, letter: &Letter<'_>) -> Result<FileSet, Unfit> {
        let view = letter.view.ok_or_else(Unfit::unread)?;
        let (mut members, mut named) = (Vec::new(), Vec::new());
        let mut add = |of: &Part, content_type: &str, code_page, bytes: Vec<u8>| -> Result<PartOf, Unfit> {
            let file = format!("{}.{}.{}", letter.id, members.len() + 1, extension(content_type));
            let part = PartOf {
                content_type: content_type.to_owned(),
                name: of.file_name.clone(),
                bytes: bytes.len() as u64,
                sha256: Some(hexadecimal(&Sha256::digest(&bytes))),
                code_page,
                file: Some(file.clone()),
            };
            members.push(Rendered { name: checked(file)?, content: Content::Bytes(bytes) });
            Ok(part)
        };
        if !view.text.trim().is_empty() {
            let bytes = self.text.encode(&view.text)?;
            named.push(add(&Part::default(), "text/plain", Some(self.text.code_page.word()), bytes)?);
        }
        for part in view.parts.iter().filter(|part| !part.is_text) {
            if self.accepts(&part.content_type) {
                named.push(add(part, &part.content_type, None, part.bytes.clone())?);
            } else if self.refuse_others {
                let why = format!("it has a part of type {}, which is not taken here", part.content_type);
                return Err(Unfit { status: Unfit::MEDIA, why });
            } else {
                named.push(left_out(part));
            }
        }
        if members.is_empty() {
            let why = "there is neither text in it nor a part of a type that is taken here".to_owned();
            return Err(Unfit { status: Unfit::MEDIA, why });
        }
        let content = manifest::Content {
            file: None,
            bytes: letter.size,
            sha256: letter.sha256.as_deref(),
            line_end: "crlf",
        };
        let manifest = Manifest::new("parts", letter, content).with_parts(named).bytes()?;
        let name = checked(Self::main_name(letter.id))?;
        Ok(FileSet { members, main: Rendered { name, content: Content::Bytes(manifest) } })
    }

    fn accepts(&self, content_type: &str) -> bool {
        self.accept.iter().any(|accepted| match accepted.strip_suffix('*') {
            Some("*/") => true,
            Some(beginning) => content_type.starts_with(beginning),
            None => accepted == content_type,
        })
    }
}

fn left_out(part: &Part) -> PartOf {
    PartOf {
        file: None,
        content_type: part.content_type.clone(),
        name: part.file_name.clone(),
        bytes: part.bytes.len() as u64,
        sha256: None,
        code_page: None,
    }
}

/// What a file of this type ends with. What the sender called it is never used.
fn extension(content_type: &str) -> &'static str {
    match content_type {
        "text/plain" => "txt",
        "text/html" => "html",
        "image/tiff" | "image/tiff-fx" => "tif",
        "image/jpeg" | "image/jpg" => "jpg",
        "image/png" => "png",
        "image/gif" => "gif",
        "application/pdf" => "pdf",
        "application/postscript" => "ps",
        "message/rfc822" => "eml",
        _ => "bin",
    }
}

/// Bytes in hexadecimal.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::letter;
    use super::super::{CodePage, LineEnd, View};
    use super::*;

    fn view() -> View {
        let part = |content_type: &str, name: &str, is_text| Part {
            content_type: content_type.to_owned(),
            file_name: Some(name.to_owned()),
            is_text,
            bytes: b"%PDF-\0\xff\r\n.\r\n".to_vec(),
        };
        let parts = vec![
            part("text/plain", "x", true),
            part("application/pdf", "../../etc/passwd", false),
            part("application/zip", "a.zip", false),
        ];
        View { text: "Grüße\n".to_owned(), parts, ..View::default() }
    }

    #[test]
    fn text_and_attachments_become_files_that_the_manifest_names() {
        letter(|letter| {
            let view = view();
            let letter = Letter { view: Some(&view), ..letter };
            let text =
                TextStyle { code_page: CodePage::Cp850, line_end: LineEnd::CrLf, ..TextStyle::default() };
            let set = Parts { text, ..Parts::default() }.render(&letter).unwrap();
            let names: Vec<&str> = set.members.iter().map(|file| &file.name.as_str()[36..]).collect();
            assert_eq!(names, [".0.1.txt", ".0.2.pdf"]);
            assert_eq!(set.members[0].content, Content::Bytes(b"Gr\x81\xe1e\r\n".to_vec()));
            assert_eq!(set.members[1].content, Content::Bytes(view.parts[1].bytes.clone()), "byte for byte");
            let Content::Bytes(manifest) = &set.main.content else {
                panic!("the manifest is held in memory")
            };
            let read: serde_json::Value = serde_json::from_slice(manifest).unwrap();
            assert_eq!(read["parts"][0]["code_page"], "cp850");
            assert_eq!(read["parts"][1]["name"], "../../etc/passwd");
            let sum = hexadecimal(&Sha256::digest(&view.parts[1].bytes));
            assert_eq!(read["parts"][1]["sha256"], sum.as_str());
            assert_eq!(read["parts"][2]["file"], serde_json::Value::Null, "a type that is not wanted");
        });
    }

    #[test]
    fn a_message_with_nothing_for_the_gateway_is_refused() {
        letter(|letter| {
            let view = View { text: " \r\n".to_owned(), ..View::default() };
            let letter = Letter { view: Some(&view), ..letter };
            assert_eq!(Parts::default().render(&letter).unwrap_err().status, Unfit::MEDIA);
        });
    }

    #[test]
    fn other_types_are_refused_where_that_is_wanted() {
        letter(|letter| {
            let view = view();
            let letter = Letter { view: Some(&view), ..letter };
            let strict = Parts { refuse_others: true, ..Parts::default() };
            let error = strict.render(&letter).unwrap_err();
            assert!(error.why.contains("application/zip"), "{error}");
            let all = Parts { refuse_others: true, accept: vec!["*/*".to_owned()], ..Parts::default() };
            assert_eq!(all.render(&letter).unwrap().members.len(), 3);
        });
    }
}
