//! Durations and sizes as people write them.

use std::time::Duration;

/// `30s`, `1m30s`, `250ms`, `1.5h`, `0`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    const HELP: &str = "write a duration such as 250ms, 30s, 1m30s or 1h";
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(HELP)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let seconds = match unit {
            "us" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(HELP.into()),
        };
        let number: f64 = number.parse().map_err(|_| HELP)?;
        let span = Duration::try_from_secs_f64(number * seconds).map_err(|_| HELP)?;
        total = total.checked_add(span).ok_or(HELP)?;
        rest = tail;
    }
    if text.is_empty() { Err(HELP.into()) } else { Ok(total) }
}

/// `65536`, `64KiB`, `1MiB`, `1GiB`.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    const HELP: &str = "write a size such as 65536, 64KiB, 1MiB or 1GiB";
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        _ => return Err(HELP.into()),
    };
    let number: u64 = number.parse().map_err(|_| HELP)?;
    number.checked_mul(scale).ok_or_else(|| HELP.into())
}

/// As [`parse_size`], for limits of 32 bits.
pub(super) fn parse_size32(text: &str) -> Result<u32, String> {
    u32::try_from(parse_size(text)?).map_err(|_| "must be less than 4GiB".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in
            [("0", 0), ("0s", 0), ("250ms", 250), ("30s", 30_000), ("1m30s", 90_000), ("1.5h", 5_400_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "30", "s", "1x", "-1s", "1s2", "1..2s", "99999999999999999999h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("0", 0), ("65536", 65_536), ("64KiB", 65_536), ("2M", 2 << 20), ("1 GiB", 1 << 30)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "KiB", "1TB", "-1", "99999999999999999999"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        assert!(parse_size32("4GiB").is_err());
    }
}
