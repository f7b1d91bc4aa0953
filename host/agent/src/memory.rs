//! MemoryLimiter: how much memory and how many tables one instance may have, and whether it was refused any.

use std::sync::Arc;

use wasmtime::{ResourceLimiter, Result};

use crate::log::AgentLog;
use crate::stats::Stats;
use crate::{Limit, Limits};

/// Counts what one store has.
pub(crate) struct MemoryLimiter {
    max_memory: usize,
    max_elements: usize,
    max_instances: usize,
    max_memories: usize,
    max_tables: usize,
    memory: usize,
    elements: usize,
    refused: Option<String>,
    /// Where all instances of the agent are counted.
    stats: Arc<Stats>,
    log: AgentLog,
}

impl Drop for MemoryLimiter {
    fn drop(&mut self) {
        self.stats.memory_changed(self.memory, 0);
    }
}

impl MemoryLimiter {
    pub(crate) fn new(limits: &Limits, stats: Arc<Stats>, log: AgentLog) -> Self {
        Self {
            max_memory: limits.memory,
            max_elements: limits.table_elements,
            max_instances: limits.core_instances,
            max_memories: limits.memories,
            max_tables: limits.tables,
            memory: 0,
            elements: 0,
            refused: None,
            stats,
            log,
        }
    }

    /// Linear memory that the store has now, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.memory
    }

    /// What was refused since [`Self::forget`]. The log knows by which limit.
    pub(crate) fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// Starts a call: what was refused in an earlier one that ended well does not explain a trap in this one.
    pub(crate) fn forget(&mut self) {
        self.refused = None;
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let total = self.memory - current.min(self.memory) + desired;
        if total > self.max_memory {
            self.refused = Some(format!("asked for {total} bytes"));
            self.log.hit(Limit::Memory);
            return Ok(false);
        }
        self.stats.memory_changed(self.memory, total);
        self.memory = total;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let total = self.elements - current.min(self.elements) + desired;
        if total > self.max_elements {
            self.refused = Some(format!("asked for {total} table elements"));
            self.log.hit(Limit::TableElements);
            return Ok(false);
        }
        self.elements = total;
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.max_instances
    }

    fn memories(&self) -> usize {
        self.max_memories
    }

    fn tables(&self) -> usize {
        self.max_tables
    }
}
