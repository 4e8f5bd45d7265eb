//! What a run counted.

use std::time::Duration;

use serde_json::{Value, json};

/// What every run counts, and no run may have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// Answers or pushes with another content than was due, or that nobody asked for.
    pub(crate) wrong: u64,
    /// Answers or pushes that never came.
    pub(crate) lost: u64,
    /// Answers or pushes that came before an earlier one.
    pub(crate) reordered: u64,
    /// Connections that failed, and the first few reasons.
    pub(crate) errors: u64,
    pub(crate) reasons: Vec<String>,
}

impl Faults {
    pub(crate) fn error(&mut self, reason: &str) {
        self.errors += 1;
        if self.reasons.len() < 5 {
            self.reasons.push(reason.to_string());
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.wrong += other.wrong;
        self.lost += other.lost;
        self.reordered += other.reordered;
        self.errors += other.errors;
        self.reasons.extend(other.reasons);
        self.reasons.truncate(5);
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.wrong + self.lost + self.reordered + self.errors == 0
    }

    /// Adds the counts to a report.
    pub(crate) fn put(&self, report: &mut Value) {
        report["wrong"] = json!(self.wrong);
        report["lost"] = json!(self.lost);
        report["reordered"] = json!(self.reordered);
        report["errors"] = json!(self.errors);
        report["reasons"] = json!(self.reasons);
    }
}

/// Times in classes whose width grows with them: 16 to each doubling, so that a quantile is right to 7 %.
#[derive(Clone, Debug)]
pub(crate) struct Times {
    classes: Vec<u32>,
    count: u64,
    longest: Duration,
}

impl Times {
    const PER_DOUBLING: u32 = 16;

    pub(crate) fn new() -> Self {
        Self { classes: Vec::new(), count: 0, longest: Duration::ZERO }
    }

    pub(crate) fn add(&mut self, time: Duration) {
        let class = Self::class(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        if self.classes.len() <= class {
            self.classes.resize(class + 1, 0);
        }
        self.classes[class] += 1;
        self.count += 1;
        self.longest = self.longest.max(time);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        if self.classes.len() < other.classes.len() {
            self.classes.resize(other.classes.len(), 0);
        }
        for (mine, theirs) in self.classes.iter_mut().zip(&other.classes) {
            *mine += theirs;
        }
        self.count += other.count;
        self.longest = self.longest.max(other.longest);
    }

    pub(crate) fn longest_us(&self) -> f64 {
        self.longest.as_secs_f64() * 1e6
    }

    /// The time below which `part` of all times are, in µs.
    pub(crate) fn quantile_us(&self, part: f64) -> f64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a count"
        )]
        let wanted = (self.count as f64 * part) as u64;
        let mut seen = 0;
        for (class, count) in self.classes.iter().enumerate() {
            seen += u64::from(*count);
            if seen > wanted {
                return Self::floor(class) / 1e3;
            }
        }
        self.longest_us()
    }

    fn class(nanos: u64) -> usize {
        let per = u64::from(Self::PER_DOUBLING);
        if nanos < per {
            return usize::try_from(nanos).unwrap_or(0);
        }
        let exponent = nanos.ilog2() - Self::PER_DOUBLING.ilog2();
        let within = (nanos >> exponent) - per;
        usize::try_from(per + u64::from(exponent) * per + within).unwrap_or(0)
    }

    #[expect(clippy::cast_precision_loss, reason = "shown to a person")]
    fn floor(class: usize) -> f64 {
        let per = Self::PER_DOUBLING as usize;
        if class < per {
            return class as f64;
        }
        let (exponent, within) = ((class - per) / per, (class - per) % per);
        ((per + within) as f64) * 2f64.powi(i32::try_from(exponent).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::Times;
    use std::time::Duration;

    #[test]
    fn quantiles_are_close() {
        let mut times = Times::new();
        for micros in 1..=1000 {
            times.add(Duration::from_micros(micros));
        }
        assert!((460.0..=510.0).contains(&times.quantile_us(0.5)), "{}", times.quantile_us(0.5));
        assert!((930.0..=1000.0).contains(&times.quantile_us(0.99)));
        assert!((times.longest_us() - 1000.0).abs() < 0.1);
    }
}
