//! `http.send`: a whole request, a whole response.

use std::error::Error;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body as _, Incoming};

use super::{Denied, HttpClient};
use crate::bindings::imported::http as wit;
use crate::egress::{self, ConnectError};
use crate::limits::Limit;
use crate::wasi::Patience;

/// What the guest is told, and the limit behind it where it is one.
pub(crate) struct Unsent {
    pub(crate) fault: wit::Fault,
    pub(crate) limit: Option<Limit>,
}

impl Unsent {
    fn too_large(limit: Limit) -> Self {
        Self { fault: wit::Fault::TooLarge, limit: Some(limit) }
    }
}

impl From<wit::Fault> for Unsent {
    fn from(fault: wit::Fault) -> Self {
        Self { fault, limit: None }
    }
}

impl From<Denied> for Unsent {
    fn from(denied: Denied) -> Self {
        Self { fault: wit::Fault::Denied(denied.why), limit: denied.limit }
    }
}

impl HttpClient {
    /// Sends what the guest asked for, within the policy; `patience` is what is left of the call's deadline.
    pub(crate) async fn send(
        &self,
        request: wit::Request,
        patience: Patience,
    ) -> Result<wit::Response, Unsent> {
        let asked = request.timeout_ms.map(|ms| Duration::from_millis(ms.into()));
        let time = patience.time(asked);
        let request = self.checked(request)?;
        match tokio::time::timeout(time, self.exchange(request)).await {
            Ok(result) => result,
            Err(_) => Err(Unsent { fault: wit::Fault::Timeout, limit: patience.limit(asked) }),
        }
    }

    fn checked(&self, request: wit::Request) -> Result<Request<super::client::Body>, Unsent> {
        if request.body.len() > self.max_request() {
            return Err(Unsent::too_large(Limit::HttpRequest));
        }
        let method = Method::from_bytes(request.method.as_bytes())
            .map_err(|_| Denied::because("the method is not valid"))?;
        let uri = self.policy().uri(&method, &request.url)?;
        let headers =
            self.policy().headers(request.headers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())))?;
        let body = Full::new(Bytes::from(request.body)).map_err(|never| match never {}).boxed_unsync();
        let mut checked = Request::new(body);
        *checked.method_mut() = method;
        *checked.uri_mut() = uri;
        *checked.headers_mut() = headers;
        Ok(checked)
    }

    async fn exchange(&self, request: Request<super::client::Body>) -> Result<wit::Response, Unsent> {
        let response = self.request(request).await.map_err(|error| fault(&error))?;
        let (head, body) = response.into_parts();
        let body = read(body, self.max_response()).await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers =
            head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes())));
        Ok(wit::Response { status: head.status.as_u16(), headers: headers.collect(), body })
    }
}

async fn read(body: Incoming, max: usize) -> Result<Vec<u8>, Unsent> {
    let too_large = || Unsent::too_large(Limit::HttpResponse);
    if body.size_hint().lower() > max as u64 {
        return Err(too_large());
    }
    let mut body = Limited::new(body, max);
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => read.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => return Err(too_large()),
            Err(error) => return Err(wit::Fault::Other(cleaned(&error.to_string())).into()),
        }
    }
    Ok(read.into())
}

/// What lies below an error of the client, in the words of `http.send`.
fn fault(error: &hyper_util::client::legacy::Error) -> Unsent {
    let fault = match Cause::of(error) {
        Cause::Connect(ConnectError::Denied(why)) => wit::Fault::Denied(why.clone()),
        Cause::Connect(ConnectError::Timeout(_)) => {
            return Unsent { fault: wit::Fault::Timeout, limit: Some(Limit::HttpConnect) };
        }
        Cause::Connect(error) => wit::Fault::Connect(cleaned(&error.to_string())),
        Cause::Tls(text) => wit::Fault::Tls(cleaned(&text)),
        Cause::Other(text) if error.is_connect() => wit::Fault::Connect(cleaned(&text)),
        Cause::Other(text) => wit::Fault::Other(cleaned(&text)),
    };
    fault.into()
}

/// Whether the client gave up connecting because its time was over.
pub(crate) fn connected_too_slowly(error: &hyper_util::client::legacy::Error) -> bool {
    matches!(Cause::of(error), Cause::Connect(ConnectError::Timeout(_)))
}

/// Why an error of the client means that the address was not allowed, if it does.
pub(crate) fn denied(error: &hyper_util::client::legacy::Error) -> Option<&str> {
    match Cause::of(error) {
        Cause::Connect(ConnectError::Denied(why)) => Some(why),
        _ => None,
    }
}

/// The same in the words of `wasi:http`.
pub(crate) fn wasi_error(error: &hyper_util::client::legacy::Error) -> wasmtime_wasi_http::Error {
    use wasmtime_wasi_http::Error;
    match Cause::of(error) {
        Cause::Connect(ConnectError::Denied(_)) => Error::DestinationIpProhibited,
        Cause::Connect(ConnectError::Timeout(_)) => Error::ConnectionTimeout,
        Cause::Connect(ConnectError::Resolve { .. }) => Error::DestinationNotFound,
        Cause::Connect(ConnectError::Connect { .. }) => Error::ConnectionRefused,
        Cause::Tls(_) => Error::TlsProtocolError,
        Cause::Other(_) if error.is_connect() => Error::ConnectionRefused,
        Cause::Other(text) => Error::InternalError(Some(cleaned(&text))),
    }
}

enum Cause<'a> {
    Connect(&'a ConnectError),
    Tls(String),
    Other(String),
}

impl<'a> Cause<'a> {
    fn of(error: &'a (dyn Error + 'static)) -> Self {
        let mut error = error;
        loop {
            if let Some(error) = error.downcast_ref::<ConnectError>() {
                return Self::Connect(error);
            }
            let wrapped = error.downcast_ref::<std::io::Error>().and_then(egress::error_in);
            if let Some(error) = error.downcast_ref::<rustls::Error>().or(wrapped) {
                return Self::Tls(egress::in_words(error));
            }
            match error.source() {
                Some(source) => error = source,
                None => return Self::Other(error.to_string()),
            }
        }
    }
}

fn cleaned(text: &str) -> String {
    postern_model::text::one_line(text, 300)
}
