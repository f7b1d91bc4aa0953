//! Fresh: messages that just came in, kept in memory for their first attempt.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use postern_model::{Content, ItemId};

use crate::Loaded;

/// How long what nobody asked for is kept, once others come after it: a stuck destination must not keep the room.
const MAX_AGE: Duration = Duration::from_secs(10);

/// What an item costs besides its content, roughly, in bytes.
const OVERHEAD: u64 = 2048;

/// Items with their messages and contents, within a budget of bytes.
#[derive(Debug)]
pub(super) struct Fresh {
    budget: u64,
    used: u64,
    items: HashMap<ItemId, Loaded>,
    order: VecDeque<(Instant, ItemId)>,
}

impl Fresh {
    pub(super) fn new(budget: u64) -> Self {
        Self { budget, used: 0, items: HashMap::new(), order: VecDeque::new() }
    }

    /// Keeps an item when there is room for it.
    pub(super) fn insert(&mut self, loaded: Loaded, now: Instant) {
        while let Some((at, id)) = self.order.front().copied() {
            if self.items.contains_key(&id) && now.duration_since(at) < MAX_AGE {
                break;
            }
            self.order.pop_front();
            self.take(id);
        }
        let cost = Self::cost(&loaded);
        if self.used + cost <= self.budget {
            self.used += cost;
            self.order.push_back((now, loaded.item.id));
            self.items.insert(loaded.item.id, loaded);
        }
    }

    /// Takes an item out.
    pub(super) fn take(&mut self, id: ItemId) -> Option<Loaded> {
        let loaded = self.items.remove(&id)?;
        self.used -= Self::cost(&loaded);
        Some(loaded)
    }

    /// Bytes of several items of one message are counted for each: the budget errs on the safe side.
    fn cost(loaded: &Loaded) -> u64 {
        let content = match &loaded.content {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::File { .. } => 0,
        };
        content + OVERHEAD
    }
}
