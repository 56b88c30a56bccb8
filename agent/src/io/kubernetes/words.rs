//! What an answer of the API server, or its absence, means.

use kube::Error;
use petiole_node::kubernetes::Away;

use super::connect::chain;
use crate::io::tls;

/// Why the API server is of no use.
pub(super) fn away(error: &Error) -> Away {
    match error {
        Error::Api(status) => match status.code {
            401 => Away::Unauthorized,
            403 => Away::Forbidden(status.message.clone()),
            code => Away::Answer(format!("{code} {}: {}", status.reason, status.message)),
        },
        Error::Auth(_) => Away::Access(chain(error)),
        Error::SerdeError(_) | Error::FromUtf8(_) | Error::LinesCodecMaxLineLengthExceeded => {
            Away::Answer(chain(error))
        }
        _ => Away::Unreachable(tls::find(error).map_or_else(
            || last(error),
            |tls| tls::words(tls, "the API server", "the kubeconfig or the service account"),
        )),
    }
}

/// The innermost cause says it best: those above it name only the layers of the client.
fn last(error: &(dyn std::error::Error + 'static)) -> String {
    let mut inner = error;
    while let Some(cause) = inner.source() {
        inner = cause;
    }
    inner.to_string()
}
