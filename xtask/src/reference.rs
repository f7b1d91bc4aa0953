//! `cargo xtask docs`: the reference of the agent contract in `docs/contract.md`, from the WIT that agents are built with.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use wit_parser::{
    Function, FunctionKind, Handle, Interface, InterfaceId, Resolve, Type, TypeDef, TypeDefKind, TypeId,
    World, WorldItem,
};

/// The contract that the reference is of.
const CONTRACT: &str = "wit/0.1.0";
/// The reference.
pub const REFERENCE: &str = "docs/contract.md";

const HEAD: &str = "\
# The agent contract

Written by `cargo xtask docs` from [wit/0.1.0](../wit/0.1.0/delivery-agent.wit); do not edit it by hand. What an agent must do
beside having these functions is in [specs/agent.md](specs/agent.md); how one is written, in
[writing-an-agent.md](writing-an-agent.md). `option<T>` may be missing; a function that gives a `result<T, E>` fails with E.

";

/// Writes the reference of the checkout at `root`.
///
/// # Errors
/// When the contract cannot be read or the reference not be written.
pub fn write(root: &Path) -> Result<(), String> {
    let file = root.join(REFERENCE);
    fs::write(&file, text(root)?).map_err(|error| format!("{}: {error}", file.display()))
}

/// The reference of the contract in the checkout at `root`.
///
/// # Errors
/// When the contract cannot be read.
pub fn text(root: &Path) -> Result<String, String> {
    let mut resolve = Resolve::default();
    let folder = root.join(CONTRACT);
    let (package, _) = resolve.push_path(&folder).map_err(|error| format!("{CONTRACT}: {error:#}"))?;
    let world = |name: &str| {
        let found =
            resolve.select_world(&[package], Some(name)).map_err(|error| format!("{CONTRACT}: {error:#}"))?;
        Ok::<_, String>(&resolve.worlds[found])
    };
    let (base, full) = (world("delivery-agent")?, world("delivery-agent-full")?);
    let mut out = HEAD.to_owned();
    for (id, interface) in &resolve.interfaces {
        let name = interface.name.as_deref().unwrap_or_default();
        let _ = writeln!(out, "## {name}\n\n{}\n", role(id, base, full));
        paragraph(&mut out, interface.docs.contents.as_deref());
        types(&mut out, &resolve, interface);
        functions(&mut out, &resolve, interface);
    }
    Ok(out.trim_end().to_owned() + "\n")
}

/// Who has the interface.
fn role(id: InterfaceId, base: &World, full: &World) -> &'static str {
    let is_it = |item: &WorldItem| matches!(item, WorldItem::Interface { id: found, .. } if *found == id);
    if base.exports.values().any(is_it) {
        "*Every agent exports it; the host calls it.*"
    } else if full.exports.values().any(is_it) {
        "*An agent may export it.*"
    } else if base.imports.values().any(is_it) {
        "*The host has it; an agent may import it.*"
    } else {
        "*Types that others use.*"
    }
}

fn paragraph(out: &mut String, docs: Option<&str>) {
    if let Some(docs) = docs {
        let _ = writeln!(out, "{}\n", docs.trim());
    }
}

