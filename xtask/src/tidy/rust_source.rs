//! What the rules want to know of one Rust file: its functions, its words, and which lines are tests.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Block, Item, Meta};

/// A parsed file.
pub struct RustSource {
    /// The syntax.
    pub file: syn::File,
    /// The functions with a body, in the order of the file.
    pub functions: Vec<Function>,
    /// Modules in other files that this one declares for tests only.
    pub test_modules: BTreeSet<String>,
    tokens: TokenStream,
    test_lines: Vec<RangeInclusive<usize>>,
}

/// A function with a body.
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line that its body starts on.
    pub line: usize,
    /// The lines of its body, with those of the braces.
    pub lines: usize,
}

impl RustSource {
    /// Parses the text of a file.
    ///
    /// # Errors
    /// When it is not Rust; the error knows its place.
    pub fn parse(text: &str) -> Result<Self, syn::Error> {
        let tokens: TokenStream = text.parse().map_err(syn::Error::from)?;
        let file: syn::File = syn::parse2(tokens.clone())?;
        let mut facts = Facts::default();
        if is_test(&file.attrs) {
            facts.test_lines.push(1..=usize::MAX);
        }
        facts.visit_file(&file);
        let Facts { functions, test_modules, test_lines } = facts;
        Ok(Self { file, functions, test_modules, tokens, test_lines })
    }

    /// Whether a line belongs to a test: to something under `#[cfg(test)]` or `#[test]`.
    pub fn is_test_line(&self, line: usize) -> bool {
        self.test_lines.iter().any(|range| range.contains(&line))
    }

    /// The lines on which the word stands in the code, in macros too, but not in comments and texts.
    pub fn lines_with_word(&self, word: &str) -> Vec<usize> {
        let mut lines = Vec::new();
        walk(self.tokens.clone(), &mut |window| {
            if let [.., TokenTree::Ident(ident)] = window
                && ident == word
            {
                lines.push(ident.span().start().line);
            }
        });
        lines
    }

    /// The lines with a call `.name()` without arguments, in macros too.
    pub fn lines_with_call(&self, name: &str) -> Vec<usize> {
        let mut lines = Vec::new();
        walk(self.tokens.clone(), &mut |window| {
            if let [TokenTree::Punct(dot), TokenTree::Ident(ident), TokenTree::Group(arguments)] = window
                && dot.as_char() == '.'
                && ident == name
                && arguments.delimiter() == Delimiter::Parenthesis
                && arguments.stream().is_empty()
            {
                lines.push(ident.span().start().line);
            }
        });
        lines
    }

    /// The string literals outside of attributes' documentation, with their lines.
    pub fn strings(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        walk(self.tokens.clone(), &mut |window| {
            if let [.., TokenTree::Literal(literal)] = window
                && let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string())
            {
                found.push((literal.span().start().line, text.value()));
            }
        });
        found
    }
}

/// Shows `look` every token of the stream and of the groups in it, with up to two tokens before it.
fn walk(stream: TokenStream, look: &mut impl FnMut(&[TokenTree])) {
    let mut window: Vec<TokenTree> = Vec::new();
    for token in stream {
        if window.len() == 3 {
            window.remove(0);
        }
        window.push(token.clone());
        look(&window);
        if let TokenTree::Group(group) = token {
            walk(group.stream(), look);
        }
    }
}

#[derive(Default)]
struct Facts {
    functions: Vec<Function>,
    test_modules: BTreeSet<String>,
    test_lines: Vec<RangeInclusive<usize>>,
}

impl Facts {
    fn function(&mut self, name: &syn::Ident, block: &Block) {
        let braces = block.brace_token.span;
        let line = braces.open().start().line;
        let lines = braces.close().end().line - line + 1;
        self.functions.push(Function { name: name.to_string(), line, lines });
    }

    fn note_test(&mut self, attributes: &[Attribute], whole: &impl Spanned) {
        if is_test(attributes) {
            let span = whole.span();
            self.test_lines.push(span.start().line..=span.end().line);
        }
    }
}

impl<'ast> Visit<'ast> for Facts {
    fn visit_item(&mut self, item: &'ast Item) {
        self.note_test(attributes(item), item);
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if module.content.is_none() && is_test(&module.attrs) {
            self.test_modules.insert(module.ident.to_string());
        }
        visit::visit_item_mod(self, module);
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.function(&function.sig.ident, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.note_test(&function.attrs, function);
        self.function(&function.sig.ident, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.function(&function.sig.ident, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

/// Whether the attributes say that this is compiled for tests only.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let name = attribute.path().segments.last().map(|segment| segment.ident.to_string());
        match (name.as_deref(), &attribute.meta) {
            (Some("test"), _) => true,
            (Some("cfg"), Meta::List(list)) => names_test(list.tokens.clone()),
            _ => false,
        }
    })
}

/// Whether a condition is `test`, or an `all` that has it; `not(test)` and `any(test, ...)` are product code as well.
fn names_test(condition: TokenStream) -> bool {
    let tokens: Vec<TokenTree> = condition.into_iter().collect();
    match tokens.as_slice() {
        [TokenTree::Ident(all), TokenTree::Group(group)] if all == "all" => {
            group.stream().into_iter().any(|token| matches!(token, TokenTree::Ident(name) if name == "test"))
        }
        [TokenTree::Ident(name)] => name == "test",
        _ => false,
    }
}

/// The attributes of an item of any kind.
fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
