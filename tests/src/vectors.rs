//! Reading the recorded vectors under `vectors/`: what the programs of the field really sent and understood.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::Value;

/// Where `path` lies in the crate of the tests.
pub fn path(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Reads one file of vectors, named relative to `vectors/`.
///
/// # Panics
///
/// If it cannot be read or is not JSON.
pub fn load(name: &str) -> Value {
    let path = path("vectors").join(name);
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The bytes that `text` writes in hex.
///
/// # Panics
///
/// If it is not pairs of hex digits.
pub fn hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "odd number of hex digits: {text}");
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or_else(|| panic!("not hex: {text}")) as u8;
    text.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// `bytes` in hex.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A byte string: hex, or `{"repeat": hex, "count": n, "prefix": hex}`.
///
/// # Panics
///
/// If it is neither.
pub fn bytes(value: &Value) -> Bytes {
    match value {
        Value::String(text) => hex(text).into(),
        _ => repeated(value, hex),
    }
}

/// A byte string that is written as text where it is not repeated.
///
/// # Panics
///
/// If it is neither text nor a repetition.
pub fn text(value: &Value) -> Bytes {
    match value {
        Value::String(text) => Bytes::from(text.clone()),
        _ => repeated(value, |text| text.as_bytes().to_vec()),
    }
}

/// The pieces of an input: byte strings, or one that is to be cut into pieces of a fixed size.
///
/// # Panics
///
/// If it is neither.
pub fn chunks(value: &Value) -> Vec<Bytes> {
    let pieces = value.as_array().expect("a list of chunks");
    let cut = |piece: &Value| match piece.get("concat_in_chunks_of") {
        None => vec![bytes(piece)],
        Some(size) => bytes(&piece["of"]).chunks(number(size)).map(Bytes::copy_from_slice).collect(),
    };
    pieces.iter().flat_map(cut).collect()
}

/// A count.
///
/// # Panics
///
/// If it is none.
pub fn number(value: &Value) -> usize {
    let number = value.as_u64().unwrap_or_else(|| panic!("not a count: {value}"));
    usize::try_from(number).expect("counts in vectors are small")
}

/// The `name` of a case.
pub fn name(case: &Value) -> &str {
    case["name"].as_str().unwrap_or_default()
}

fn repeated(value: &Value, read: impl Fn(&str) -> Vec<u8>) -> Bytes {
    let part = |field: &str| read(value[field].as_str().unwrap_or_default());
    let count = number(&value["count"]);
    [value.get("prefix").map(|_| part("prefix")).unwrap_or_default(), part("repeat").repeat(count)]
        .concat()
        .into()
}
