//! Size: what an agent's instances need of the engine's pool, found out when it is loaded.
//!
//! A JavaScript or Python component brings a whole language with it: a Python one is made of some 64 core instances and starts
//! with 12 MiB of memory, where one in Rust or C has four and a few pages. The pool holds places for both, in numbers of their
//! own, so that a few large ones cannot use up what hundreds of small ones need, nor the other way round.

use wasmparser::{ComponentAlias, ComponentExternalKind, ComponentInstance, Instance, Parser, Payload};
use wasmtime::component::Component;

/// Which of the two pools an agent's instances come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// What compiled languages make: [`crate::RuntimeConfig::max_instances`].
    Ordinary,
    /// More than that: [`crate::RuntimeConfig::max_large_instances`].
    Large,
}

/// What one instance may be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Needs {
    pub(crate) core_instances: u32,
    pub(crate) memories: u32,
    pub(crate) tables: u32,
    /// The memory that it starts with, in bytes.
    pub(crate) initial_memory: u64,
}

/// The most that an ordinary instance needs.
pub(crate) const ORDINARY: Needs =
    Needs { core_instances: 16, memories: 1, tables: 8, initial_memory: 4 << 20 };
/// The most that any instance may need; a component that needs more is not loaded.
pub(crate) const LARGE: Needs =
    Needs { core_instances: 256, memories: 16, tables: 64, initial_memory: u64::MAX };

/// Bytes of a page of memory.
const PAGE: u64 = 64 << 10;

impl Size {
    /// The word for operators: `ordinary` or `large`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ordinary => "ordinary",
            Self::Large => "large",
        }
    }

    /// The size of a component. One whose needs cannot be told is large.
    pub(crate) fn of(wasm: &[u8], component: &Component) -> Self {
        match Needs::of(wasm, component) {
            Some(needs) if needs.fit(&ORDINARY) => Self::Ordinary,
            _ => Self::Large,
        }
    }
}

impl Needs {
    fn of(wasm: &[u8], component: &Component) -> Option<Self> {
        let needs = component.resources_required()?;
        Some(Self {
            core_instances: core_instances(wasm)?,
            memories: needs.num_memories,
            tables: needs.num_tables,
            initial_memory: needs.max_initial_memory_size.unwrap_or(0).saturating_mul(PAGE),
        })
    }

    fn fit(&self, room: &Self) -> bool {
        self.core_instances <= room.core_instances
            && self.memories <= room.memories
            && self.tables <= room.tables
            && self.initial_memory <= room.initial_memory
    }
}

