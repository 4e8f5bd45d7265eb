//! Just enough of Rust's lexical structure to count lines without being fooled by strings and comments.

/// The source with comments, strings and characters blanked out; every line stays where it is.
pub(crate) fn code_only(source: &str) -> String {
    blanked(source, |_| true)
}

/// The source with comments blanked out and texts as they are; every line stays where it is.
pub(crate) fn without_comments(source: &str) -> String {
    blanked(source, |part| part.starts_with(b"//") || part.starts_with(b"/*"))
}

/// The source without those of its comments, strings and characters that are unwanted.
fn blanked(source: &str, is_unwanted: impl Fn(&[u8]) -> bool) -> String {
    let bytes = source.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = at + skipped(&bytes[at..], code.last().copied());
        if end == at {
            code.push(bytes[at]);
            at += 1;
            continue;
        }
        let part = &bytes[at..end];
        if is_unwanted(part) {
            code.extend(part.iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }));
        } else {
            code.extend_from_slice(part);
        }
        at = end;
    }
    String::from_utf8_lossy(&code).into_owned()
}

/// The length of the comment, string or character that begins here, or zero.
fn skipped(rest: &[u8], before: Option<u8>) -> usize {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment(rest),
        [b'"', ..] => quoted(rest, b'"'),
        [b'r', b'"' | b'#', ..] if before.is_none_or(|byte| !is_word(byte) || byte == b'b') => {
            raw_string(rest)
        }
        [b'\'', b'\\', ..] => quoted(rest, b'\''),
        // A lifetime has no second quote behind one character.
        [b'\'', first, ..] => {
            let width = match first {
                0..=0x7f => 1,
                0x80..=0xdf => 2,
                0xe0..=0xef => 3,
                _ => 4,
            };
            if rest.get(1 + width) == Some(&b'\'') { width + 2 } else { 0 }
        }
        _ => 0,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    at
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn raw_string(rest: &[u8]) -> usize {
    let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return 0;
    }
    let end: Vec<u8> = [b'"'].into_iter().chain(std::iter::repeat_n(b'#', hashes)).collect();
    let body = &rest[2 + hashes..];
    let length = body.windows(end.len()).position(|window| window == end);
    length.map_or(rest.len(), |length| 2 + hashes + length + end.len())
}

/// A function, from the line of its `fn` to that of its last brace.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) at: usize,
    pub(crate) lines: usize,
}

/// Every function with a body in code that went through [`code_only`].
pub(crate) fn functions(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (start, _) in code.match_indices("fn ") {
        if code[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let name: String =
            code[start + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if let Some(length) = body_end(&code[start..]).filter(|_| !name.is_empty()) {
            let at = code[..start].matches('\n').count() + 1;
            found.push(Function { name, at, lines: code[start..start + length].matches('\n').count() + 1 });
        }
    }
    found
}

/// Where the first balanced block ends; `None` if a semicolon comes first.
fn body_end(code: &str) -> Option<usize> {
    let (mut braces, mut brackets) = (0_usize, 0_usize);
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'(' | b'[' => brackets += 1,
            b')' | b']' => brackets = brackets.saturating_sub(1),
            b';' if braces == 0 && brackets == 0 => return None,
            b'{' if braces > 0 || brackets == 0 => braces += 1,
            b'}' if braces == 1 => return Some(at + 1),
            b'}' => braces = braces.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// The source up to its test module.
pub(crate) fn without_tests(source: &str) -> &str {
    source.split("#[cfg(test)]\nmod ").next().unwrap_or(source)
}

#[test]
fn code_is_told_from_text() {
    let source =
        "let a = \"fn x() {\"; // fn y() {\nlet b = '{'; let c: &'a str = r#\"}\"#; /* { /* { */ */ d\n";
    let code = code_only(source);
    assert_eq!(code.matches('\n').count(), 2);
    assert!(!code.contains('{') && !code.contains('}') && !code.contains("fn"), "{code}");
    assert!(code.contains("&'a str") && code.contains(" d"), "{code}");
    let uncommented = without_comments(source);
    assert!(uncommented.contains("\"fn x() {\"") && uncommented.contains("'{'"), "{uncommented}");
    assert!(!uncommented.contains("fn y()") && !uncommented.contains("*/"), "{uncommented}");
}

#[test]
fn functions_are_measured() {
    let code = "trait T { fn none(&self) -> [u8; 4]; }\nfn one() { if x { y } }\nconst fn three(\n) {\n}\n";
    let found: Vec<_> = functions(code).into_iter().map(|f| (f.name, f.at, f.lines)).collect();
    assert_eq!(found, [("one".to_owned(), 2, 1), ("three".to_owned(), 3, 3)]);
}
