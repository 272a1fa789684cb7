//! The page: three files inside the program. They ask the API for everything and bring nothing from elsewhere.

/// The files by path, with their type.
pub(super) fn file(path: &str) -> Option<(&'static str, &'static str)> {
    match path {
        "/" => Some(("text/html; charset=utf-8", include_str!("page/index.html"))),
        "/app.js" => Some((
            "text/javascript; charset=utf-8",
            include_str!("page/app.js"),
        )),
        "/style.css" => Some(("text/css; charset=utf-8", include_str!("page/style.css"))),
        _ => None,
    }
}

/// What the page may do. A frame made from text inherits this: HTML of a message cannot load, send or go anywhere; styles written
/// in it are harmless where nothing can be fetched.
pub(super) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; \
     img-src data:; frame-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
