//! Connections with a tape below their calls of the host.

use std::sync::Arc;

use postern_model::{NextHop, NotOpened};

use super::player::Player;
use super::tape::Recorder;
use super::{Head, RecordingMasks, Tape};
use crate::{Agent, AgentConnection};

impl Agent {
    /// As [`Self::open`]; what the connection delivers is recorded ([`AgentConnection::take_recording`]). Must run on
    /// [`crate::Runtime::handle`].
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_recorded(&self, hop: &NextHop) -> Result<AgentConnection, NotOpened> {
        let (shared, protocol) = self.shared();
        let masks = Arc::new(RecordingMasks::of(&shared.secrets));
        let about = (protocol, &*hop.destination);
        let head = Head::new(shared, self.identity(), about, self.contract(), &masks);
        let recorder = Recorder::new(head, masks, shared.limits.recording);
        self.open_over(hop, protocol, Tape::Recording(Box::new(recorder))).await
    }

    /// As [`Self::open`]; what the agent asks of its host is answered from a recording.
    pub(super) async fn open_playing(
        &self,
        hop: &NextHop,
        protocol: &str,
        player: Player,
    ) -> Result<AgentConnection, NotOpened> {
        self.open_over(hop, protocol, Tape::Playing(player)).await
    }
}
