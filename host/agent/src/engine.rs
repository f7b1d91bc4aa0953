//! The wasmtime engine: how components are compiled and where instances get their memory.

use std::num::NonZeroUsize;

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, Result,
};

use crate::RuntimeConfig;

/// Core instances that the pool holds for each agent instance: what a Python component needs.
const CORE_INSTANCES_PER_INSTANCE: u32 = 64;
/// Tables that the pool holds for each agent instance.
const TABLES_PER_INSTANCE: u32 = 8;
/// Memories that the pool holds in all, beyond one for each instance.
const SPARE_MEMORIES: u32 = 64;
/// Memory of a slot that stays mapped between two instances; less would cost page faults on every fresh instance.
const KEEP_RESIDENT: usize = 1 << 20;

/// Builds the engine that every agent of one [`crate::Runtime`] shares.
pub(crate) fn build(config: &RuntimeConfig) -> Result<Engine> {
    let slots = config.max_instances;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(CORE_INSTANCES_PER_INSTANCE))
        .total_memories(slots.saturating_add(SPARE_MEMORIES))
        .total_tables(slots.saturating_mul(TABLES_PER_INSTANCE))
        // A store keeps its fiber stack while it is idle.
        .total_stacks(slots)
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
