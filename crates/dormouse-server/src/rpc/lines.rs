//! The answer to tRPC's `httpBatchStreamLink`: a line of JSON for each call, as soon as it is answered.
//!
//! The first line says which parts of the whole come later: every call, each in a chunk of its own. A
//! chunk is `[<chunk>,<fulfilled>,<value>]`, where a value without parts of its own is `[[<json>]]`.

use std::convert::Infallible;
use std::fmt::Write as _;

use actix_web::HttpResponse;
use actix_web::http::header::{self, ContentType, HeaderMap, HeaderName};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, FuturesUnordered};

use crate::rpc::calls::Started;
use crate::rpc::envelope::{error_body, result_body};

/// What the link sends to ask for lines.
const TRPC_ACCEPT: HeaderName = HeaderName::from_static("trpc-accept");

/// The media type of lines of JSON.
const JSON_LINES: &str = "application/jsonl";

/// Whether a request asks for lines.
pub(super) fn are_wanted(headers: &HeaderMap) -> bool {
    match headers.get(&TRPC_ACCEPT) {
        Some(accept) => accept == JSON_LINES,
        None => headers
            .get_all(header::ACCEPT)
            .filter_map(|accept| accept.to_str().ok())
            .flat_map(|accept| accept.split(','))
            .any(|accept| accept.trim() == JSON_LINES),
    }
}

/// Answers a batch, whose paths stand beside its calls. The status is 200 whatever becomes of them.
///
/// At most the answers that are ready wait in memory, as they do for an answer in one piece; what was
/// written to a client that reads slowly is not written again.
pub(super) fn respond(calls: Vec<(String, Started)>) -> HttpResponse {
    let first = stream::iter([head(calls.len())]);
    let answers: FuturesUnordered<_> = calls
        .into_iter()
        .enumerate()
        .map(|(index, (path, started))| async move {
            let body = match started.answer().await.result {
                Ok(data) => result_body(&data),
                Err(err) => error_body(&err, Some(&path)),
            };
            format!("[{index},0,[[{body}]]]\n")
        })
        .collect();
    let lines = first.chain(answers).map(|line| Ok::<Bytes, Infallible>(line.into()));
    HttpResponse::Ok()
        .insert_header(ContentType::json())
        .insert_header((header::VARY, "trpc-accept, accept"))
        // A proxy that collects the lines would hold back the quick ones.
        .insert_header(("x-accel-buffering", "no"))
        .streaming(lines)
}

/// `{"0":[[0],[null,0,0]],"1":[[0],[null,0,1]]}`: the value of call n comes in chunk n.
fn head(calls: usize) -> String {
    let mut head = "{".to_owned();
    for index in 0..calls {
        let separator = if index == 0 { "" } else { "," };
        write!(head, r#"{separator}"{index}":[[0],[null,0,{index}]]"#)
            .expect("writing to memory cannot fail");
    }
    head + "}\n"
}

#[cfg(test)]
mod tests {
    use actix_web::body;
    use dormouse::Error;
    use tokio::sync::oneshot;

    use super::*;

    #[actix_rt::test]
    async fn a_call_that_is_answered_first_has_the_first_line() {
        let (slow, waiting) = oneshot::channel();
        let calls = vec![
            ("a.b".to_owned(), Started::Waiting(waiting)),
            ("c.d".to_owned(), Started::Done(Err(Error::not_found("no such note")))),
        ];

        let mut body = respond(calls).into_body();
        let mut next = async || {
            let chunk = std::future::poll_fn(|cx| {
                body::MessageBody::poll_next(std::pin::Pin::new(&mut body), cx)
            });
            chunk.await.map(|chunk| String::from_utf8(chunk.unwrap().to_vec()).unwrap())
        };

        assert_eq!(next().await.unwrap(), "{\"0\":[[0],[null,0,0]],\"1\":[[0],[null,0,1]]}\n");
        assert!(next().await.unwrap().starts_with("[1,0,[[{\"error\":{"));
        drop(slow);
        let last = next().await.unwrap();
        assert!(last.starts_with("[0,0,[[{\"error\":{") && last.ends_with("]]]\n"), "{last}");
        assert_eq!(next().await, None);
    }

    #[test]
    fn lines_are_wanted_by_either_header() {
        let wanted = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static(name), header::HeaderValue::from_static(value));
            are_wanted(&headers)
        };

        assert!(wanted("trpc-accept", "application/jsonl"));
        assert!(wanted("accept", "text/html, application/jsonl"));
        assert!(!wanted("accept", "*/*"));
        assert!(!wanted("trpc-accept", "application/json"));
    }
}
