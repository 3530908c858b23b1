//! Frames that cost us work and the peer nothing: how many of them are too many. The rules are Envoy's.

use super::error::Fault;
use super::frame::{FrameHead, flag, kind};
use super::options::Options;

/// What has come and gone on a connection.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    consecutive_empty: u32,
    priority_frames: u64,
    window_updates: u64,
    pub(super) opened_streams: u64,
    pub(super) data_frames_sent: u64,
}

impl Inbound {
    /// A frame has come; `padding` are the bytes of its payload that mean nothing.
    #[inline]
    pub(super) fn frame(&mut self, head: FrameHead, padding: usize, options: &Options) -> Result<(), Fault> {
        match head.kind {
            kind::DATA | kind::HEADERS | kind::CONTINUATION => {
                if head.len > padding || head.has(flag::END_STREAM) {
                    self.consecutive_empty = 0;
                    return Ok(());
                }
                self.consecutive_empty += 1;
                if self.consecutive_empty > options.max_consecutive_inbound_frames_with_empty_payload {
                    return Err(Fault::InboundEmptyFramesFlood);
                }
            }
            kind::PRIORITY => {
                self.priority_frames += 1;
                if self.priority_frames > u64::from(options.max_inbound_priority_frames_per_stream) * (1 + self.opened_streams) {
                    return Err(Fault::InboundPriorityFramesFlood);
                }
            }
            kind::WINDOW_UPDATE => {
                self.window_updates += 1;
                let per_data_frame = u64::from(options.max_inbound_window_update_frames_per_data_frame_sent);
                if self.window_updates > 5 + 2 * (self.opened_streams + per_data_frame * self.data_frames_sent) {
                    return Err(Fault::InboundWindowUpdateFramesFlood);
                }
            }
            _ => {}
        }
        Ok(())
    }
}
