//! rathole and bore: found or installed, and set up to forward one port to the origin.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::Error;
use crate::command::{command, run};

use super::server::{Process, Server};

/// The rivals' crates, their programs, and the versions that are compared with.
const CRATES: [(&str, &str, &str); 2] = [("rathole", "rathole", "0.5.0"), ("bore-cli", "bore", "0.6.0")];
/// Where what is missing is installed.
const INSTALLED: &str = "target/tools";
/// How long a tunnel may take to let the first request through.
const READY_MAX: Duration = Duration::from_secs(20);
/// The port of a bore server, which cannot be chosen.
const BORE_PORT: u16 = 7835;

/// The programs of the rivals.
#[derive(Clone, Debug)]
pub(super) struct Tools {
    rathole: String,
    bore: String,
}

/// Looks for the programs in `folder`, on the path and where they were installed; installs what is missing.
pub(super) fn tools(folder: Option<&Path>) -> Result<Tools, Error> {
    let mut found = Vec::new();
    for (package, program, version) in CRATES {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = folder.map(Path::to_owned).into_iter().chain(std::env::split_paths(&path));
        let mut places = folders.chain([PathBuf::from(INSTALLED).join("bin")]);
        let place = places.find(|place| place.join(program).is_file());
        let place = if let Some(place) = place {
            place
        } else {
            println!("setup: cargo install {package} --version {version}, into {INSTALLED}");
            run(&mut command(&[
                "cargo",
                "install",
                package,
                "--version",
                version,
                "--locked",
                "--root",
                INSTALLED,
            ]))?;
            PathBuf::from(INSTALLED).join("bin")
        };
        found.push(place.join(program).to_string_lossy().into_owned());
    }
    let [rathole, bore] = found.try_into().map_err(|_| "two rivals")?;
    Ok(Tools { rathole, bore })
}

/// A transport of rathole.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rathole {
    Tcp,
    WebSocket,
}

impl Tools {
    /// A rathole server and its client, which forward a port to the origin.
    pub(super) fn rathole(
        &self,
        name: &'static str,
        transport: Rathole,
        origin: &str,
    ) -> Result<Server, Error> {
        let (control, forward) = (free_address()?, free_address()?);
        let transport = match transport {
            Rathole::Tcp => "type = \"tcp\"\n",
            Rathole::WebSocket => "type = \"websocket\"\n[ROLE.transport.websocket]\ntls = false\n",
        };
        let folder = Path::new("target/bench");
        std::fs::create_dir_all(folder)?;
        let write = |role: &str, head: &str, service: &str| -> Result<String, Error> {
            let transport = transport.replace("ROLE", role);
            let text = format!(
                "[{role}]\n{head}\ndefault_token = \"bench\"\n[{role}.transport]\n{transport}\
                 [{role}.services.origin]\n{service}\n"
            );
            let file = folder.join(format!("{}-{role}.toml", name.replace(' ', "-")));
            std::fs::write(&file, text)?;
            Ok(file.to_string_lossy().into_owned())
        };
        let head = format!("bind_addr = \"{control}\"");
        let server = write("server", &head, &format!("bind_addr = \"{forward}\""))?;
        let head = format!("remote_addr = \"{control}\"");
        let client = write("client", &head, &format!("local_addr = \"{origin}\""))?;
        let server = Process::start(&self.rathole, &["--server", &server], &[])?;
        let client = Process::start(&self.rathole, &["--client", &client], &[])?;
        wait_until_ready(&forward.to_string(), "")?;
        Ok(Server::new(name, vec![server, client]).with_web("forward", forward.to_string()))
    }

    /// A bore server and its client, which forward a port to the origin.
    pub(super) fn bore(&self, name: &'static str, origin: &str) -> Result<Server, Error> {
        let forward = free_address()?;
        let (_, port) = origin.rsplit_once(':').ok_or("the origin has no port")?;
        let server = Process::start(&self.bore, &["server", "--bind-addr", "127.0.0.1"], &[])?;
        wait_until_open(SocketAddr::from(([127, 0, 0, 1], BORE_PORT)))?;
        let outer = forward.port().to_string();
        let words = ["local", port, "--local-host", "127.0.0.1", "--to", "127.0.0.1", "--port", &outer];
        let client = Process::start(&self.bore, &words, &[])?;
        wait_until_ready(&forward.to_string(), "")?;
        Ok(Server::new(name, vec![server, client]).with_web("forward", forward.to_string()))
    }
}

/// An address that was free a moment ago.
fn free_address() -> Result<SocketAddr, Error> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Waits until somebody listens there.
fn wait_until_open(address: SocketAddr) -> Result<(), Error> {
    let end = Instant::now() + READY_MAX;
    while TcpStream::connect(address).is_err() {
        if Instant::now() > end {
            return Err(format!("nobody listens at {address}").into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Waits until the origin's small file comes through.
pub(super) fn wait_until_ready(address: &str, prefix: &str) -> Result<(), Error> {
    let end = Instant::now() + READY_MAX;
    while !is_answered(address, prefix).unwrap_or(false) {
        if Instant::now() > end {
            return Err(format!("the tunnel at {address}{prefix} lets nothing through").into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn is_answered(address: &str, prefix: &str) -> Result<bool, Error> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    write!(stream, "GET {prefix}/small HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    Ok(answer == *b"HTTP/1.1 200")
}
