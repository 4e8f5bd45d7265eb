//! What happened: a story for people, and a fingerprint for machines.

use std::fmt::Write as _;

use super::story::Along;

/// How much of a line's detail is told, in characters: what a message carries is often long, and all alike.
const DETAIL: usize = 300;

/// The record of a run. The fingerprint is always kept, the story only if somebody wants to read it.
#[derive(Debug)]
pub(super) struct Trace {
    digest: u64,
    story: Option<String>,
    /// Who reads along, for the story.
    pub(super) along: Along,
}

impl Trace {
    pub(super) fn new(is_told: bool) -> Self {
        Self { digest: 0xcbf2_9ce4_8422_2325, story: is_told.then(String::new), along: Along::default() }
    }

    /// Whether anybody reads the story.
    pub(super) fn is_told(&self) -> bool {
        self.story.is_some()
    }

    /// Enters numbers into the fingerprint.
    pub(super) fn mix(&mut self, number: u64) {
        self.digest = (self.digest ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
    }

    /// Enters bytes into the fingerprint.
    pub(super) fn mix_bytes(&mut self, bytes: &[u8]) {
        self.mix(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.mix(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.mix(u64::from_le_bytes(word));
        }
    }

    /// Tells one line of the story: when, where, what, and more.
    pub(super) fn tell(&mut self, now: u64, place: impl FnOnce() -> [String; 3]) {
        if let Some(story) = &mut self.story {
            let [node, what, mut detail] = place();
            if let Some((end, _)) = detail.char_indices().nth(DETAIL) {
                detail.truncate(end);
                detail.push('…');
            }
            let (seconds, micros) = (now / 1_000_000, now % 1_000_000);
            // Writing to a string does not fail.
            let _ = writeln!(story, "{seconds:>6}.{micros:06}  {node:<12} {what:<8} {detail}");
        }
    }

    pub(super) fn digest(&self) -> u64 {
        self.digest
    }

    pub(super) fn take_story(&mut self) -> String {
        self.story.take().unwrap_or_default()
    }
}

#[test]
fn a_line_of_the_story_is_cut_between_characters() {
    let mut trace = Trace::new(true);
    trace.tell(1, || ["g0".into(), "route".into(), "ä".repeat(DETAIL + 1)]);
    trace.tell(2, || ["g0".into(), "route".into(), "ä".repeat(DETAIL)]);
    let story = trace.take_story();
    let lines: Vec<&str> = story.lines().collect();
    assert!(lines[0].ends_with(&format!("route    {}…", "ä".repeat(DETAIL))), "{}", lines[0]);
    assert!(lines[1].ends_with(&format!("route    {}", "ä".repeat(DETAIL))), "{}", lines[1]);
}
