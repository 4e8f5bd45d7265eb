//! bench
pub(crate) fn run(_: &[String]) -> Result<std::process::ExitCode, crate::Error> {
    Err("".into())
}
