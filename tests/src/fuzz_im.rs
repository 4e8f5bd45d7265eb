//! The bodies of the fuzz targets of the IM dialect.

use linkspan_core::im::{Arguments, Check, Envelope, Functions, Reply, parse_platform};

/// Any bytes as a request, a reply, the arguments of every function, and the arguments of a handshake.
///
/// # Panics
///
/// If something is read that does not survive being written again.
pub fn im_envelope(data: &[u8]) {
    if let Ok(request) = Envelope::decode(data) {
        let text = request.encode();
        assert_eq!(Envelope::decode(&text).as_ref(), Ok(&request));
    }
    if let Ok(reply) = Reply::decode(data) {
        let text = reply.encode();
        assert_eq!(Reply::decode(&text).as_ref(), Ok(&reply));
        assert_eq!(reply.to_push().body(), &text);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let functions = Functions::default();
    for (name, _) in functions.iter() {
        assert_ne!(functions.check(name, text), Check::Unknown);
    }
    let arguments = Arguments::parse(text);
    if let Some(platform) = arguments.platform {
        assert_ne!(parse_platform(&platform).number(), 0, "no limit would hold for it");
    }
}
