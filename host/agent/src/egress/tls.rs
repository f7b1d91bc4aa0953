//! Trust: whose certificates an agent's far ends may show, and the certificate that the host shows for it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use rustls::client::WantsClientCert;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::{CertificateError, ClientConfig, ConfigBuilder, RootCertStore};

/// The system's trusted certificates, read when the first agent is loaded that needs them.
#[derive(Default)]
pub(crate) struct SystemRoots(OnceLock<Arc<RootCertStore>>);

impl SystemRoots {
    fn get(&self) -> io::Result<Arc<RootCertStore>> {
        if let Some(roots) = self.0.get() {
            return Ok(roots.clone());
        }
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(target: "postern::agent", %error, "a trusted certificate of the system cannot be read");
        }
        let mut roots = RootCertStore::empty();
        // Systems keep some that are too old to be parsed; the others serve.
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the system has none"));
        }
        Ok(self.0.get_or_init(|| Arc::new(roots)).clone())
    }
}

/// What one agent trusts.
#[derive(Clone)]
pub(crate) struct Trust(Arc<RootCertStore>);

impl Trust {
    /// Trusts nobody: for agents whose grants speak no TLS, so that a machine without certificates serves them.
    pub(crate) fn nobody() -> Self {
        Self(Arc::new(RootCertStore::empty()))
    }

    /// Trusts whom the system trusts, and `more` beside.
    pub(crate) fn new(system: &SystemRoots, more: Option<&Authorities>) -> io::Result<Self> {
        let Some(more) = more else { return system.get().map(Self) };
        // The operator has named whom to trust, which may be all that this machine needs.
        let mut roots = system.get().map_or_else(|_| RootCertStore::empty(), |system| (*system).clone());
        roots.extend(more.roots.roots.iter().cloned());
        Ok(Self(Arc::new(roots)))
    }

    /// TLS in which the host shows no certificate.
    pub(crate) fn client(&self) -> ClientConfig {
        self.builder().with_no_client_auth()
    }

    /// TLS in which the host shows a certificate when it is asked for one.
    ///
    /// # Errors
    /// When key and certificate do not belong together, or are of a sort that is not known.
    pub(crate) fn client_as(&self, identity: Identity) -> Result<ClientConfig, rustls::Error> {
        self.builder().with_client_auth_cert(identity.chain, identity.key)
    }

    fn builder(&self) -> ConfigBuilder<ClientConfig, WantsClientCert> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider speaks the default versions of TLS")
            .with_root_certificates(self.0.clone())
    }
}

/// A certificate with what proves that it is ours.
pub(crate) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads a certificate chain and its private key, in any order, from one PEM text.
    ///
    /// # Errors
    /// What is missing or not understood. Nothing of the text is repeated.
    pub(crate) fn from_pem(text: &str) -> Result<Self, &'static str> {
        // The errors of the parser would repeat what they stumble over.
        let garbled = "what it holds is not well-formed PEM";
        let chain = certificates(text.as_bytes()).map_err(|_| garbled)?;
        if chain.is_empty() {
            return Err("it holds no certificate in PEM");
        }
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| match error {
            pem::Error::NoItemsFound => "it holds no private key in PEM",
            _ => garbled,
        })?;
        Ok(Self { chain, key })
    }
}

/// A PEM file of authorities that are trusted beside the system's, as it was when it was read.
pub(crate) struct Authorities {
    path: PathBuf,
    text: Vec<u8>,
    roots: RootCertStore,
}

impl Authorities {
    /// Reads the file. Blocking.
    ///
    /// # Errors
    /// Why it cannot be read, or what in it is no certificate of an authority.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read(path).map_err(|error| error.to_string())?;
        let mut roots = RootCertStore::empty();
        let found = certificates(&text).map_err(|error| error.to_string())?;
        for (at, certificate) in found.into_iter().enumerate() {
            let added = roots.add(certificate);
            added.map_err(|error| format!("certificate {}: {}", at + 1, in_words(&error)))?;
        }
        if roots.is_empty() {
            return Err("it holds no certificate in PEM".to_owned());
        }
        Ok(Self { path: path.to_owned(), text, roots })
    }

    /// Whether the file is there and is not what it was. Blocking.
    pub(crate) fn have_changed(&self) -> bool {
        std::fs::read(&self.path).is_ok_and(|text| text != self.text)
    }
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    CertificateDer::pem_slice_iter(text).collect()
}

/// The TLS error that an I/O error stands for, however often it is wrapped: an I/O error does not show what it wraps as
/// its source.
pub(crate) fn error_in(error: &io::Error) -> Option<&rustls::Error> {
    let inner = error.get_ref()?;
    inner.downcast_ref().or_else(|| error_in(inner.downcast_ref()?))
}

/// A TLS error as an operator understands it.
pub(crate) fn in_words(error: &rustls::Error) -> String {
    use CertificateError as Certificate;
    let rustls::Error::InvalidCertificate(why) = error else { return error.to_string() };
    match why {
        Certificate::ExpiredContext { not_after, .. } => {
            format!("the certificate expired at {}", moment(*not_after))
        }
        Certificate::Expired => "the certificate has expired".to_owned(),
        Certificate::NotValidYetContext { not_before, .. } => {
            format!("the certificate is not valid before {}", moment(*not_before))
        }
        Certificate::UnknownIssuer => {
            "the certificate is signed by nobody whom this host trusts (the connector's trusted_certificates may name \
             a private authority)"
                .to_owned()
        }
        Certificate::NotValidForNameContext { expected, presented } => {
            let names = if presented.is_empty() { "no name".to_owned() } else { presented.join(", ") };
            format!("the certificate is not for {}: it is for {names}", expected.to_str())
        }
        // What most self-signed certificates are, by the defaults of the tools that make them.
        Certificate::Other(other) if other.to_string() == "CaUsedAsEndEntity" => {
            "the certificate is an authority's own (CA:TRUE), which no server may show; for a self-signed one say CA:FALSE"
                .to_owned()
        }
        Certificate::Other(other) => format!("the certificate is not accepted: {other}"),
        other => format!("the certificate is not accepted: {other}"),
    }
}

fn moment(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).ok();
    let time = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map_or_else(|| "a time far off".to_owned(), |time| time.to_string())
}
