//! Links between the documents lead somewhere.

use super::Finding;
use super::tree::Tree;

/// Checks the links of every Markdown file to files of the project.
pub fn check(tree: &Tree) -> Vec<Finding> {
    tree.texts_of_kind("md").flat_map(|(path, text)| check_document(tree, path, text)).collect()
}

fn check_document(tree: &Tree, path: &str, text: &str) -> Vec<Finding> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut findings = Vec::new();
    let mut in_code = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for target in targets(line) {
            let file = target.split('#').next().unwrap_or_default();
            if is_outside(target) || file.is_empty() {
                continue;
            }
            if resolve(folder, file).is_none_or(|place| !tree.exists(&place)) {
                let advice = "no such file; mend the link or write the file";
                findings.push(Finding::new(path, index + 1, format!("link to '{target}'"), advice));
            }
        }
    }
    findings
}

/// Whether a link leaves the project: it has a scheme.
fn is_outside(target: &str) -> bool {
    target.split_once(':').is_some_and(|(scheme, _)| scheme.chars().all(|c| c.is_ascii_alphanumeric()))
}

/// The targets of the links in a line, outside of code between backticks: `[text](target)`, and `[name]: target` at its start.
fn targets(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (index, prose) in line.split('`').enumerate() {
        // Text before the first backtick, between the second and the third, and so on, is not code. A link whose text is code
        // spans such pieces, but its target lies whole in one of them.
        if index % 2 == 0 {
            let ends = prose.split("](").skip(1);
            found.extend(ends.filter_map(|rest| rest.split(')').next()).map(first_word));
        }
    }
    if let Some((_, target)) = line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")) {
        found.push(first_word(target));
    }
    found
}

/// The target without the title that may follow it.
fn first_word(target: &str) -> &str {
    target.split_whitespace().next().unwrap_or_default()
}

/// The path that `target` means when it is named in `folder`; `None` when it leaves the project.
pub fn resolve(folder: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    let start = if target.starts_with('/') { "" } else { folder };
    for part in start.split('/').chain(target.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        let tree = Tree::of(&[("docs/a.md", text), ("README.md", ""), ("docs/decisions/0001-x.md", "")]);
        check(&tree).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn good_links_are_silent() {
        let text = "[up](../README.md), [folder](decisions), [part](decisions/0001-x.md#why \"title\")\n\
            [here](#below) [net](https://example.org/x) [mail](mailto:a@example.org)\n[ref]: ../README.md\n";
        assert_eq!(lines(text), Vec::<usize>::new());
    }

    #[test]
    fn links_to_nothing_are_found() {
        assert_eq!(lines("x\n[a](b.md)\n[`c`](d.md)\n[e]: f.md\n[out](../../README.md)\n"), [2, 3, 4, 5]);
    }

    #[test]
    fn code_is_not_looked_at() {
        assert_eq!(lines("`[a](b.md)`\n```\n[a](b.md)\n```\n"), Vec::<usize>::new());
    }
}
