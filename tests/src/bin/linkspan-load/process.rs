//! What the system says about the server process.

use std::time::Duration;

/// A process looked at from outside; every figure is zero where there is none to look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watched(pub(crate) Option<u32>);

impl Watched {
    /// Processor time spent so far, in user and system mode.
    pub(crate) fn cpu(self) -> Duration {
        // Fields 14 and 15 (of 1…), in ticks of 10 ms; the name before them is in brackets and may hold spaces.
        let stat = self.read("stat");
        let mut fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11);
        let mut ticks = || fields.next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        Duration::from_millis((ticks() + ticks()) * 10)
    }

    /// Memory that is resident, in KiB.
    pub(crate) fn resident_kib(self) -> u64 {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }

    /// How many files and sockets are open.
    pub(crate) fn open_files(self) -> usize {
        let Some(pid) = self.0 else { return 0 };
        std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
    }

    fn read(self, file: &str) -> String {
        let Some(pid) = self.0 else { return String::new() };
        std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default()
    }
}
