//! What the system says about the server's processes.

use std::time::Duration;

/// The processes that do the work, looked at from outside; every figure is zero where there is none to look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watched(&'static [u32]);

impl Watched {
    /// These processes, for as long as this program runs.
    pub(crate) fn new(pids: Vec<u32>) -> Self {
        Self(pids.leak())
    }

    /// Processor time that they spent so far, in user and system mode.
    pub(crate) fn cpu(self) -> Duration {
        self.0.iter().map(|pid| cpu(*pid)).sum()
    }

    /// Memory that is resident, in KiB, of all of them.
    pub(crate) fn resident_kib(self) -> u64 {
        self.each_resident_kib().sum()
    }

    /// The same of each, in the order in which they were named.
    pub(crate) fn each_resident_kib(self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|pid| resident_kib(*pid))
    }

    /// How many files and sockets are open.
    pub(crate) fn open_files(self) -> usize {
        self.0.iter().map(|pid| std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)).sum()
    }
}

fn cpu(pid: u32) -> Duration {
    // Fields 14 and 15 (of 1…), in ticks of 10 ms; the name before them is in brackets and may hold spaces.
    let stat = read(pid, "stat");
    let mut fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11);
    let mut ticks = || fields.next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((ticks() + ticks()) * 10)
}

fn resident_kib(pid: u32) -> u64 {
    let status = read(pid, "status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn read(pid: u32, file: &str) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default()
}