/// How many core instances an instance of a component is made of; `None` when that cannot be told from its bytes.
fn core_instances(wasm: &[u8]) -> Option<u32> {
    // The components and modules that the parser is in, the outermost first.
    let mut open = vec![Frame::default()];
    for payload in Parser::new(0).parse_all(wasm) {
        let inside = open.last_mut()?;
        match payload.ok()? {
            Payload::ModuleSection { .. } => open.push(Frame::module()),
            Payload::ComponentSection { .. } => open.push(Frame::default()),
            Payload::End(_) => {
                let ended = open.pop()?;
                let Some(outer) = open.last_mut() else { return Some(ended.core_instances) };
                if !ended.is_module {
                    outer.components.push(Some(ended.core_instances));
                }
            }
            Payload::InstanceSection(section) => {
                for instance in section {
                    if matches!(instance.ok()?, Instance::Instantiate { .. }) {
                        inside.core_instances = inside.core_instances.saturating_add(1);
                    }
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section {
                    if let ComponentInstance::Instantiate { component_index, .. } = instance.ok()? {
                        let more = (*inside.components.get(component_index as usize)?)?;
                        inside.core_instances = inside.core_instances.saturating_add(more);
                    }
                }
            }
            // Components that come from elsewhere take their numbers, too.
            Payload::ComponentImportSection(section) => {
                for import in section {
                    if import.ok()?.ty.kind() == ComponentExternalKind::Component {
                        inside.components.push(None);
                    }
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section {
                    let kind = match alias.ok()? {
                        ComponentAlias::InstanceExport { kind, .. } => {
                            kind == ComponentExternalKind::Component
                        }
                        ComponentAlias::Outer { kind, .. } => {
                            matches!(kind, wasmparser::ComponentOuterAliasKind::Component)
                        }
                        ComponentAlias::CoreInstanceExport { .. } => false,
                    };
                    if kind {
                        inside.components.push(None);
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    let export = export.ok()?;
                    if export.kind == ComponentExternalKind::Component {
                        let same = inside.components.get(export.index as usize).copied().flatten();
                        inside.components.push(same);
                    }
                }
            }
            _ => {}
        }
    }
    None
}

#[derive(Default)]
struct Frame {
    is_module: bool,
    core_instances: u32,
    /// What an instance of each component is made of, by the component's number; `None`: it comes from elsewhere.
    components: Vec<Option<u32>>,
}

impl Frame {
    fn module() -> Self {
        Self { is_module: true, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine() -> wasmtime::Engine {
        wasmtime::Engine::default()
    }

    fn size(text: &str) -> Size {
        let wasm = wat::parse_str(text).unwrap();
        Size::of(&wasm, &Component::new(&engine(), &wasm).unwrap())
    }

    fn with_modules(module: &str, count: usize) -> String {
        let instances = "(core instance (instantiate $m))\n".repeat(count);
        format!("(component (core module $m {module}) {instances})")
    }

    #[test]
    fn a_component_is_large_for_each_of_its_needs_and_not_for_less() {
        let most = ORDINARY.core_instances as usize;
        assert_eq!(size("(component)"), Size::Ordinary);
        assert_eq!(size(&with_modules("", most)), Size::Ordinary);
        assert_eq!(size(&with_modules("", most + 1)), Size::Large);
        assert_eq!(size(&with_modules("(memory 64)", 1)), Size::Ordinary);
        assert_eq!(size(&with_modules("(memory 65)", 1)), Size::Large, "more than 4 MiB");
        assert_eq!(size(&with_modules("(memory 1)", 2)), Size::Large);
        assert_eq!(size(&with_modules("(table 1 funcref)", 8)), Size::Ordinary);
        assert_eq!(size(&with_modules("(table 1 funcref)", 9)), Size::Large);
    }

    #[test]
    fn instances_of_components_within_count_each_time_they_are_made() {
        let count = |text: &str| core_instances(&wat::parse_str(text).unwrap());
        let inner = "(component $a (core module $m) (core instance (instantiate $m)) (core instance (instantiate $m)))";
        assert_eq!(count(&format!("(component {inner})")), Some(0));
        let thrice = "(instance (instantiate $a))".repeat(3);
        assert_eq!(count(&format!("(component {inner} {thrice})")), Some(6));
        let deep = format!(
            "(component (component $b {inner} {thrice}) (instance (instantiate $b)) (instance (instantiate $b)))"
        );
        assert_eq!(count(&deep), Some(12));
        // A core instance that is made of exports is none of the engine's.
        assert_eq!(count("(component (core instance))"), Some(0));
    }

    #[test]
    fn what_cannot_be_told_is_large() {
        let imported = "(component (import \"x\" (component $c)) (instance (instantiate $c)))";
        assert_eq!(core_instances(&wat::parse_str(imported).unwrap()), None);
        let outer = "(component $o (component $a) (component $b (alias outer $o $a (component $c)) (instance (instantiate $c))))";
        assert_eq!(core_instances(&wat::parse_str(outer).unwrap()), None);
        assert_eq!(core_instances(b"(component)"), None, "a text");
        let empty = Component::new(&engine(), "(component)").unwrap();
        assert_eq!(Size::of(b"(component)", &empty), Size::Large);
    }
}
