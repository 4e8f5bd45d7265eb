//! What the person asked for.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::Error;

use super::{Case, Subject, Suite, chat, pomelo, tunnel};

/// What is to be measured, and how.
#[derive(Debug, Default)]
pub(super) struct Options {
    /// `chat`, `tunnel`, or nothing for pomelo.
    suite: Option<String>,
    pub(super) quick: bool,
    pub(super) no_build: bool,
    only: Vec<String>,
    pub(super) placement: bool,
    pub(super) json: Option<String>,
    /// Where the rivals' programs are looked for first.
    pub(super) tools: Option<PathBuf>,
}

impl Options {
    pub(super) fn parse(arguments: &[String]) -> Result<Self, Error> {
        let mut options =
            Self { tools: std::env::var_os("LINKSPAN_BENCH__TOOLS").map(PathBuf::from), ..Self::default() };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "chat" | "tunnel" if options.suite.is_none() => options.suite = Some(word.clone()),
                "--quick" => options.quick = true,
                "--no-build" => options.no_build = true,
                "--placement" => options.placement = true,
                "--json" => options.json = Some(words.next().ok_or("--json needs a file")?.clone()),
                "--tools" => options.tools = Some(words.next().ok_or("--tools needs a folder")?.into()),
                "--only" => options.only.push(words.next().ok_or("--only needs a word")?.clone()),
                _ => return Err(format!("unknown argument {word}; see cargo xtask help").into()),
            }
        }
        if options.placement && options.suite.is_some() {
            return Err("--placement is for the pomelo benchmark only".into());
        }
        Ok(options)
    }

    /// What is measured; words that say nothing to it are refused.
    pub(super) fn suite(&self) -> Result<Suite, Error> {
        let suite = match self.suite.as_deref() {
            Some("chat") => chat::suite(self)?,
            Some("tunnel") => tunnel::suite(self)?,
            _ => pomelo::suite(self),
        };
        let known: BTreeSet<&str> =
            [families(&suite), transports(&suite), parts(&suite)].into_iter().flatten().collect();
        match self.only.iter().find(|word| !known.contains(word.as_str())) {
            Some(word) => {
                let known: Vec<&str> = known.into_iter().collect();
                Err(format!("--only {word}: it takes one of: {}", known.join(", ")).into())
            }
            None => Ok(suite),
        }
    }

    /// True if this shall be measured.
    pub(super) fn wants(&self, suite: &Suite, subject: &Subject, transport: &str, case: &Case) -> bool {
        // Every figure is read beside the floor's, or that of the way without a tunnel.
        let is_yardstick = ["floor", "direct"].contains(&transport);
        self.among(&families(suite), subject.family)
            && (is_yardstick || self.among(&transports(suite), transport))
            && self.among(&parts(suite), case.part)
    }

    /// Rounds of each measurement; the median is shown.
    pub(super) fn rounds(&self) -> usize {
        if self.quick { 1 } else { 3 }
    }

    /// True if `word` was asked for, or none of its kind was.
    fn among(&self, kind: &BTreeSet<&str>, word: &str) -> bool {
        let mut asked = self.only.iter().filter(|asked| kind.contains(asked.as_str())).peekable();
        asked.peek().is_none() || asked.any(|asked| asked == word)
    }
}

fn families(suite: &Suite) -> BTreeSet<&'static str> {
    suite.subjects.iter().map(|subject| subject.family).collect()
}

fn transports(suite: &Suite) -> BTreeSet<&'static str> {
    suite.subjects.iter().flat_map(|subject| subject.transports).copied().collect()
}

fn parts(suite: &Suite) -> BTreeSet<&'static str> {
    suite.cases.iter().map(|case| case.part).collect()
}
