//! The bodies of the fuzz targets of the tunnel.

use bytes::Bytes;
use linkspan_core::tunnel::{ClientSession, Content, Message, sync_ids};

/// One message of a tunnel: what can be read can be written and is read again, or is refused with a reason.
///
/// # Panics
///
/// If a promise of the codec is broken.
pub fn tunnel_message(data: &[u8]) {
    let data = Bytes::copy_from_slice(data);
    let Ok(message) = Message::decode(&data) else { return };
    match &message.content {
        Content::Sync(body) => assert_eq!(sync_ids(body).is_some(), body.len().is_multiple_of(8)),
        Content::AddClient(text) | Content::RemoveClient(text) => {
            if let Some(session) = ClientSession::read(text)
                && let Ok(Content::AddClient(written)) = Content::add_client(&session)
            {
                assert_eq!(ClientSession::read(&written), Some(session));
            }
        }
        Content::Unknown(_) => return,
        _ => {}
    }
    let is_cut = matches!(&message.content, Content::Connect(target) if target.is_cut);
    let Ok(frame) = message.clone().encode() else { return };
    if !is_cut && !matches!(message.content, Content::Error(_)) {
        assert_eq!(Message::decode(&frame.into_bytes()), Ok(message), "written as it was read");
    }
}
