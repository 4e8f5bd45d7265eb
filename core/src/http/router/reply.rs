//! The replies that need no handler, as Go's multiplexer words them.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;

use super::{Decision, Redirect};

/// A reply to a request that no handler takes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The `Location` header.
    pub location: Option<String>,
    /// The `Allow` header.
    pub allow: Option<String>,
    /// The `Content-Type` header. With [`PLAIN`](Self::PLAIN) goes `X-Content-Type-Options: nosniff`.
    pub content_type: Option<&'static str>,
    /// Whether the connection ends after this reply.
    pub close: bool,
    /// The body; a reply to HEAD leaves it out.
    pub body: String,
}

impl Reply {
    /// The type of the plain texts that errors have.
    pub const PLAIN: &'static str = "text/plain; charset=utf-8";
    /// The type of the body of a redirect.
    pub const HTML: &'static str = "text/html; charset=utf-8";

    fn new(status: u16) -> Self {
        Self { status, location: None, allow: None, content_type: None, close: false, body: String::new() }
    }

    fn plain(status: u16, text: &str) -> Self {
        Self { content_type: Some(Self::PLAIN), body: text.to_owned() + "\n", ..Self::new(status) }
    }
}

impl<H> Decision<'_, H> {
    /// The reply to a request with this method; `None` if a handler is to answer.
    pub fn reply(&self, method: &str) -> Option<Reply> {
        Some(match self {
            Self::Match(_) => return None,
            Self::Redirect(redirect) => redirect.reply(method),
            Self::MethodNotAllowed { allow } => {
                Reply { allow: Some(allow.clone()), ..Reply::plain(405, "Method Not Allowed") }
            }
            Self::NotFound => Reply::plain(404, "404 page not found"),
            Self::BadRequest => Reply { close: true, ..Reply::new(400) },
        })
    }
}

impl Redirect<'_> {
    /// Only what a browser shows has a body: that of GET.
    fn reply(&self, method: &str) -> Reply {
        let body = match method {
            "GET" => {
                let (location, text) = (escape_html(&self.location), self.status.text());
                format!("<a href=\"{location}\">{text}</a>.\n\n")
            }
            _ => String::new(),
        };
        Reply {
            location: Some(self.location.clone()),
            content_type: matches!(method, "GET" | "HEAD").then_some(Reply::HTML),
            body,
            ..Reply::new(self.status.code())
        }
    }
}

fn escape_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            char => escaped.push(char),
        }
    }
    escaped
}
