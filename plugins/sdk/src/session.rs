//! Session: agents whose connection is a conversation: several messages at once, and news while there is nothing to deliver.

use crate::{Agent, Connection, Item, Receipt, Refusal, Report};

/// What an idle connection did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// Receipts that arrived by themselves. They are on the disk before this connection gets another call.
    pub receipts: Vec<Receipt>,
    /// When to call again, in milliseconds; the host keeps it between 100 ms and an hour.
    pub tick_after_ms: u32,
}

/// For agents over a session, such as SMPP: `postern_agent_session::export_session_agent!(MyAgent)`.
///
/// The receipts that a call reports, of whatever kind the call is, are on the disk before the same connection gets
/// another call, `close` included; where the host could not keep them, there is no other call. So the far end can be told in
/// the next call that it need not tell them again.
pub trait SessionAgent: Agent {
    /// Delivers several items: one report for each, in their order.
    ///
    /// # Errors
    /// With a text, which defers every recipient that has no outcome yet.
    fn deliver_batch(&mut self, items: &[Item]) -> Result<Vec<Report>, String>;

    /// Does what is to be done while there is nothing to deliver.
    ///
    /// # Errors
    /// With a [`Refusal`], after which the connection is closed.
    fn tick(&mut self) -> Result<Next, Refusal>;
}

impl<A: SessionAgent> Connection<A> {
    /// Delivers several items. The codes of what it reports fit their outcomes.
    ///
    /// # Errors
    /// With the agent's text, or when the connection is not open.
    pub fn deliver_batch(&mut self, items: &[Item]) -> Result<Vec<Report>, String> {
        let agent = self.agent().ok_or("deliver-batch was called on a connection that is not open")?;
        Ok(agent.deliver_batch(items)?.into_iter().map(Report::fitted).collect())
    }

    /// Lets an idle connection do what it needs; one that is not open needs nothing.
    ///
    /// # Errors
    /// With the agent's refusal.
    pub fn tick(&mut self) -> Result<Next, Refusal> {
        let Some(agent) = self.agent() else {
            return Ok(Next { receipts: Vec::new(), tick_after_ms: u32::MAX });
        };
        let mut next = agent.tick().map_err(Refusal::fitted)?;
        next.receipts.iter_mut().for_each(Receipt::fit);
        Ok(next)
    }
}
