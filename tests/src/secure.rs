//! Something that terminates TLS before a plain server, with a certificate that is its own authority.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use futures_rustls::TlsAcceptor;
use futures_rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use futures_rustls::rustls::ServerConfig;
use futures_rustls::rustls::crypto::ring;
use smol::io::{AsyncWriteExt, copy, split};
use smol::net::{TcpListener, TcpStream};

/// A port of `localhost` where TLS is spoken; it is there as long as the test's process.
pub struct Secured {
    /// The port.
    pub port: u16,
    /// The certificate, in a file that goes with this value.
    pub authority: PathBuf,
}

impl Secured {
    /// The name of the file, as a flag takes it.
    ///
    /// # Panics
    ///
    /// If the folder for temporary files has a name that is no text.
    pub fn file(&self) -> &str {
        self.authority.to_str().expect("text")
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.authority);
    }
}

/// Secures what listens at `to`.
///
/// # Panics
///
/// If there is no port, or no room for the file.
pub fn secure(to: SocketAddr) -> Secured {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("there are some")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("they fit");
    let port = terminate(TlsAcceptor::from(Arc::new(config)), to);
    let authority = std::env::temp_dir().join(format!("linkspan-ca-{}-{port}.pem", std::process::id()));
    std::fs::write(&authority, made.cert.pem()).expect("it can be written");
    Secured { port, authority }
}

fn terminate(acceptor: TlsAcceptor, to: SocketAddr) -> u16 {
    let listener = smol::block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        smol::block_on(async {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                smol::spawn(async move {
                    let Ok(outer) = acceptor.accept(stream).await else { return };
                    let Ok(inner) = TcpStream::connect(to).await else { return };
                    let (outer_in, mut outer_out) = split(outer);
                    let mut inner_out = inner.clone();
                    let up = async { _ = copy(outer_in, &mut inner_out).await };
                    let down = async {
                        let _ = copy(inner, &mut outer_out).await;
                        let _ = outer_out.close().await;
                    };
                    smol::future::or(up, down).await;
                })
                .detach();
            }
        });
    });
    port
}
