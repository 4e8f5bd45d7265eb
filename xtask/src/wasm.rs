//! The core as WebAssembly: an example that talks to itself, built for a world with no host at all.

use crate::Error;
use crate::command::{command, exists, run};

/// WebAssembly with no system interface.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Builds the example, proves that the module imports nothing, and runs it where there is a Node.
pub(crate) fn check() -> Result<(), Error> {
    let build =
        ["cargo", "build", "-p", "linkspan-core", "--example", "wasm_loop", "--release", "--target", TARGET];
    println!("$ {}", build.join(" "));
    run(&mut command(&build))?;
    let file = format!("target/{TARGET}/release/examples/wasm_loop.wasm");
    let module = std::fs::read(&file).map_err(|error| format!("{file}: {error}"))?;
    let imports = imports(&module).ok_or_else(|| format!("{file} is not a WebAssembly module"))?;
    if imports != 0 {
        return Err(format!("{file} imports {imports} things from its host").into());
    }
    println!("{file}: {} bytes, no imports", module.len());
    if exists("node") {
        println!("$ node (instantiate with no imports, call main)");
        let script = "const bytes = require('fs').readFileSync(process.argv[1]);\
            WebAssembly.instantiate(bytes, {}).then(({ instance }) => {\
              const status = instance.exports.main(0, 0);\
              if (status !== 0) throw new Error('main returned ' + status);\
              console.log('ran to its end');\
            }).catch((error) => { console.error(error); process.exit(1); });";
        run(&mut command(&["node", "-e", script, &file]))?;
    }
    Ok(())
}

/// The number of imports that a module asks for; `None` if this is no module.
fn imports(module: &[u8]) -> Option<u64> {
    const IMPORT_SECTION: u8 = 2;
    let mut rest = module.strip_prefix(b"\0asm\x01\0\0\0")?;
    while let Some((id, tail)) = rest.split_first() {
        let (length, tail) = varint(tail)?;
        let (section, tail) = tail.split_at_checked(usize::try_from(length).ok()?)?;
        if *id == IMPORT_SECTION {
            return varint(section).map(|(count, _)| count);
        }
        rest = tail;
    }
    Some(0)
}

/// An unsigned LEB128 number of at most 32 bits, and what follows it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{imports, varint};

    #[test]
    fn imports_are_counted() {
        let empty = b"\0asm\x01\0\0\0";
        assert_eq!(imports(empty), Some(0));
        // A custom section, then an import section with one function `a.b`.
        let one = [empty.as_slice(), &[0, 2, 1, b'x'], &[2, 7, 1, 1, b'a', 1, b'b', 0, 0]].concat();
        assert_eq!(imports(&one), Some(1));
        assert_eq!(imports(&one[..one.len() - 1]), None, "a section longer than the file");
        assert_eq!(imports(b"\x7fELF"), None);
    }

    #[test]
    fn numbers_of_several_bytes() {
        assert_eq!(varint(&[0xe5, 0x8e, 0x26, 9]), Some((624_485, [9].as_slice())));
        assert_eq!(varint(&[0x80]), None);
    }
}