/// Documentation on one line.
fn line(docs: Option<&str>) -> String {
    docs.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn types(out: &mut String, resolve: &Resolve, interface: &Interface) {
    for (name, id) in &interface.types {
        let of = &resolve.types[*id];
        let kind = match &of.kind {
            TypeDefKind::Record(_) => "record",
            TypeDefKind::Variant(_) => "variant",
            TypeDefKind::Enum(_) => "enum",
            TypeDefKind::Resource => "resource",
            // What an interface only takes from another stands there.
            TypeDefKind::Type(Type::Id(_)) => continue,
            _ => "type",
        };
        let _ = writeln!(out, "### {kind} `{name}`\n");
        paragraph(out, of.docs.contents.as_deref());
        members(out, resolve, of);
    }
}

/// The fields or cases of a type, as a list.
fn members(out: &mut String, resolve: &Resolve, of: &TypeDef) {
    let mut member = |name: &str, ty: Option<&Type>, docs: Option<&str>| {
        let ty = ty.map(|ty| format!(": `{}`", show(resolve, ty))).unwrap_or_default();
        let docs = line(docs);
        let stop = if docs.is_empty() { "" } else { ". " };
        let _ = writeln!(out, "- `{name}`{ty}{stop}{docs}");
    };
    match &of.kind {
        TypeDefKind::Record(record) => {
            for field in &record.fields {
                member(&field.name, Some(&field.ty), field.docs.contents.as_deref());
            }
        }
        TypeDefKind::Variant(variant) => {
            for case in &variant.cases {
                member(&case.name, case.ty.as_ref(), case.docs.contents.as_deref());
            }
        }
        TypeDefKind::Enum(all) => {
            for case in &all.cases {
                member(&case.name, None, case.docs.contents.as_deref());
            }
        }
        TypeDefKind::Type(ty) => member("is", Some(ty), None),
        _ => return,
    }
    out.push('\n');
}

fn functions(out: &mut String, resolve: &Resolve, interface: &Interface) {
    if interface.functions.is_empty() {
        return;
    }
    out.push_str("### Functions\n\n");
    for function in interface.functions.values() {
        let _ = writeln!(out, "- `{}`", signature(resolve, function));
        if let Some(docs) = &function.docs.contents {
            let _ = writeln!(out, "  {}", line(Some(docs)));
        }
    }
    out.push('\n');
}

/// `item.read(offset: u32, length: u32) -> result<list<u8>, string>`.
fn signature(resolve: &Resolve, function: &Function) -> String {
    let method = matches!(function.kind, FunctionKind::Method(_));
    // The first parameter of a method is what it is called on.
    let parameters: Vec<String> = function
        .params
        .iter()
        .skip(usize::from(method))
        .map(|parameter| format!("{}: {}", parameter.name, show(resolve, &parameter.ty)))
        .collect();
    let name = function.name.trim_start_matches("[method]");
    let result = function.result.as_ref().map(|ty| format!(" -> {}", show(resolve, ty))).unwrap_or_default();
    format!("{name}({}){result}", parameters.join(", "))
}

/// A type as it is written in the contract.
fn show(resolve: &Resolve, ty: &Type) -> String {
    match ty {
        Type::Bool => "bool".to_owned(),
        Type::Char => "char".to_owned(),
        Type::String => "string".to_owned(),
        Type::Id(id) => show_id(resolve, *id),
        // All that is left are numbers, whose names here are those of the contract in capitals.
        number => format!("{number:?}").to_lowercase(),
    }
}

fn show_id(resolve: &Resolve, id: TypeId) -> String {
    let of = &resolve.types[id];
    if let Some(name) = &of.name {
        return name.clone();
    }
    let maybe = |ty: Option<&Type>| ty.map_or("_".to_owned(), |ty| show(resolve, ty));
    match &of.kind {
        TypeDefKind::Option(ty) => format!("option<{}>", show(resolve, ty)),
        TypeDefKind::List(ty) => format!("list<{}>", show(resolve, ty)),
        TypeDefKind::Tuple(tuple) => {
            let types: Vec<String> = tuple.types.iter().map(|ty| show(resolve, ty)).collect();
            format!("tuple<{}>", types.join(", "))
        }
        TypeDefKind::Result(result) if result.ok.is_none() && result.err.is_none() => "result".to_owned(),
        TypeDefKind::Result(result) => {
            format!("result<{}, {}>", maybe(result.ok.as_ref()), maybe(result.err.as_ref()))
        }
        TypeDefKind::Handle(Handle::Own(id) | Handle::Borrow(id)) => show_id(resolve, *id),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_and_types_are_shown_as_the_contract_writes_them() {
        let folder = tempfile_folder();
        fs::create_dir_all(folder.join(CONTRACT)).unwrap();
        let wit = "package a:b@0.1.0;\ninterface mail {\n  /// A thing.\n  record part { /// Bytes.\n size: u32 }\n  \
            resource item { /// Short at the end.\n read: func(offset: u32) -> result<list<u8>, string>; \
            pair: func() -> option<tuple<string, part>>; }\n}\n\
            interface agent { use mail.{item}; deliver: func(item: item) -> result<_, string>; }\n\
            world delivery-agent { import mail; export agent; }\nworld delivery-agent-full { include delivery-agent; }\n";
        fs::write(folder.join(CONTRACT).join("a.wit"), wit).unwrap();
        let text = text(&folder).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        for line in [
            "- `size`: `u32`. Bytes.",
            "- `item.read(offset: u32) -> result<list<u8>, string>`\n  Short at the end.",
            "- `item.pair() -> option<tuple<string, part>>`",
            "- `deliver(item: item) -> result<_, string>`",
            "## agent\n\n*Every agent exports it; the host calls it.*",
        ] {
            assert!(text.contains(line), "{line}:\n{text}");
        }
    }

    /// A folder of this test's own.
    fn tempfile_folder() -> std::path::PathBuf {
        std::env::temp_dir().join(format!("postern-xtask-reference-{}", std::process::id()))
    }
}
