//! The wasmtime engine: how components are compiled and where instances get their memory.

use std::num::NonZeroUsize;

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, Result,
};

use crate::RuntimeConfig;
use crate::size::{LARGE, Needs, ORDINARY};

/// Memory of a slot that stays mapped between two instances; less would cost page faults on every fresh instance.
const KEEP_RESIDENT: usize = 1 << 20;

/// Builds the engine that every agent of one [`crate::Runtime`] shares.
pub(crate) fn build(config: &RuntimeConfig) -> Result<Engine> {
    let (ordinary, large) = (config.max_instances, config.max_large_instances);
    let slots = ordinary.saturating_add(large);
    // Each size has places of its own: that many instances, each with all that one may need.
    let places = |need: fn(&Needs) -> u32| {
        ordinary.saturating_mul(need(&ORDINARY)).saturating_add(large.saturating_mul(need(&LARGE)))
    };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(places(|needs| needs.core_instances))
        .total_memories(places(|needs| needs.memories))
        .total_tables(places(|needs| needs.tables))
        // A store keeps its fiber stack while it is idle.
        .total_stacks(slots)
        .max_core_instances_per_component(LARGE.core_instances)
        .max_memories_per_component(LARGE.memories)
        .max_tables_per_component(LARGE.tables)
        .max_tables_per_module(8)
        .max_memories_per_module(4)
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(2 << 20)
        .max_memory_size(config.memory_ceiling)
        .table_elements(config.table_ceiling)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(64 << 10)
        .max_unused_warm_slots(slots.min(100))
        .pagemap_scan(Enabled::Auto);
    let mut engine = Config::new();
    engine
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        // The base contract has no async functions, and the bookkeeping for them would double the cost of a call.
        .concurrency_support(false)
        .epoch_interruption(true)
        .cranelift_opt_level(OptLevel::Speed)
        .memory_init_cow(true)
        .wasm_backtrace_max_frames(NonZeroUsize::new(20));
    Engine::new(&engine)
}
